//! The beginning of a GGUF file, llama.cpp's format: its keys, and where its tensors lie.
//!
//! Versions 2 and 3, little-endian. No length is believed before the file is seen to hold as much.
//! Source: docs/gguf.md of ggml-org/ggml.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What the file begins with.
pub const MAGIC: &[u8; 4] = b"GGUF";
/// Bytes of keys and names that are read; those of a vocabulary of 250,000 tokens take some 10 MB.
const MAX_HEADER: u64 = 32 << 20;
/// Tensors begin at multiples of it where no key says otherwise.
const ALIGNMENT: u64 = 32;
/// No dimension but these is stored.
const MAX_DIMENSIONS: u32 = 4;

/// What a key says.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number of any integer type.
    Whole(i128),
    /// A number; one that was f32 is the shortest decimal that gives this f32.
    Real(f64),
    /// Yes or no.
    Flag(bool),
    /// A string.
    Text(String),
    /// A list of i32 or u32.
    Wholes(Vec<i64>),
    /// A list of strings.
    Texts(Vec<String>),
    /// A list of anything else, which is passed over.
    Others,
}

/// A tensor as the file announces it; neither kind nor place is checked here.
#[derive(Debug)]
pub struct TensorPlace {
    /// Its name.
    pub name: String,
    /// Sizes, the outermost first.
    pub shape: Vec<u64>,
    /// ggml's number of how values are stored.
    pub kind: u32,
    /// First byte, counted from the beginning of all tensors.
    pub offset: u64,
}

/// Keys and tensors of a file.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    keys: BTreeMap<String, Value>,
    tensors: Vec<TensorPlace>,
    /// Bytes of the file.
    size: u64,
    alignment: u64,
    /// Where tensors begin.
    start: u64,
}

/// Whether `path` is named as a GGUF file and is no folder.
pub fn is_named_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) && !path.is_dir()
}

