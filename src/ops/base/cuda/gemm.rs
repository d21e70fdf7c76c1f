//! Matrix products by cuBLASLt: its choice of kernel for each shape is asked for once and kept.
//!
//! cuBLASLt counts columns first. A matrix of rows is its transpose there, so C = A B is asked for as
//! C^T = B^T A^T, and nothing is moved.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::cuda_backend::DeviceId;
use candle_core::cuda_backend::cudarc::cublas::sys::cublasOperation_t;
use candle_core::cuda_backend::cudarc::cublaslt::{result, sys};
use candle_core::{CudaDevice, DType, Device, Error, Result, Tensor, bail};

use super::{address, times};

/// Scratch of the products, in bytes: what cuBLAS asks for on Hopper.
const WORKSPACE_BYTES: usize = 32 << 20;

static TF32: AtomicBool = AtomicBool::new(false);

/// Whether products of f32 may round their factors to TF32 (10 bits of mantissa), for all devices.
pub fn allow_tf32(allowed: bool) {
    TF32.store(allowed, Ordering::Relaxed);
}

/// Whether they may now.
pub fn tf32_is_allowed() -> bool {
    TF32.load(Ordering::Relaxed)
}

/// A matrix to read: `rows` x `columns` elements, rows `stride` elements apart, or columns where `transposed`.
#[derive(Clone, Copy)]
pub struct Matrix {
    address: u64,
    dtype: DType,
    rows: usize,
    columns: usize,
    stride: usize,
    transposed: bool,
}

impl Matrix {
    /// `rows` x `columns` elements of a contiguous tensor from element `start`, rows `stride` apart.
    pub fn new(tensor: &Tensor, start: usize, rows: usize, columns: usize, stride: usize) -> Result<Self> {
        let dtype = tensor.dtype();
        let end = start + rows.saturating_sub(1) * stride + columns;
        if columns > stride || (rows > 0 && columns > 0 && end > tensor.elem_count()) {
            bail!("a matrix of {rows} x {columns} does not fit into {} elements", tensor.elem_count());
        }
        let address = address(tensor)? + (start * dtype.size_in_bytes()) as u64;
        Ok(Self { address, dtype, rows, columns, stride, transposed: false })
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, transposed: !self.transposed, ..self }
    }

    fn layout(&self) -> Layout {
        let (dtype, stride, transposed) = (self.dtype, self.stride, self.transposed);
        Layout { dtype, stride, transposed, alignment: alignment(self.address) }
    }
}

/// What becomes of a product.
#[derive(Clone, Copy)]
pub enum Output {
    /// It is written.
    Set,
    /// It is added to what stands there.
    Add,
    /// It is written, with the vector at this address added to each row.
    Bias(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Layout {
    dtype: DType,
    stride: usize,
    transposed: bool,
    /// Of the address, in bytes, up to 256.
    alignment: u32,
}

/// All that cuBLASLt's choice depends on.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    sizes: [usize; 3],
    layouts: [Layout; 3],
    adds: bool,
    /// Alignment of a bias, in bytes.
    bias: Option<u32>,
    tf32: bool,
}

/// Descriptions and chosen kernel of one product.
struct Plan {
    description: sys::cublasLtMatmulDesc_t,
    first: sys::cublasLtMatrixLayout_t,
    second: sys::cublasLtMatrixLayout_t,
    result: sys::cublasLtMatrixLayout_t,
    kernel: sys::cublasLtMatmulAlgo_t,
}

struct Library {
    handle: sys::cublasLtHandle_t,
    /// Bytes, as f32.
    workspace: Tensor,
    plans: RefCell<HashMap<Key, Rc<Plan>>>,
}

thread_local! {
    static LIBRARIES: RefCell<HashMap<DeviceId, Rc<Library>>> = RefCell::new(HashMap::new());
}

/// c = a b, or what `output` says; products are summed in f32, whatever the types of the matrices.
///
/// a and b have one dtype, f32 or bf16, c that or f32.
/// Errors: sizes that do not fit; cuBLASLt has no kernel for the product.
pub fn gemm(device: &CudaDevice, c: Matrix, a: Matrix, b: Matrix, output: Output) -> Result<()> {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    if (c.rows, c.columns, b.rows) != (m, n, k) || a.dtype != b.dtype || c.transposed {
        bail!("matrix product of {m} x {k} and {} x {n} into {} x {}", b.rows, c.rows, c.columns);
    }
    if m == 0 || n == 0 || k == 0 {
        return Ok(());
    }
    let library = library(device)?;
    let key = Key {
        sizes: [m, n, k],
        layouts: [a.layout(), b.layout(), c.layout()],
        adds: matches!(output, Output::Add),
        bias: match output {
            Output::Bias(bias) => Some(alignment(bias)),
            Output::Set | Output::Add => None,
        },
        tf32: a.dtype == DType::F32 && tf32_is_allowed(),
    };
    let known = library.plans.borrow().get(&key).cloned();
    let plan = match known {
        Some(plan) => plan,
        None => {
            let plan = Rc::new(Plan::new(library.handle, &key, output).map_err(|cause| failed(&key, cause))?);
            library.plans.borrow_mut().insert(key, plan.clone());
            plan
        }
    };
    plan.set_bias(output).map_err(Error::wrap)?;
    let (alpha, beta) = (1f32, if matches!(output, Output::Add) { 1f32 } else { 0f32 });
    let stream = device.cuda_stream();
    times::timed(&stream, "matrix products", || {
        // SAFETY: the addresses are those of tensors on this device that hold the matrices (`Matrix::new`), the
        // plan describes them, and the stream orders the use of the workspace.
        unsafe {
            result::matmul(
                library.handle,
                plan.description,
                (&raw const alpha).cast(),
                (&raw const beta).cast(),
                b.address as *const c_void,
                plan.first,
                a.address as *const c_void,
                plan.second,
                c.address as *const c_void,
                plan.result,
                c.address as *mut c_void,
                plan.result,
                &raw const plan.kernel,
                address(&library.workspace)? as *mut c_void,
                WORKSPACE_BYTES,
                stream.cu_stream() as sys::cudaStream_t,
            )
        }
        .map_err(Error::wrap)
    })
}

fn library(device: &CudaDevice) -> Result<Rc<Library>> {
    LIBRARIES.with_borrow_mut(|libraries| {
        if let Some(library) = libraries.get(&device.id()) {
            return Ok(library.clone());
        }
        device.cuda_stream().context().bind_to_thread().map_err(Error::wrap)?;
        let workspace = super::empty(WORKSPACE_BYTES / 4, DType::F32, &Device::Cuda(device.clone()))?;
        let handle = result::create_handle().map_err(Error::wrap)?;
        let library = Rc::new(Library { handle, workspace, plans: RefCell::default() });
        libraries.insert(device.id(), library.clone());
        Ok(library)
    })
}

fn failed(key: &Key, cause: result::CublasError) -> Error {
    let [m, n, k] = key.sizes;
    Error::Msg(format!("cuBLASLt has no kernel for a matrix product of {m} x {k} by {k} x {n}: {cause}"))
}

impl Plan {
    fn new(
        handle: sys::cublasLtHandle_t,
        key: &Key,
        output: Output,
    ) -> std::result::Result<Self, result::CublasError> {
        use sys::cublasLtMatmulDescAttributes_t as Attribute;
        let [m, n, k] = key.sizes;
        let [a, b, c] = key.layouts;
        let compute = if key.tf32 {
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32
        } else {
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F
        };
        let layout = |layout: Layout, rows: usize, columns: usize| {
            let (rows, columns) = if layout.transposed { (columns, rows) } else { (rows, columns) };
            result::create_matrix_layout(
                data_type(layout.dtype),
                columns as u64,
                rows as u64,
                layout.stride as i64,
            )
        };
        let mut plan = Self {
            description: result::create_matmul_desc(compute, sys::cudaDataType::CUDA_R_32F)?,
            first: layout(b, k, n)?,
            second: layout(a, m, k)?,
            result: layout(c, m, n)?,
            kernel: sys::cublasLtMatmulAlgo_t { data: [0; 8] },
        };
        let operation = |layout: Layout| {
            if layout.transposed { cublasOperation_t::CUBLAS_OP_T } else { cublasOperation_t::CUBLAS_OP_N }
        };
        plan.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSA, &operation(b))?;
        plan.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSB, &operation(a))?;
        if key.bias.is_some() {
            let epilogue = sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS;
            plan.set(Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
            plan.set_bias(output)?; // The choice of a kernel may look at it.
        }
        plan.kernel = plan.choose(handle, key.layouts.map(|layout| layout.alignment))?;
        Ok(plan)
    }

