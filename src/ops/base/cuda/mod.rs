//! What the ops' CUDA kernels have in common: memory, launches, matrix products, uploads and times.
//!
//! Each op's kernels stand beside it in `cuda.cu`, their launches in `cuda.rs`. build.rs compiles the former
//! into one fat binary each, which is loaded into the device at the first launch. Everything runs on the one
//! stream of the device, in order, and nothing here waits for it.

#![cfg(feature = "cuda")]

mod gemm;
mod table;
mod times;
mod upload;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaModule, CudaStream, DevicePtr, LaunchConfig, PushKernelArg,
    sys::CUfunction_attribute_enum,
};
use candle_core::cuda_backend::{CudaStorageSlice, DeviceId, WrapErr, cudarc};
use candle_core::{CudaDevice, DType, Device, Result, Shape, Storage, Tensor, bail};

pub use gemm::{Matrix, Output, allow_tf32, gemm, tf32_is_allowed};
pub use table::Table;
pub use times::{kernel_times, time_kernels};
pub use upload::{offsets, remembered, upload, upload_f32};

/// The kernels of one `cuda.cu`.
pub struct Kernels {
    name: &'static str,
    binary: &'static [u8],
}

impl Kernels {
    /// The fat binary that build.rs made of the kernels called `name`.
    pub const fn new(name: &'static str, binary: &'static [u8]) -> Self {
        Self { name, binary }
    }
}

/// Names the kernels of an op: those of `src/ops/NAME/cuda.cu`, or of `src/ops/base/cuda/NAME.cu`.
macro_rules! kernels {
    ($name:literal) => {
        $crate::ops::base::cuda::Kernels::new(
            $name,
            include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".fatbin")),
        )
    };
}
pub(in crate::ops) use kernels;

static PARTIALS: Kernels = kernels!("partials");
static COMBINE: Kernels = kernels!("combine");

/// Blocks among which a backward pass divides its rows where each has a sum of its own: four for each of a
/// hundred multiprocessors. Fixed, so that the order of the sums is that of every other run.
pub const PARTS: usize = 512;

/// Shared memory that a block gets without asking.
const UNASKED_SHARED_BYTES: usize = 48 << 10;

/// An argument of a kernel.
#[derive(Clone, Copy)]
pub enum Arg {
    /// An address on the device, 0 for none.
    Pointer(u64),
    /// `int` and `unsigned`.
    U32(u32),
    /// `unsigned long long`.
    U64(u64),
    /// `float`.
    F32(f32),
    /// `double`.
    F64(f64),
}

impl Arg {
    /// An `int` or `unsigned` from a size.
    ///
    /// Errors: 2^31 or more.
    pub fn size(size: usize) -> Result<Self> {
        match u32::try_from(size) {
            Ok(size) if size < 1 << 31 => Ok(Self::U32(size)),
            _ => bail!("a CUDA kernel takes sizes below 2^31, got {size}"),
        }
    }

    /// The address of a tensor, which must be contiguous.
    pub fn of(tensor: &Tensor) -> Result<Self> {
        Ok(Self::Pointer(address(tensor)?))
    }

    /// As [`of`](Self::of), or the null pointer.
    pub fn of_option(tensor: Option<&Tensor>) -> Result<Self> {
        Ok(Self::Pointer(tensor.map(address).transpose()?.unwrap_or(0)))
    }
}

/// What is kept per device, on the thread that uses it.
struct Context {
    modules: RefCell<HashMap<&'static str, Arc<CudaModule>>>,
    functions: RefCell<HashMap<String, CudaFunction>>,
}

thread_local! {
    static CONTEXTS: RefCell<HashMap<DeviceId, Rc<Context>>> = RefCell::new(HashMap::new());
}

fn context(device: &CudaDevice) -> Rc<Context> {
    let new = || Rc::new(Context { modules: RefCell::default(), functions: RefCell::default() });
    CONTEXTS.with_borrow_mut(|contexts| contexts.entry(device.id()).or_insert_with(new).clone())
}