impl Gguf {
    /// Reads the beginning of the file at `path`.
    ///
    /// Errors: missing or not a regular file (66); another format or version, cut off, a length beyond the file, a name
    /// that is there twice (65).
    pub fn open(path: &Path) -> Result<Self> {
        super::check_regular(path)?;
        let reading = |cause: std::io::Error| Error::reading(path, &cause);
        let file = File::open(path).map_err(reading)?;
        let size = file.metadata().map_err(reading)?.len();
        Header { path, file: BufReader::new(file), at: 0, size }.read()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All keys, by name.
    pub fn keys(&self) -> &BTreeMap<String, Value> {
        &self.keys
    }

    /// Tensors in the order of the file.
    pub fn tensors(&self) -> &[TensorPlace] {
        &self.tensors
    }

    /// What tensors begin at multiples of.
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Bytes from the first tensor to the end of the file.
    pub fn tensor_bytes(&self) -> u64 {
        self.size.saturating_sub(self.start)
    }

    /// So many bytes from `offset` on, counted from the beginning of all tensors.
    ///
    /// Errors: the file ends before (65); it cannot be read (74).
    pub fn bytes(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        if offset.checked_add(length).is_none_or(|end| end > self.tensor_bytes()) {
            return Err(self.damaged("it ends in the middle of its tensors"));
        }
        let reading = |cause: std::io::Error| Error::reading(&self.path, &cause);
        let mut bytes = vec![0; length as usize];
        let mut file = File::open(&self.path).map_err(reading)?;
        file.seek(SeekFrom::Start(self.start + offset)).map_err(reading)?;
        file.read_exact(&mut bytes).map_err(reading)?;
        Ok(bytes)
    }

    /// An error about this file (65).
    pub fn wrong(&self, why: impl std::fmt::Display) -> Error {
        Error::data(format!("{}: {why}", self.path.display()))
    }

    /// A file that is not as it was written (65).
    pub fn damaged(&self, why: impl std::fmt::Display) -> Error {
        damaged(&self.path, self.size, why)
    }

    /// Whether there is such a key.
    pub fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// Errors, here and below: the key is missing or of another kind (65).
    pub fn text(&self, key: &str) -> Result<&str> {
        self.get(key, "a text", |value| if let Value::Text(text) = value { Some(&text[..]) } else { None })
    }

    /// A list of texts.
    pub fn texts(&self, key: &str) -> Result<&[String]> {
        self.get(key, "a list of texts", |value| {
            if let Value::Texts(texts) = value { Some(&texts[..]) } else { None }
        })
    }

    /// A list of numbers.
    pub fn wholes(&self, key: &str) -> Result<&[i64]> {
        self.get(key, "a list of whole numbers", |value| {
            if let Value::Wholes(numbers) = value { Some(&numbers[..]) } else { None }
        })
    }

    /// A size or an id.
    pub fn whole(&self, key: &str) -> Result<usize> {
        self.get(key, "one whole number", |value| match value {
            Value::Whole(number) => usize::try_from(*number).ok(),
            _ => None,
        })
    }

    /// A number.
    pub fn real(&self, key: &str) -> Result<f64> {
        self.get(key, "a finite number", |value| match value {
            Value::Real(number) => Some(*number).filter(|number| number.is_finite()),
            Value::Whole(number) => Some(*number as f64),
            _ => None,
        })
    }

    /// Yes or no.
    pub fn flag(&self, key: &str) -> Result<bool> {
        self.get(key, "true or false", |value| if let Value::Flag(flag) = value { Some(*flag) } else { None })
    }

    fn get<'a, T>(&'a self, key: &str, what: &str, of: impl Fn(&'a Value) -> Option<T>) -> Result<T> {
        let Some(value) = self.keys.get(key) else {
            let hint = "convert the model again with a current llama.cpp";
            return Err(self.wrong(format!("it has no key {key}; {hint}")));
        };
        of(value).ok_or_else(|| self.wrong(format!("{key} is {value}, and only {what} is read")))
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(number) => write!(f, "{number}"),
            Self::Real(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Text(text) => write!(f, "'{}'", shown(text)),
            Self::Wholes(_) | Self::Texts(_) | Self::Others => write!(f, "a list"),
        }
    }
}

/// A name from a file, not longer than a line.
pub fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

fn damaged(path: &Path, size: u64, why: impl std::fmt::Display) -> Error {
    let hint = "fetch or convert it again";
    Error::data(format!("{} ({size} bytes) is damaged: {why}; {hint}", path.display()))
}

/// The way through the beginning of a file.
struct Header<'a, R> {
    path: &'a Path,
    file: R,
    /// Bytes that are read.
    at: u64,
    /// Bytes of the file.
    size: u64,
}

