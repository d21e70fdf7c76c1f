//! Named tensors in one safetensors file: strict in, durable out.
//!
//! Layer 1. The safetensors crate checks the header (size bound, overlaps, holes, UTF-8); this file adds the
//! name of the file, sizes and finite values. Whole files are read into memory: a mapped file that is cut
//! short while in use would kill the process.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Metadata, TensorInfo, TensorView};

use crate::error::{Error, Result};
use crate::files;

/// SHA-256 over names and f32 values.
pub fn sha256(tensors: &BTreeMap<String, Tensor>) -> Result<String> {
    let mut sums = String::new();
    for (name, tensor) in tensors {
        sums.push_str(name);
        sums.push_str(&files::sha256(&bytes(tensor)?));
    }
    Ok(files::sha256(sums.as_bytes()))
}

/// The values as f32, little-endian.
fn bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let mut bytes = Vec::with_capacity(4 * values.len());
    values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    Ok(bytes)
}

/// Writes f32 tensors, sorted by name, with the metadata transformers asks for; returns the SHA-256. One tensor
/// after the other is turned into bytes, so it takes little memory.
///
/// Errors: the place cannot be written (73), disk full (74).
pub fn write(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<String> {
    let mut end = 0;
    let infos = tensors.iter().map(|(name, tensor)| {
        let start = end;
        end += 4 * tensor.elem_count();
        let (shape, data_offsets) = (tensor.dims().to_vec(), (start, end));
        (name.clone(), TensorInfo { dtype: safetensors::Dtype::F32, shape, data_offsets })
    });
    let format = HashMap::from([("format".to_string(), "pt".to_string())]);
    let cannot = |cause: String| Error::data(format!("cannot build {}: {cause}", path.display()));
    let metadata = Metadata::new(Some(format), infos.collect()).map_err(|cause| cannot(cause.to_string()))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|cause| cannot(cause.to_string()))?;
    // Data begin at a multiple of 8 bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    let length = (header.len() as u64).to_le_bytes().to_vec();
    files::write_pieces(path, [Ok(length), Ok(header)].into_iter().chain(tensors.values().map(bytes)))
}

/// Reads every tensor as f32 on the CPU.
///
/// Errors: missing file (66); damaged header, sizes that do not fit, an unsupported dtype, NaN or infinite
/// values (65), each naming file and tensor.
pub fn read(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    read_some(path, |_| true)
}

/// As `read`, for the tensors whose names are wanted; others may be of any kind.
pub fn read_some(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<BTreeMap<String, Tensor>> {
    parse(path, &files::read(path)?, wanted)
}

/// As `read_some`, for bytes already in memory; `path` is only named in errors.
pub fn parse(path: &Path, bytes: &[u8], wanted: impl Fn(&str) -> bool) -> Result<BTreeMap<String, Tensor>> {
    let damaged = |why: String| {
        let size = bytes.len();
        Error::data(format!("{} ({size} bytes) is damaged: {why}; fetch or train it again", path.display()))
    };
    if let Some(name) = repeated_name(bytes) {
        return Err(damaged(format!("tensor {name} is in it twice")));
    }
    let file = SafeTensors::deserialize(bytes).map_err(|cause| damaged(cause.to_string()))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors().into_iter().filter(|(name, _)| wanted(name)) {
        let values = floats(&view).ok_or_else(|| {
            damaged(format!("tensor {name} has dtype {:?}, expected F32, F16 or BF16", view.dtype()))
        })?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(damaged(format!("tensor {name} holds {} at index {at}", values[at])));
        }
        tensors.insert(name, Tensor::from_vec(values, view.shape(), &Device::Cpu)?);
    }
    Ok(tensors)
}

/// A tensor named twice in the header: the safetensors crate would silently take the last one.
fn repeated_name(bytes: &[u8]) -> Option<String> {
    let (length, rest) = bytes.split_first_chunk()?;
    let header = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let Names(mut names) = serde_json::from_slice(header).ok()?;
    names.sort();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone())
}

/// Keys of a JSON object, repeated ones included.
struct Names(Vec<String>);

impl<'de> serde::Deserialize<'de> for Names {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Keys;
        impl<'de> serde::de::Visitor<'de> for Keys {
            type Value = Names;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((name, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

fn floats(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let bytes = view.data();
    let halves = || bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
    match view.dtype() {
        safetensors::Dtype::F32 => {
            Some(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        }
        safetensors::Dtype::F16 => Some(halves().map(|b| half::f16::from_le_bytes(b).to_f32()).collect()),
        safetensors::Dtype::BF16 => Some(halves().map(|b| half::bf16::from_le_bytes(b).to_f32()).collect()),
        _ => None,
    }
}

/// Checks that `found` has exactly the tensors of `expected` in their shapes.
///
/// Errors: the first missing or misshaped tensor by key with both shapes, then all that are not expected.
pub fn check_shapes(
    path: &Path,
    found: &BTreeMap<String, Tensor>,
    expected: &BTreeMap<String, Vec<usize>>,
) -> Result<()> {
    for (name, shape) in expected {
        let Some(tensor) = found.get(name) else {
            let why = format!("{}: tensor {name} is missing, expected shape {shape:?}", path.display());
            return Err(Error::data(format!("{why}; the file does not belong to this config")));
        };
        if tensor.dims() != shape.as_slice() {
            let why = format!("tensor {name} has shape {:?}, expected {shape:?}", tensor.dims());
            return Err(Error::data(format!(
                "{}: {why}; it belongs to another model config",
                path.display()
            )));
        }
    }
    const SHOWN: usize = 5;
    let extra: Vec<&str> = found.keys().filter(|k| !expected.contains_key(*k)).map(String::as_str).collect();
    if extra.is_empty() {
        return Ok(());
    }
    let names = extra.iter().take(SHOWN).map(|name| name.chars().take(80).collect::<String>());
    let more = extra.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names = names.collect::<Vec<_>>().join(", ");
    let why = format!("{}: {} unexpected tensors: {names}{more}", path.display(), extra.len());
    Err(Error::data(format!("{why}; it belongs to another model config")))
}
