//! A fitted n-gram classifier on disk, bit for bit: one safetensors file.
//!
//! With F columns and M models: `ngrams` (F, 2), the two halves of each key; `idf` (F); `weights` (M, F); `bias` (M);
//! `sigmoid` (M, 2), slope and offset; `c` (1).

use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::linear::Linear;
use super::ngrams::{Ngrams, Scored};
use super::platt::Platt;
use super::tfidf::{Features, Tfidf};
use crate::error::{Error, Result};
use crate::files;

/// File in the folder of a run.
const NGRAMS_FILE: &str = "ngrams.safetensors";

impl Ngrams {
    /// Writes it into `folder`. Only n-grams of characters are kept.
    ///
    /// Errors: the place cannot be written (73), disk full (74).
    pub fn write(&self, folder: &Path) -> Result<()> {
        let (keys, idf) = self.tfidf.columns();
        let halves: Vec<u64> = keys.iter().flat_map(|key| [(key >> 64) as u64, *key as u64]).collect();
        let of_models = |numbers: fn(&Scored) -> Vec<f64>| self.models.iter().flat_map(numbers).collect();
        let tensors: [(&str, Vec<usize>, Vec<f64>); 5] = [
            ("idf", vec![keys.len()], idf),
            ("weights", vec![self.models.len(), keys.len()], of_models(|of| of.model.weights().to_vec())),
            ("bias", vec![self.models.len()], of_models(|of| vec![of.model.bias()])),
            ("sigmoid", vec![self.models.len(), 2], of_models(|of| of.platt.numbers().to_vec())),
            ("c", vec![1], vec![self.c]),
        ];
        let mut bytes: Vec<(&str, Dtype, Vec<usize>, Vec<u8>)> = tensors
            .into_iter()
            .map(|(name, shape, values)| {
                (name, Dtype::F64, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            })
            .collect();
        let halves = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        bytes.push(("ngrams", Dtype::U64, vec![keys.len(), 2], halves));
        let path = folder.join(NGRAMS_FILE);
        let cannot = |cause| Error::data(format!("cannot build {}: {cause}", path.display()));
        let mut views = Vec::new();
        for (name, dtype, shape, bytes) in &bytes {
            views.push((*name, TensorView::new(*dtype, shape.clone(), bytes).map_err(cannot)?));
        }
        files::write_atomic(&path, &safetensors::serialize(views, None).map_err(cannot)?)
    }

    /// Whether one is kept in `folder`.
    pub fn is_kept(folder: &Path) -> bool {
        folder.join(NGRAMS_FILE).is_file()
    }

    /// Reads the one in `folder`, for `num_labels` labels.
    ///
    /// Errors: missing (66); damaged, or of another number of labels (65).
    pub fn read(folder: &Path, num_labels: usize) -> Result<Self> {
        let path = folder.join(NGRAMS_FILE);
        let bytes = files::read(&path)?;
        let damaged = |why: &str| Error::data(format!("{} is damaged: {why}; run it again", path.display()));
        let file = SafeTensors::deserialize(&bytes).map_err(|cause| damaged(&cause.to_string()))?;
        let tensor = |name: &str, dtype: Dtype| {
            let found = file.tensor(name).ok().filter(|found| found.dtype() == dtype);
            found.ok_or_else(|| damaged(&format!("it has no {name} of {dtype:?}")))
        };
        let models = if num_labels == 2 { 1 } else { num_labels };
        let ngrams = tensor("ngrams", Dtype::U64)?;
        let columns = ngrams.shape().first().copied().unwrap_or(0);
        let numbers = |name: &str, shape: &[usize]| -> Result<Vec<f64>> {
            let found = tensor(name, Dtype::F64)?;
            if found.shape() != shape {
                return Err(damaged(&format!("{name} is {:?}, expected {shape:?}", found.shape())));
            }
            let values: Vec<f64> = eights(found.data()).map(f64::from_le_bytes).collect();
            let finite = values.iter().all(|value| value.is_finite());
            if finite {
                Ok(values)
            } else {
                Err(damaged(&format!("{name} holds a number that is not finite")))
            }
        };
        if ngrams.shape() != [columns, 2] {
            return Err(damaged(&format!("ngrams is {:?}, expected two numbers each", ngrams.shape())));
        }
        let halves: Vec<u64> = eights(ngrams.data()).map(u64::from_le_bytes).collect();
        let keys = halves.chunks(2).map(|half| u128::from(half[0]) << 64 | u128::from(half[1]));
        let (idf, weights) = (numbers("idf", &[columns])?, numbers("weights", &[models, columns])?);
        let (bias, sigmoid) = (numbers("bias", &[models])?, numbers("sigmoid", &[models, 2])?);
        let model = |at: usize| Scored {
            model: Linear::of(weights[at * columns..(at + 1) * columns].to_vec(), bias[at]),
            platt: Platt::of([sigmoid[2 * at], sigmoid[2 * at + 1]]),
        };
        let tfidf = Tfidf::of(Features::Chars, keys.zip(idf));
        if tfidf.num_features() != columns {
            return Err(damaged("it has an n-gram twice"));
        }
        Ok(Self { tfidf, models: (0..models).map(model).collect(), c: numbers("c", &[1])?[0] })
    }
}

/// Eight bytes at a time.
fn eights(bytes: &[u8]) -> impl Iterator<Item = [u8; 8]> + '_ {
    bytes.chunks_exact(8).map(|eight| std::array::from_fn(|at| eight[at]))
}

#[cfg(test)]
mod tests {
    use super::super::{LinearLoss, NgramKind};
    use super::*;
    use crate::error::ErrorKind;

    fn fitted(num_labels: u32) -> (Ngrams, Vec<String>) {
        let text = |row: u32| {
            format!("row {row} of kind {} says {}", row % num_labels, "xyz".repeat(row as usize % 5))
        };
        let rows: Vec<(String, u32)> = (0..60).map(|row| (text(row), row % num_labels)).collect();
        let kind = NgramKind { features: Features::Chars, loss: LinearLoss::SquaredHinge };
        let ngrams = Ngrams::fit(kind, &rows, &rows[..20], num_labels as usize, None).unwrap();
        (ngrams, rows.into_iter().map(|(text, _)| text + "?").collect())
    }

    #[test]
    fn what_is_read_answers_as_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        for num_labels in [2, 5] {
            let (ngrams, texts) = fitted(num_labels);
            ngrams.write(folder.path()).unwrap();
            let again = Ngrams::read(folder.path(), num_labels as usize).unwrap();
            assert_eq!(again.probabilities(&texts), ngrams.probabilities(&texts));
            assert_eq!(again.c(), ngrams.c());
        }
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let read = |num_labels| Ngrams::read(folder.path(), num_labels).err().unwrap();
        assert_eq!(read(2).kind, ErrorKind::MissingInput);
        fitted(2).0.write(folder.path()).unwrap();
        assert!(read(3).to_string().contains("weights is [1, "), "{}", read(3));
        let path = folder.path().join(NGRAMS_FILE);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(read(2).to_string().contains("is damaged"), "{}", read(2));
        std::fs::write(&path, [&whole[..whole.len() - 8], &f64::NAN.to_le_bytes()].concat()).unwrap();
        assert!(read(2).to_string().contains("not finite"), "{}", read(2));
    }
}
