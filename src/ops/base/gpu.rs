//! The one place that knows whether this is a build with CUDA kernels.

#[cfg(feature = "cuda")]
pub use super::cuda::{allow_tf32, kernel_times, time_kernels};
#[cfg(not(feature = "cuda"))]
pub use without::{allow_tf32, kernel_times, time_kernels};

/// `on_gpu!(x => y)` returns `y`, what a CUDA kernel makes of the tensor `x`, where there are kernels for its
/// device and type; `on_gpu!(fits, x => y)` where `fits` holds too; `on_gpu!(if condition => y)` asks
/// the condition alone. Nothing of it is compiled in a build without CUDA.
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

/// What a build without CUDA does instead.
#[cfg(not(feature = "cuda"))]
mod without {
    use std::collections::BTreeMap;

    use candle_core::Result;

    pub fn allow_tf32(_: bool) {}

    pub fn time_kernels(_: bool) {}

    pub fn kernel_times() -> Result<BTreeMap<String, (usize, f64)>> {
        Ok(BTreeMap::new())
    }
}
