//! Which device and number type a run uses: the one place that decides.
//!
//! Layer 1.

mod cuda;

use candle_core::{DType, Device, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;

pub use cuda::Gpu;

/// Parameters and moments are f32 on every device.
pub const DTYPE: DType = DType::F32;

/// Number type that training computes in; parameters, moments, statistics of norms, softmax, loss and the sums of
/// gradients are f32 whatever is chosen, and so is evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// bf16 on a GPU, f32 elsewhere.
    #[default]
    Auto,
    /// f32.
    F32,
    /// f32, with the factors of matrix products rounded to 10 bits of mantissa; on a GPU only.
    Tf32,
    /// Activations and their gradients are bf16; on a GPU only.
    Bf16,
}

impl Precision {
    /// What activations are on this device.
    ///
    /// Errors: a precision that the device does not have (2).
    pub fn dtype(self, device: &Device) -> Result<DType> {
        match self {
            Self::Auto if device.is_cuda() => Ok(DType::BF16),
            Self::Bf16 if device.is_cuda() => Ok(DType::BF16),
            Self::Tf32 if device.is_cuda() => Ok(DType::F32),
            Self::Auto | Self::F32 => Ok(DType::F32),
            Self::Tf32 | Self::Bf16 => {
                let name = format!("{self:?}").to_lowercase();
                let hint = "take \"auto\" or \"f32\", or a GPU by --device cuda";
                Err(Error::usage(format!(
                    "train.precision is \"{name}\", but the CPU computes in f32; {hint}"
                )))
            }
        }
    }
}

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
                progress.note(format!("device: cuda:0{}, the first GPU", described(&device)));
                Ok(device)
            }
            Err(cause) => {
                progress.note(format!("device: cpu; no usable GPU: {}", one_line(&cause)));
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
            ErrorKind::Device,
            format!("device {name} cannot be used: {why}; use --device cpu"),
        ));
    }
    let device = gpu(ordinal).map_err(|cause| {
        let why = one_line(&cause);
        Error::new(
            ErrorKind::Device,
            format!("device {name} cannot be used: {why}; check the driver or use --device cpu"),
        )
    })?;
    progress.note(format!("device: {name}{}, as asked", described(&device)));
    Ok(device)
}

/// Name and memory in brackets, where the driver says them.
fn described(device: &Device) -> String {
    let describe = |gpu: Gpu| format!(" ({}, {} GiB)", gpu.name, gpu.memory_bytes >> 30);
    gpu_of(device).map(describe).unwrap_or_default()
}

/// The GPU behind a device; none for the CPU.
pub fn gpu_of(device: &Device) -> Option<Gpu> {
    cuda::gpu(device.as_cuda_device().ok()?)
}

/// Most memory that tensors have held on a GPU at once, in bytes; 0 on the CPU or where the driver does not say.
pub fn peak_gpu_bytes(device: &Device) -> u64 {
    device.as_cuda_device().map_or(0, cuda::peak_bytes)
}

/// Opens a GPU and runs one kernel on it: a driver too old for our kernels opens devices just as well.
fn gpu(ordinal: usize) -> candle_core::Result<Device> {
    let device = cuda::open(ordinal)?;
    Tensor::ones(1, DTYPE, &device)?.affine(2.0, 0.0)?.to_vec1::<f32>()?;
    Ok(device)
}

/// Threads that tensor operations use on the CPU.
pub fn threads() -> usize {
    candle_core::utils::get_num_threads()
}

/// The first line of what went wrong; of the driver's `DriverError(NAME, "words")` the words and the name.
fn one_line(cause: &candle_core::Error) -> String {
    let text = cause.to_string();
    let line = text.lines().next().unwrap_or_default().trim();
    let inside = line.strip_prefix("DriverError(").and_then(|rest| rest.strip_suffix("\")"));
    match inside.and_then(|inside| inside.split_once(", \"")) {
        Some((name, words)) => format!("{words}, {name}"),
        None => line.to_string(),
    }
}

impl From<candle_core::Error> for Error {
    fn from(cause: candle_core::Error) -> Self {
        let text = cause.to_string();
        // Known by its words: the types of CUDA's errors exist with the feature alone, and cuBLASLt's and our
        // kernels' come as text.
        let words = text.to_lowercase();
        let full = ["out_of_memory", "out of memory", "alloc_failed"].iter().any(|full| words.contains(full));
        let error = match full {
            true => Self::new(
                ErrorKind::Device,
                format!(
                    "the device is out of memory: {text}; halve train.micro_batch_size and double \
                     train.grad_accum_steps, or set train.recompute"
                ),
            ),
            false => Self::new(ErrorKind::Failed, format!("tensor operation failed: {text}")),
        };
        error.caused_by(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_error_is_told_in_its_words() {
        let of = |text: &str| one_line(&candle_core::Error::Msg(text.into()));
        let missing =
            r#"DriverError(CUDA_ERROR_NO_DEVICE, "no NVIDIA driver found: libcuda.so.1: not there")"#;
        assert_eq!(of(missing), "no NVIDIA driver found: libcuda.so.1: not there, CUDA_ERROR_NO_DEVICE");
        assert_eq!(of("no such kernel\nand a backtrace"), "no such kernel");
    }
}