    /// cuBLASLt's choice of a kernel, for matrices a, b and c at addresses of these alignments.
    fn choose(
        &self,
        handle: sys::cublasLtHandle_t,
        [a, b, c]: [u32; 3],
    ) -> std::result::Result<sys::cublasLtMatmulAlgo_t, result::CublasError> {
        use sys::cublasLtMatmulPreferenceAttributes_t as Preference;
        let preference = result::create_matmul_pref()?;
        let alignments = [
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, b),
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, a),
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, c),
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, c),
        ];
        // SAFETY: the preference is alive and the values, size_t and uint32_t, are of the sizes given.
        unsafe {
            let (attribute, value) = (Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, WORKSPACE_BYTES);
            result::set_matmul_pref_attribute(preference, attribute, (&raw const value).cast(), 8)?;
            for (attribute, value) in alignments {
                result::set_matmul_pref_attribute(preference, attribute, (&raw const value).cast(), 4)?;
            }
        }
        // SAFETY: all descriptions are alive.
        let chosen = unsafe {
            result::get_matmul_algo_heuristic(
                handle,
                self.description,
                self.first,
                self.second,
                self.result,
                self.result,
                preference,
            )
        };
        // SAFETY: made above, used no more.
        unsafe { result::destroy_matmul_pref(preference)? };
        Ok(chosen?.algo)
    }

    /// Sets the address of the bias, which differs from use to use.
    fn set_bias(&self, output: Output) -> std::result::Result<(), result::CublasError> {
        match output {
            Output::Bias(bias) => {
                self.set(sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)
            }
            Output::Set | Output::Add => Ok(()),
        }
    }

    fn set<T>(
        &self,
        attribute: sys::cublasLtMatmulDescAttributes_t,
        value: &T,
    ) -> std::result::Result<(), result::CublasError> {
        // SAFETY: the description is alive and the value is of the size given.
        unsafe {
            let pointer = (&raw const *value).cast();
            result::set_matmul_desc_attribute(self.description, attribute, pointer, size_of::<T>())
        }
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // Nothing can be done about a failure.
        // SAFETY: made by `new`, and nobody else has them.
        unsafe {
            let _ = result::destroy_matmul_desc(self.description);
            for layout in [self.first, self.second, self.result] {
                let _ = result::destroy_matrix_layout(layout);
            }
        }
    }
}

/// Largest power of two, up to 256, that divides the address.
fn alignment(address: u64) -> u32 {
    1 << address.trailing_zeros().min(8)
}

fn data_type(dtype: DType) -> sys::cudaDataType {
    match dtype {
        DType::BF16 => sys::cudaDataType::CUDA_R_16BF,
        _ => sys::cudaDataType::CUDA_R_32F,
    }
}
