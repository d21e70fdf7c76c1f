//! Which device and number type a run uses: the one place that decides.
//!
//! Layer 0.

use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Exit, Result};
use crate::progress::Progress;

/// Parameters, activations and moments are f32 on every device.
pub const DTYPE: DType = DType::F32;

/// Opens the device named `auto`, `cpu`, `cuda` or `cuda:N` and says what was picked.
///
/// Errors: an unknown name (exit 2); a GPU asked for by name that is not there (exit 69). `auto` falls back
/// to the CPU with one line that says why.
pub fn open(name: &str, progress: &Progress) -> Result<Device> {
    match name {
        "cpu" => {
            progress.detail(format!("device: cpu, {} threads", threads()));
            Ok(Device::Cpu)
        }
        "auto" if !cfg!(feature = "cuda") => {
            progress.detail(format!("device: cpu, {} threads (built without --features cuda)", threads()));
            Ok(Device::Cpu)
        }
        "auto" => match gpu(0) {
            Ok(device) => {
                progress.note("device: cuda:0");
                Ok(device)
            }
            Err(cause) => {
                progress.note(format!("device: cpu, no usable GPU ({})", one_line(&cause)));
                Ok(Device::Cpu)
            }
        },
        other => open_cuda(other, progress),
    }
}

fn open_cuda(name: &str, progress: &Progress) -> Result<Device> {
    let ordinal = match name.strip_prefix("cuda") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix(':').and_then(|n| n.parse().ok()),
        None => None,
    };
    let Some(ordinal) = ordinal else {
        return Err(Error::usage(format!("device '{name}' is unknown; use auto, cpu, cuda or cuda:N")));
    };
    if !cfg!(feature = "cuda") {
        let why = "this program was built without --features cuda";
        return Err(Error::new(
            Exit::Device,
            format!("device {name} cannot be used: {why}; use --device cpu"),
        ));
    }
    let device = gpu(ordinal).map_err(|cause| {
        let why = one_line(&cause);
        Error::new(
            Exit::Device,
            format!("device {name} cannot be used: {why}; check the driver or use --device cpu"),
        )
    })?;
    progress.note(format!("device: {name}"));
    Ok(device)
}

/// Opens a GPU and runs one kernel on it: a driver too old for our kernels opens devices just as well.
fn gpu(ordinal: usize) -> candle_core::Result<Device> {
    let device = Device::new_cuda(ordinal)?;
    Tensor::ones(1, DTYPE, &device)?.affine(2.0, 0.0)?.to_vec1::<f32>()?;
    Ok(device)
}

/// Threads that tensor operations use on the CPU.
pub fn threads() -> usize {
    candle_core::utils::get_num_threads()
}

fn one_line(cause: &candle_core::Error) -> String {
    cause.to_string().lines().next().unwrap_or_default().trim().to_string()
}
