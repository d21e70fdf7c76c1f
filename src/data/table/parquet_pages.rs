//! Parquet files that may be damaged: the parquet crate believes what they say of themselves.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use bytes::Bytes;
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, FileReader, Length, RowGroupReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;

use super::rows::quoted;

/// A reader that fails where the crate would look for minutes or take memory for values that cannot be there.
pub(super) struct Checked(SerializedFileReader<Ending>);

impl Checked {
    /// Errors: not Parquet; a column that does not lie in the file.
    pub(super) fn open(file: File) -> Result<Self> {
        let bytes = file.metadata()?.len();
        let reader = SerializedFileReader::new(Ending(file))?;
        check_places(reader.metadata(), bytes)?;
        Ok(Self(reader))
    }
}

/// Errors: a column that does not lie between the marks at both ends of the file.
fn check_places(metadata: &ParquetMetaData, bytes: u64) -> Result<()> {
    const MARK: u64 = 4;
    for chunk in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        let (start, length) = chunk.byte_range();
        let inside = start >= MARK && start.checked_add(length).is_some_and(|end| end <= bytes - MARK);
        if !inside {
            let column = quoted(&chunk.column_path().string());
            return Err(ParquetError::General(format!("column {column} lies outside the file")));
        }
    }
    Ok(())
}

impl FileReader for Checked {
    fn metadata(&self) -> &ParquetMetaData {
        self.0.metadata()
    }

    fn num_row_groups(&self) -> usize {
        self.0.num_row_groups()
    }

    fn get_row_group(&self, i: usize) -> Result<Box<dyn RowGroupReader + '_>> {
        Ok(Box::new(Group(self.0.get_row_group(i)?)))
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_file(projection, self)
    }
}

struct Group<'a>(Box<dyn RowGroupReader + 'a>);

impl RowGroupReader for Group<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.0.metadata()
    }

    fn num_columns(&self) -> usize {
        self.0.num_columns()
    }

    fn get_column_page_reader(&self, i: usize) -> Result<Box<dyn PageReader>> {
        Ok(Box::new(Pages(self.0.get_column_page_reader(i)?)))
    }

    fn get_column_bloom_filter(&self, i: usize) -> Option<&Sbbf> {
        self.0.get_column_bloom_filter(i)
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

struct Pages(Box<dyn PageReader>);

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.0.get_next_page()?;
        match &page {
            // Memory for all of them is taken at once.
            Some(Page::DictionaryPage { buf, num_values, .. }) if *num_values as usize > buf.len() => {
                let (values, bytes) = (num_values, buf.len());
                Err(ParquetError::General(format!("a dictionary of {values} values has {bytes} bytes")))
            }
            _ => Ok(page),
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.0.skip_next_page()
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// A file whose end may be met twice; then reading fails. A damaged page header may name billions of things to pass over
/// that take no bytes.
struct Ending(File);

struct FromPlace {
    file: File,
    at_end: bool,
}

impl Read for FromPlace {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        if count == 0 && !buffer.is_empty() && std::mem::replace(&mut self.at_end, true) {
            return Err(io::Error::other("the file ends too early"));
        }
        Ok(count)
    }
}

impl Length for Ending {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Ending {
    type T = BufReader<FromPlace>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let mut file = self.0.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        Ok(BufReader::new(FromPlace { file, at_end: false }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.0.get_bytes(start, length)
    }
}
