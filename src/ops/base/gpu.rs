//! The one place that knows whether this is a build with CUDA kernels.

use std::collections::BTreeMap;

use candle_core::Result;

/// `on_gpu!(x => y)` returns `y`, what a CUDA kernel makes of the tensor `x`, where there are kernels for its
/// device and type; `on_gpu!(fits, x => y)` where `fits` holds too; `on_gpu!(if condition => y)` asks
/// the condition alone. None of it is compiled in a build without CUDA.
macro_rules! on_gpu {
    (if $condition:expr => $result:expr) => {
        #[cfg(feature = "cuda")]
        if $condition {
            return $result;
        }
    };
    ($fits:expr, $tensor:expr => $result:expr) => {
        $crate::ops::base::gpu::on_gpu!(if $crate::ops::base::cuda::runs($tensor) && $fits => $result)
    };
    ($tensor:expr => $result:expr) => {
        $crate::ops::base::gpu::on_gpu!(if $crate::ops::base::cuda::runs($tensor) => $result)
    };
}
pub(in crate::ops) use on_gpu;

/// Whether matrix products of f32 on a GPU may round their factors to TF32; no other device does.
pub fn allow_tf32(allowed: bool) {
    #[cfg(feature = "cuda")]
    super::cuda::allow_tf32(allowed);
    let _ = allowed;
}

/// Turns the timing of this thread's kernel launches on or off, and forgets what was timed.
pub fn time_kernels(on: bool) {
    #[cfg(feature = "cuda")]
    super::cuda::time_kernels(on);
    let _ = on;
}

/// Number of launches and milliseconds by name of kernel since timing was turned on; nothing without CUDA.
///
/// Waits for the device.
pub fn kernel_times() -> Result<BTreeMap<String, (usize, f64)>> {
    #[cfg(feature = "cuda")]
    let times = super::cuda::kernel_times();
    #[cfg(not(feature = "cuda"))]
    let times = Ok(BTreeMap::new());
    times
}
