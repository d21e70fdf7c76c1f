//! What the driver is asked, in a build with CUDA and in one without.

#[cfg(feature = "cuda")]
pub use with::{gpu, open, peak_bytes};
#[cfg(not(feature = "cuda"))]
pub use without::{gpu, open, peak_bytes};

use serde::Serialize;

/// What the driver says of a GPU.
#[derive(Clone, Debug, Serialize)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// Compute capability, such as 9.0.
    pub compute_capability: String,
    /// Newest CUDA version that the driver knows.
    pub driver_cuda_version: String,
    /// All of its memory.
    pub memory_bytes: usize,
    /// What no process has taken.
    pub free_bytes: usize,
}

#[cfg(feature = "cuda")]
mod with {
    use candle_core::cuda_backend::cudarc::driver::{self, sys};
    use candle_core::{CudaDevice, Device, Error, Result};

    use super::Gpu;

    /// What the driver says of the GPU.
    pub fn gpu(device: &CudaDevice) -> Option<Gpu> {
        let stream = device.cuda_stream();
        let context = stream.context();
        let (major, minor) = context.compute_capability().ok()?;
        let (free_bytes, memory_bytes) = context.mem_get_info().ok()?;
        let mut version = 0;
        // SAFETY: the call writes one number.
        unsafe { sys::cuDriverGetVersion(&raw mut version) }.result().ok()?;
        Some(Gpu {
            name: context.name().ok()?,
            compute_capability: format!("{major}.{minor}"),
            driver_cuda_version: format!("{}.{}", version / 1000, version % 1000 / 10),
            memory_bytes,
            free_bytes,
        })
    }

    /// Most memory that tensors have held at once; 0 where the driver does not say.
    pub fn peak_bytes(device: &CudaDevice) -> u64 {
        let attribute = sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
        let mut bytes = 0u64;
        // SAFETY: the attribute is a cuuint64_t.
        let read = pool(device).and_then(|pool| unsafe {
            sys::cuMemPoolGetAttribute(pool, attribute, (&raw mut bytes).cast()).result()
        });
        read.map_or(0, |()| bytes)
    }

    /// Opens a GPU with a stream of its own, on which all work follows in order.
    pub fn open(ordinal: usize) -> Result<Device> {
        let device = Device::new_cuda_with_stream(ordinal)?;
        if let Device::Cuda(device) = &device {
            // SAFETY: there is one stream, which orders all uses of a tensor.
            unsafe { device.disable_event_tracking() };
            // By default the driver takes freed memory back whenever the host waits for the device, and a step
            // would ask for all of it again.
            let mut all = u64::MAX;
            let attribute = sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            // SAFETY: the attribute is a cuuint64_t.
            let kept = pool(device).and_then(|pool| unsafe {
                driver::result::mem_pool::set_attribute(pool, attribute, (&raw mut all).cast())
            });
            kept.map_err(Error::wrap)?;
        }
        Ok(device)
    }

    /// Where the device's tensors come from.
    fn pool(device: &CudaDevice) -> std::result::Result<sys::CUmemoryPool, driver::result::DriverError> {
        // SAFETY: the device is open.
        unsafe { driver::result::device::get_default_mem_pool(device.cuda_stream().context().cu_device()) }
    }
}

#[cfg(not(feature = "cuda"))]
mod without {
    use candle_core::{CudaDevice, Device, Result};

    use super::Gpu;

    /// No GPU was ever opened.
    pub fn gpu(_: &CudaDevice) -> Option<Gpu> {
        None
    }

    /// As there.
    pub fn peak_bytes(_: &CudaDevice) -> u64 {
        0
    }

    /// An error that says so.
    pub fn open(ordinal: usize) -> Result<Device> {
        Device::new_cuda(ordinal)
    }
}
