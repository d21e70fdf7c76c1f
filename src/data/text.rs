//! Lines of UTF-8 text from any file, with honest errors for anything else.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::advice::Advice;
use crate::error::{Error, Result};
use crate::files;

/// A longer line is handed on in pieces, so that memory stays bounded whatever the file holds.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;

/// How a text file is compressed, by the end of its name.
enum Compression {
    Gzip,
    Zstd,
}

fn compression(path: &Path) -> Option<Compression> {
    match last_extension(path).as_str() {
        "gz" => Some(Compression::Gzip),
        "zst" => Some(Compression::Zstd),
        _ => None,
    }
}

/// What the name of a file says about its content: its extension in lower case, that of the compression aside.
pub(super) fn extension(path: &Path) -> String {
    match compression(path) {
        Some(_) => last_extension(&path.with_extension("")),
        None => last_extension(path),
    }
}

/// Whether the text of a file is longer than the file.
pub(super) fn is_packed(path: &Path) -> bool {
    compression(path).is_some() || last_extension(path) == "parquet"
}

fn last_extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// Reads a text file line by line; a byte order mark at its start is dropped, CRLF becomes LF.
pub(super) struct Lines {
    path: PathBuf,
    reader: BufReader<Box<dyn Read + Send>>,
    lossy: bool,
    advice: Advice,
    /// Read errors are damage to the file.
    compressed: bool,
    /// Bytes handed on so far.
    offset: u64,
    /// Line number of the newest line, from 1.
    pub(super) number: u64,
    /// The newest line goes on with the one before it, which was too long.
    pub(super) continues: bool,
    /// The newest line has no end yet.
    is_open: bool,
    /// Bytes of a character or line end cut by `MAX_LINE_BYTES`.
    carried: Vec<u8>,
}

impl Lines {
    /// Opens `path`, compressed where its name ends in .gz or .zst; with `lossy` every undecodable byte becomes
    /// U+FFFD.
    pub(super) fn open(path: &Path, lossy: bool) -> Result<Self> {
        files::check_regular(path)?;
        let cannot = |cause| Error::reading(path, &cause);
        let file = File::open(path).map_err(cannot)?;
        let source: Box<dyn Read + Send> = match compression(path) {
            Some(Compression::Gzip) => Box::new(MultiGzDecoder::new(BufReader::new(file))),
            Some(Compression::Zstd) => Box::new(zstd::stream::read::Decoder::new(file).map_err(cannot)?),
            None => Box::new(file),
        };
        Ok(Self { compressed: compression(path).is_some(), ..Self::new(path, source, lossy) })
    }

    /// Reads from memory or a stream; `path` is only named in errors.
    pub(super) fn new(path: &Path, source: Box<dyn Read + Send>, lossy: bool) -> Self {
        let reader = BufReader::with_capacity(1 << 16, source);
        let path = path.to_path_buf();
        Self {
            path,
            reader,
            lossy,
            advice: Advice::default(),
            compressed: false,
            offset: 0,
            number: 0,
            continues: false,
            is_open: false,
            carried: Vec::new(),
        }
    }

    /// The same with errors that name options as `advice` says.
    pub(super) fn advised(self, advice: Advice) -> Self {
        Self { advice, ..self }
    }

    /// Whether undecodable text is replaced.
    pub(super) fn is_lossy(&self) -> bool {
        self.lossy
    }

