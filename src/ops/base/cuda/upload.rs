//! Numbers from the host to the device, through page-locked memory, so that the copy waits for no kernel and
//! no kernel for the host.

use std::cell::RefCell;
use std::collections::VecDeque;

use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaSlice, PinnedHostSlice};
use candle_core::cuda_backend::{CudaDType, CudaStorage, DeviceId, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, Result, Shape, Storage, Tensor};

/// Buffers in turn: so many uploads may be under way before one waits for its predecessor.
const BUFFERS: usize = 32;
/// Tables of sequences that are kept.
const REMEMBERED: usize = 16;

/// Page-locked memory with the end of the copy that read it last. cudarc's own event is not recorded while events are
/// not tracked (`device.rs`), so the memory alone would be written or freed under a copy.
struct Buffer {
    device: DeviceId,
    memory: PinnedHostSlice<u32>,
    copied: CudaEvent,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let _ = self.copied.synchronize(); // Nothing can be done about a failure.
    }
}

/// What was made of sequences of these lengths; `kind` is the maker's.
struct Table {
    device: DeviceId,
    kind: usize,
    lengths: Vec<usize>,
    tensor: Tensor,
}

thread_local! {
    static PINNED: RefCell<VecDeque<Buffer>> = const { RefCell::new(VecDeque::new()) };
    static TABLES: RefCell<VecDeque<Table>> = const { RefCell::new(VecDeque::new()) };
}

/// A tensor of these numbers on the device.
pub fn upload(values: &[u32], shape: impl Into<Shape>, device: &CudaDevice) -> Result<Tensor> {
    Ok(tensor(copied(values, device)?, shape, device))
}

/// A vector of these numbers on the device.
pub fn upload_f32(values: &[f32], device: &CudaDevice) -> Result<Tensor> {
    let bits: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
    let slice = copied(&bits, device)?;
    let len = slice.len();
    // SAFETY: the memory holds so many u32, which are the bits of f32, and its former owner has let go of it.
    let slice = unsafe { device.cuda_stream().upgrade_device_ptr::<f32>(slice.leak(), len) };
    Ok(tensor(slice, values.len(), device))
}

/// The first elements of a slice as a tensor.
fn tensor<T: CudaDType>(slice: CudaSlice<T>, shape: impl Into<Shape>, device: &CudaDevice) -> Tensor {
    let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(slice, device.clone()));
    Tensor::from_storage(storage, shape, BackpropOp::none(), false)
}

/// These numbers at the beginning of memory of the device.
fn copied(values: &[u32], device: &CudaDevice) -> Result<CudaSlice<u32>> {
    PINNED.with_borrow_mut(|buffers| {
        // The oldest buffer that is large enough; a new one as long as there are few.
        let fits = |buffer: &Buffer| buffer.device == device.id() && buffer.memory.len() >= values.len();
        let found = if buffers.len() < BUFFERS { None } else { buffers.iter().position(fits) };
        let stream = device.cuda_stream();
        let mut buffer = match found.and_then(|place| buffers.remove(place)) {
            Some(buffer) => buffer,
            None => {
                let context = stream.context();
                // SAFETY: the part that is read is written below.
                let memory = unsafe { context.alloc_pinned::<u32>(values.len().next_power_of_two()) }.w()?;
                if buffers.len() >= BUFFERS {
                    buffers.pop_front();
                }
                Buffer { device: device.id(), memory, copied: context.new_event(None).w()? }
            }
        };
        buffer.copied.synchronize().w()?;
        buffer.memory.as_mut_slice().w()?[..values.len()].copy_from_slice(values);
        // SAFETY: the copy writes all of it.
        let mut slice = unsafe { device.alloc::<u32>(buffer.memory.len())? };
        stream.memcpy_htod(&buffer.memory, &mut slice).w()?;
        buffer.copied.record(&stream).w()?;
        buffers.push_back(buffer);
        Ok(slice)
    })
}

/// Where each of the sequences of these lengths starts, and where the last one ends: (sequences + 1) u32.
pub fn offsets(lengths: &[usize], device: &CudaDevice) -> Result<Tensor> {
    remembered(lengths, 0, device, || {
        let mut end = 0;
        let ends = lengths.iter().map(|length| {
            end += *length as u32;
            end
        });
        std::iter::once(0).chain(ends).collect()
    })
}

/// What `make` says of sequences of these lengths on the device. The tables of the last few batches are kept, since
/// every layer asks for them; `kind` tells tables of the same lengths apart.
pub fn remembered(
    lengths: &[usize],
    kind: usize,
    device: &CudaDevice,
    make: impl FnOnce() -> Vec<u32>,
) -> Result<Tensor> {
    let known = TABLES.with_borrow(|known| {
        let wanted =
            |table: &&Table| table.device == device.id() && table.kind == kind && table.lengths == lengths;
        known.iter().find(wanted).map(|table| table.tensor.clone())
    });
    if let Some(table) = known {
        return Ok(table);
    }
    let values = make();
    let tensor = upload(&values, values.len(), device)?;
    TABLES.with_borrow_mut(|known| {
        if known.len() >= REMEMBERED {
            known.pop_front();
        }
        known.push_back(Table {
            device: device.id(),
            kind,
            lengths: lengths.to_vec(),
            tensor: tensor.clone(),
        });
    });
    Ok(tensor)
}