impl Context {
    /// `shared_bytes` must be the same at every use.
    fn function(
        &self,
        device: &CudaDevice,
        kernels: &Kernels,
        name: &str,
        shared_bytes: usize,
    ) -> Result<CudaFunction> {
        if let Some(function) = self.functions.borrow().get(name) {
            return Ok(function.clone());
        }
        let mut modules = self.modules.borrow_mut();
        if !modules.contains_key(kernels.name) {
            let binary = cudarc::nvrtc::Ptx::from_binary(kernels.binary.to_vec());
            modules.insert(kernels.name, device.cuda_stream().context().load_module(binary).w()?);
        }
        let function = modules[kernels.name].load_function(name).w()?;
        if shared_bytes > UNASKED_SHARED_BYTES {
            let attribute = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            function.set_attribute(attribute, shared_bytes as i32).w()?;
        }
        self.functions.borrow_mut().insert(name.to_string(), function.clone());
        Ok(function)
    }
}

/// Whether there are kernels for this tensor: on a CUDA device, of f32 or bf16.
pub fn runs(tensor: &Tensor) -> bool {
    tensor.device().is_cuda() && matches!(tensor.dtype(), DType::F32 | DType::BF16)
}

/// The CUDA device a tensor is on.
pub fn device_of(tensor: &Tensor) -> Result<&CudaDevice> {
    match tensor.device() {
        Device::Cuda(device) => Ok(device),
        other => bail!("expected a tensor on a CUDA device, got {:?}", other.location()),
    }
}

/// A tensor of memory that a kernel will write whole.
pub fn empty(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
    // SAFETY: the callers launch a kernel that writes every element before anything reads one.
    unsafe { Tensor::empty(shape, dtype, device) }
}

/// Where the elements of a contiguous tensor start on its device.
pub fn address(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        bail!("expected a tensor on a CUDA device, got {:?}", tensor.device().location());
    };
    let Some((start, _)) = layout.contiguous_offsets() else {
        bail!("expected a contiguous tensor, got strides {:?}", layout.stride());
    };
    let stream = storage.device().cuda_stream();
    // The stream orders every use of the memory, so no guard is kept.
    fn base<T>(slice: &impl DevicePtr<T>, stream: &CudaStream) -> u64 {
        slice.device_ptr(stream).0
    }
    let base = match &storage.slice {
        CudaStorageSlice::F32(slice) => base(slice, &stream),
        CudaStorageSlice::BF16(slice) => base(slice, &stream),
        CudaStorageSlice::F64(slice) => base(slice, &stream),
        CudaStorageSlice::U32(slice) => base(slice, &stream),
        CudaStorageSlice::I64(slice) => base(slice, &stream),
        _ => bail!("no CUDA kernel takes tensors of {}", tensor.dtype().as_str()),
    };
    Ok(base + (start * tensor.dtype().size_in_bytes()) as u64)
}

/// Elements of one access and the ending of a kernel's name: 16 bytes where rows of `columns` elements and all
/// tensors allow it, else single elements.
pub fn width_and_suffix(tensors: &[&Tensor], columns: usize) -> Result<(usize, &'static str)> {
    let dtype = tensors[0].dtype();
    let width = 16 / dtype.size_in_bytes();
    let mut packed = columns.is_multiple_of(width);
    for tensor in tensors {
        packed &= address(tensor)?.is_multiple_of(16);
    }
    match (dtype, packed) {
        (DType::F32, true) => Ok((width, "f32")),
        (DType::F32, false) => Ok((1, "f32_1")),
        (DType::BF16, true) => Ok((width, "bf16")),
        (DType::BF16, false) => Ok((1, "bf16_1")),
        (other, _) => bail!("no CUDA kernel computes with {}", other.as_str()),
    }
}

/// The size of a launch.
#[derive(Clone, Copy)]
pub struct Grid {
    /// Blocks along x and y.
    pub blocks: [usize; 2],
    /// Threads of a block along x and y.
    pub threads: [usize; 2],
    /// Dynamic shared memory of a block, in bytes.
    pub shared_bytes: usize,
}

impl Grid {
    /// At least this many threads, in blocks of 256.
    pub fn of_threads(threads: usize) -> Self {
        Self { blocks: [threads.div_ceil(256), 1], threads: [256, 1], shared_bytes: 0 }
    }
}