impl<R: Read> Header<'_, R> {
    fn read(mut self) -> Result<Gguf> {
        let magic = self.take::<4>()?;
        if &magic != MAGIC {
            let why = "it does not begin with GGUF, so it is of another format";
            return Err(Error::data(format!("{}: {why}; name a GGUF file", self.path.display())));
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            let why = format!("it is of GGUF version {version}, read are 2 and 3, little-endian");
            let hint = "convert the model again with a current llama.cpp";
            return Err(Error::data(format!("{}: {why}; {hint}", self.path.display())));
        }
        let (tensor_count, key_count) = (self.u64()?, self.u64()?);
        let mut keys = BTreeMap::new();
        for _ in 0..key_count {
            let key = self.text()?;
            let kind = self.u32()?;
            let value = self.value(&key, kind)?;
            if keys.insert(key.clone(), value).is_some() {
                return Err(self.damaged(format!("key {} is in it twice", shown(&key))));
            }
        }
        let (mut tensors, mut names) = (Vec::new(), BTreeSet::new());
        for _ in 0..tensor_count {
            let tensor = self.tensor()?;
            if !names.insert(tensor.name.clone()) {
                return Err(self.damaged(format!("tensor {} is in it twice", shown(&tensor.name))));
            }
            tensors.push(tensor);
        }
        let alignment = match keys.get("general.alignment") {
            None => ALIGNMENT,
            Some(Value::Whole(bytes @ 1..=0x1_0000)) if bytes.count_ones() == 1 => *bytes as u64,
            Some(other) => {
                let why = format!("general.alignment is {other}, not a power of two up to 65536");
                return Err(self.damaged(why));
            }
        };
        let start = self.at.next_multiple_of(alignment);
        Ok(Gguf { path: self.path.into(), keys, tensors, size: self.size, alignment, start })
    }

    fn tensor(&mut self) -> Result<TensorPlace> {
        let name = self.text()?;
        let dimensions = self.u32()?;
        if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
            return Err(self.damaged(format!("tensor {} has {dimensions} dimensions", shown(&name))));
        }
        let mut shape = (0..dimensions).map(|_| self.u64()).collect::<Result<Vec<_>>>()?;
        shape.reverse();
        Ok(TensorPlace { name, shape, kind: self.u32()?, offset: self.u64()? })
    }

    fn value(&mut self, key: &str, kind: u32) -> Result<Value> {
        Ok(match kind {
            0 => Value::Whole(u8::from_le_bytes(self.take()?).into()),
            1 => Value::Whole(i8::from_le_bytes(self.take()?).into()),
            2 => Value::Whole(u16::from_le_bytes(self.take()?).into()),
            3 => Value::Whole(i16::from_le_bytes(self.take()?).into()),
            4 => Value::Whole(self.u32()?.into()),
            5 => Value::Whole(i32::from_le_bytes(self.take()?).into()),
            // The decimal that was meant: 1e-5 and not 0.000009999999747378752.
            6 => {
                let number = f32::from_le_bytes(self.take()?);
                Value::Real(number.to_string().parse().unwrap_or(f64::from(number)))
            }
            7 => Value::Flag(self.take::<1>()? != [0]),
            8 => Value::Text(self.text()?),
            9 => self.list(key)?,
            10 => Value::Whole(self.u64()?.into()),
            11 => Value::Whole(i64::from_le_bytes(self.take()?).into()),
            12 => Value::Real(f64::from_le_bytes(self.take()?)),
            _ => return Err(self.damaged(format!("key {} is of an unknown kind {kind}", shown(key)))),
        })
    }

    fn list(&mut self, key: &str) -> Result<Value> {
        let (kind, count) = (self.u32()?, self.u64()?);
        let bytes_each = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            // A text is at least its length.
            8 | 10..=12 => 8,
            _ => return Err(self.damaged(format!("key {} is a list of kind {kind}", shown(key)))),
        };
        let bytes = self.held(count.saturating_mul(bytes_each))?;
        Ok(match kind {
            4 => Value::Wholes((0..count).map(|_| self.u32().map(i64::from)).collect::<Result<_>>()?),
            5 => {
                let number = |_| Ok(i64::from(i32::from_le_bytes(self.take()?)));
                Value::Wholes((0..count).map(number).collect::<Result<_>>()?)
            }
            8 => Value::Texts((0..count).map(|_| self.text()).collect::<Result<_>>()?),
            _ => {
                let passed = std::io::copy(&mut self.file.by_ref().take(bytes), &mut std::io::sink());
                if passed.map_err(|cause| Error::reading(self.path, &cause))? < bytes {
                    return Err(self.damaged("it became shorter while it was read"));
                }
                self.at += bytes;
                Value::Others
            }
        })
    }

    fn text(&mut self) -> Result<String> {
        let length = self.u64()?;
        let mut bytes = vec![0; self.held(length)? as usize];
        self.fill(&mut bytes)?;
        String::from_utf8(bytes)
            .map_err(|_| self.damaged(format!("a text that ends at byte {} is not UTF-8", self.at)))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.held(N as u64)?;
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.at += bytes.len() as u64;
        self.file.read_exact(bytes).map_err(|cause| Error::reading(self.path, &cause))
    }

    /// So many bytes, where the file has them.
    fn held(&self, bytes: u64) -> Result<u64> {
        let end = self.at.saturating_add(bytes);
        if end > self.size {
            let why = format!("at byte {} it announces {bytes} more, which it does not hold", self.at);
            return Err(self.damaged(why));
        }
        if end > MAX_HEADER {
            return Err(self.damaged(format!("its keys and names take more than {} MiB", MAX_HEADER >> 20)));
        }
        Ok(bytes)
    }

    fn damaged(&self, why: impl std::fmt::Display) -> Error {
        damaged(self.path, self.size, why)
    }
}
