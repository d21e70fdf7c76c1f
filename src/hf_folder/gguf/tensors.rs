//! The tensors of a GGUF file as f32, whatever they are stored as.

use std::collections::BTreeMap;

use candle_core::quantized::{GgmlDType, ggml_file};
use candle_core::{Device, Tensor};

use crate::error::Result;
use crate::files::gguf::{Gguf, TensorPlace, shown};

/// ggml's number and name of what values may be stored as.
const KINDS: [(u32, &str, GgmlDType); 13] = [
    (0, "f32", GgmlDType::F32),
    (1, "f16", GgmlDType::F16),
    (30, "bf16", GgmlDType::BF16),
    (2, "q4_0", GgmlDType::Q4_0),
    (3, "q4_1", GgmlDType::Q4_1),
    (6, "q5_0", GgmlDType::Q5_0),
    (7, "q5_1", GgmlDType::Q5_1),
    (8, "q8_0", GgmlDType::Q8_0),
    (10, "q2_K", GgmlDType::Q2K),
    (11, "q3_K", GgmlDType::Q3K),
    (12, "q4_K", GgmlDType::Q4K),
    (13, "q5_K", GgmlDType::Q5K),
    (14, "q6_K", GgmlDType::Q6K),
];

/// A tensor that the file holds whole.
struct Stored {
    shape: Vec<usize>,
    dtype: GgmlDType,
    offset: u64,
    bytes: u64,
}

/// All tensors of a file, none read yet.
pub(super) struct Tensors<'a> {
    file: &'a Gguf,
    by_name: BTreeMap<&'a str, Stored>,
}

impl<'a> Tensors<'a> {
    /// Looks at where the file's tensors lie: one after another, without gaps, as llama.cpp asks for.
    ///
    /// Errors: a kind that is not read, sizes that do not fit each other or the file (65).
    pub(super) fn of(file: &'a Gguf) -> Result<Self> {
        let mut by_name = BTreeMap::new();
        let mut next = 0_u64;
        for place in file.tensors() {
            let stored = stored(file, place)?;
            let end = place.offset.saturating_add(stored.bytes);
            let why = if place.offset != next {
                format!("lies at byte {} of the tensors, where {next} is next", place.offset)
            } else if end > file.tensor_bytes() {
                format!(
                    "needs {} bytes, the file holds {}",
                    stored.bytes,
                    file.tensor_bytes() - next.min(file.tensor_bytes())
                )
            } else {
                next = end.next_multiple_of(file.alignment());
                by_name.insert(place.name.as_str(), stored);
                continue;
            };
            return Err(file.damaged(format!("tensor {} {why}", shown(&place.name))));
        }
        Ok(Self { file, by_name })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.by_name.keys().copied()
    }

    fn get(&self, name: &str) -> Result<&Stored> {
        self.by_name.get(name).ok_or_else(|| {
            let hint = "the file does not belong to its keys, convert the model again";
            self.file.wrong(format!("tensor {name} is missing; {hint}"))
        })
    }

    /// Rows of a matrix.
    pub(super) fn rows(&self, name: &str) -> Result<usize> {
        Ok(self.get(name)?.shape[0])
    }

    /// Whether two tensors are stored alike, bit for bit.
    pub(super) fn same(&self, one: &str, other: &str) -> Result<bool> {
        let (a, b) = (self.get(one)?, self.get(other)?);
        let alike = a.shape == b.shape && a.dtype == b.dtype;
        Ok(alike && self.file.bytes(a.offset, a.bytes)? == self.file.bytes(b.offset, b.bytes)?)
    }

    /// The tensor as f32.
    ///
    /// Errors: missing, another shape, NaN or infinite values (65).
    pub(super) fn read(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let stored = self.get(name)?;
        if stored.shape != shape {
            let why = format!("tensor {name} has shape {:?}, expected {shape:?}", stored.shape);
            return Err(self.file.wrong(format!("{why}; the file does not belong to its keys")));
        }
        let bytes = self.file.bytes(stored.offset, stored.bytes)?;
        let packed = ggml_file::qtensor_from_ggml(stored.dtype, &bytes, shape.to_vec(), &Device::Cpu)?;
        let tensor = packed.dequantize(&Device::Cpu)?;
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(self.file.damaged(format!("tensor {name} holds {} at index {at}", values[at]))),
            None => Ok(tensor),
        }
    }
}

/// Errors: a kind that is not read, rows that are no whole blocks, a size beyond all files (65).
fn stored(file: &Gguf, place: &TensorPlace) -> Result<Stored> {
    let name = shown(&place.name);
    let Some((_, kind, dtype)) = KINDS.iter().find(|(number, ..)| *number == place.kind) else {
        let known: Vec<&str> = KINDS.iter().map(|(_, name, _)| *name).collect();
        let why =
            format!("tensor {name} is stored as ggml's type {}, read are {}", place.kind, known.join(", "));
        return Err(file.wrong(format!("{why}; take the file in one of these")));
    };
    let values = place.shape.iter().try_fold(1_u64, |product, size| product.checked_mul(*size));
    let (block, row) = (dtype.block_size() as u64, place.shape.last().copied().unwrap_or_default());
    let bytes = values.and_then(|values| (values / block).checked_mul(dtype.type_size() as u64));
    match bytes.filter(|bytes| *bytes > 0 && row.is_multiple_of(block)) {
        Some(bytes) => Ok(Stored {
            shape: place.shape.iter().map(|size| *size as usize).collect(),
            dtype: *dtype,
            offset: place.offset,
            bytes,
        }),
        None => {
            let why = format!("tensor {name} of {kind} has the impossible shape {:?}", place.shape);
            Err(file.damaged(why))
        }
    }
}
