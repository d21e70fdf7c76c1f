//! Numbers from the host to where the model is.

use candle_core::{Device, Result, Shape, Tensor};

use super::gpu::on_gpu;

/// A tensor of these numbers on the device. On a GPU neither side waits for the copy.
pub fn upload(values: &[u32], shape: impl Into<Shape>, device: &Device) -> Result<Tensor> {
    let shape = shape.into();
    if shape.elem_count() != values.len() {
        candle_core::bail!("upload: {} values do not fill the shape {shape:?}", values.len());
    }
    on_gpu!(if device.is_cuda() => super::cuda::upload(values, shape, device.as_cuda_device()?));
    Tensor::from_slice(values, shape, device)
}

/// As [`upload`], of a vector of f32.
pub fn upload_f32(values: &[f32], device: &Device) -> Result<Tensor> {
    on_gpu!(if device.is_cuda() => super::cuda::upload_f32(values, device.as_cuda_device()?));
    Tensor::from_slice(values, values.len(), device)
}