    /// The next line with its line feed, or the next piece of a long one; `None` at the end.
    ///
    /// Errors: bytes that are not UTF-8 or a NUL, with file, byte offset and the likely encoding (65).
    pub(super) fn next_line(&mut self) -> Result<Option<String>> {
        let mut bytes = std::mem::take(&mut self.carried);
        let room = (MAX_LINE_BYTES - bytes.len()) as u64;
        let read = self.reader.by_ref().take(room).read_until(b'\n', &mut bytes);
        read.map_err(|cause| self.unreadable(&cause))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.continues = self.is_open;
        self.number += u64::from(!self.continues);
        self.is_open = bytes.last() != Some(&b'\n');
        let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
        if self.offset == 0 && utf16 && !self.lossy {
            return Err(self.not_text(0, &bytes));
        }
        if self.offset == 0 && bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
            self.offset = 3;
        }
        if bytes.len() >= MAX_LINE_BYTES - 3 && bytes.last() != Some(&b'\n') {
            self.carry_cut_character(&mut bytes);
        }
        if let (Some(at), false) = (bytes.iter().position(|byte| *byte == 0), self.lossy) {
            return Err(self.not_text(at, &bytes));
        }
        let start = self.offset;
        self.offset += bytes.len() as u64;
        let mut line = match String::from_utf8(bytes) {
            Ok(line) => line,
            Err(cause) if self.lossy => String::from_utf8_lossy(cause.as_bytes()).into_owned(),
            Err(cause) => {
                self.offset = start;
                return Err(self.not_text(cause.utf8_error().valid_up_to(), cause.as_bytes()));
            }
        };
        if line.ends_with("\r\n") {
            line.truncate(line.len() - 2);
            line.push('\n');
        }
        Ok(Some(line))
    }

    fn carry_cut_character(&mut self, bytes: &mut Vec<u8>) {
        if bytes.last() == Some(&b'\r') {
            self.carried = bytes.split_off(bytes.len() - 1);
        } else if let Err(cause) = std::str::from_utf8(bytes)
            && cause.error_len().is_none()
        {
            self.carried = bytes.split_off(cause.valid_up_to());
        }
    }

    fn unreadable(&self, cause: &std::io::Error) -> Error {
        if !self.compressed {
            return Error::reading(&self.path, cause);
        }
        let place = format!("{}:{}", self.path.display(), self.number + u64::from(!self.is_open));
        Error::data(format!("{place}: the compressed file is damaged or cut short: {cause}; fetch it again"))
    }

    fn not_text(&self, at: usize, bytes: &[u8]) -> Error {
        let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
        let guess = match bytes[at] {
            _ if utf16 => "it looks like UTF-16",
            0 => "a NUL byte; it looks like UTF-16 or a binary file",
            _ => "it looks like Latin-1 or Windows-1252",
        };
        let place = format!("{}:{} (byte {})", self.path.display(), self.number, self.offset + at as u64);
        Error::data(format!(
            "{place}: not UTF-8 text, {guess}; convert it (iconv -t UTF-8){}",
            self.advice.or_lossy()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: Vec<u8>) -> Lines {
        Lines::new(Path::new("x.txt"), Box::new(std::io::Cursor::new(text)), false)
    }

    fn all(text: Vec<u8>) -> Vec<(u64, bool, usize)> {
        let mut lines = lines(text);
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            found.push((lines.number, lines.continues, line.len()));
        }
        found
    }

    #[test]
    fn pieces_of_a_long_line_have_its_number() {
        const MAX: usize = MAX_LINE_BYTES;
        let text = |bytes: usize| [vec![b'x'; bytes], b"\nnext\n".to_vec()].concat();
        assert_eq!(all(text(MAX - 1)), [(1, false, MAX), (2, false, 5)]);
        assert_eq!(all(text(MAX)), [(1, false, MAX), (1, true, 1), (2, false, 5)]);
        let pieces = [(1, false, MAX), (1, true, MAX), (1, true, 11), (2, false, 5)];
        assert_eq!(all(text(2 * MAX + 10)), pieces);
        let carriage_return = [vec![b'x'; MAX - 1], b"\r\nnext".to_vec()].concat();
        assert_eq!(all(carriage_return), [(1, false, MAX - 1), (1, true, 1), (2, false, 4)]);
    }

    #[test]
    fn an_error_after_a_long_line_names_its_own_line() {
        let mut lines = lines([vec![b'x'; 3 * MAX_LINE_BYTES], b"\nfine\nbroken \xff\n".to_vec()].concat());
        let error = std::iter::from_fn(|| lines.next_line().transpose()).find_map(Result::err).unwrap();
        assert!(error.to_string().starts_with("x.txt:3 (byte 3145741): not UTF-8"), "{error}");
    }
}