/// Puts a kernel into the device's stream; a grid without blocks does nothing.
pub fn launch(device: &CudaDevice, kernels: &Kernels, name: &str, grid: Grid, args: &[Arg]) -> Result<()> {
    if grid.blocks.contains(&0) {
        return Ok(());
    }
    let function = context(device).function(device, kernels, name, grid.shared_bytes)?;
    let stream = device.cuda_stream();
    let mut builder = stream.launch_builder(&function);
    for arg in args {
        match arg {
            Arg::Pointer(value) | Arg::U64(value) => builder.arg(value),
            Arg::U32(value) => builder.arg(value),
            Arg::F32(value) => builder.arg(value),
            Arg::F64(value) => builder.arg(value),
        };
    }
    let [[x, y], [threads_x, threads_y]] = [grid.blocks, grid.threads].map(|both| both.map(|n| n as u32));
    let config = LaunchConfig {
        grid_dim: (x, y, 1),
        block_dim: (threads_x, threads_y, 1),
        shared_mem_bytes: grid.shared_bytes as u32,
    };
    times::timed(&stream, name, || {
        // SAFETY: the ops pass what the kernel of this name declares, and the device tests run every one of
        // them under bounds that the CPU's results check.
        unsafe { builder.launch(config) }.w().map(|_| ())
    })
}

/// a + b * factors; without `a` the product, without `factors` the sum.
pub fn combine(a: Option<&Tensor>, b: &Tensor, factors: Option<&Tensor>) -> Result<Tensor> {
    let y = empty(b.shape(), b.dtype(), b.device())?;
    let tensors: Vec<&Tensor> = [b].into_iter().chain(a).chain(factors).collect();
    let (width, suffix) = width_and_suffix(&tensors, b.elem_count())?;
    let threads = b.elem_count() / width;
    let args =
        [Arg::of_option(a)?, Arg::of(b)?, Arg::of_option(factors)?, Arg::of(&y)?, Arg::U64(threads as u64)];
    launch(device_of(b)?, &COMBINE, &format!("combine_{suffix}"), Grid::of_threads(threads), &args)?;
    Ok(y)
}

/// Sums the rows of `partials` (parts, columns) into `sums`, f32, or adds them onto it.
pub fn sum_partials(partials: &Tensor, sums: &Tensor, onto: bool) -> Result<()> {
    let (parts, columns) = partials.dims2()?;
    let grid = Grid { blocks: [columns.div_ceil(32), 1], threads: [32, 32], shared_bytes: 0 };
    let args =
        [Arg::of(partials)?, Arg::of(sums)?, Arg::size(parts)?, Arg::size(columns)?, Arg::U32(onto.into())];
    launch(device_of(partials)?, &PARTIALS, "sum_partials", grid, &args)
}

/// The sum of the elements of `x`, f32, times `scale`: a scalar.
pub fn sum_all(x: &Tensor, scale: f64) -> Result<Tensor> {
    let sum = empty((), DType::F32, x.device())?;
    let grid = Grid { blocks: [1, 1], threads: [1024, 1], shared_bytes: 0 };
    let args = [Arg::of(x)?, Arg::of(&sum)?, Arg::size(x.elem_count())?, Arg::F32(scale as f32), Arg::U32(0)];
    launch(device_of(x)?, &PARTIALS, "sum_all", grid, &args)?;
    Ok(sum)
}

/// Multiplies `x` in place by a scalar of f32, which is nearly always 1 and then costs next to nothing.
pub fn scale_by(x: &Tensor, factor: &Tensor) -> Result<()> {
    let name = if x.dtype() == DType::F32 { "scale_by_f32" } else { "scale_by_bf16" };
    let grid = Grid { blocks: [PARTS.min(x.elem_count()), 1], threads: [256, 1], shared_bytes: 0 };
    let args = [Arg::of(x)?, Arg::of(factor)?, Arg::U64(x.elem_count() as u64)];
    launch(device_of(x)?, &PARTIALS, name, grid, &args)
}

/// Threads of a block, and its dynamic shared memory in bytes, where each warp keeps `floats` of its own; none
/// where not even one warp fits.
pub fn warps_with(floats: usize) -> Option<(usize, usize)> {
    let warps = [8, 4, 2, 1].into_iter().find(|warps| warps * floats * 4 <= UNASKED_SHARED_BYTES)?;
    Some((32 * warps, warps * floats * 4))
}
