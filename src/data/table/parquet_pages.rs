//! Parquet files that may be damaged: the parquet crate believes what they say of themselves.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use bytes::Bytes;
use parquet::basic::{Encoding, Type as PhysicalType};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, FileReader, Length, RowGroupReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;

use super::rows::quoted;
use super::thrift::{Endless, check_lists, first_numbers, varint};

/// A reader that fails where the crate would look for minutes or take memory for values that cannot be there.
pub(super) struct Checked(SerializedFileReader<Ending>);

impl Checked {
    /// Errors: not Parquet; a column that does not lie in the file.
    pub(super) fn open(file: File) -> Result<Self> {
        let bytes = file.metadata()?.len();
        check_footer(&file, bytes)?;
        let reader = SerializedFileReader::new(Ending(file))?;
        check_places(reader.metadata(), bytes)?;
        Ok(Self(reader))
    }
}

/// Errors: a list of the footer that is longer than it, which the crate counts through.
fn check_footer(mut file: &File, bytes: u64) -> Result<()> {
    // The footer, its length, and the mark at the end.
    const ENDING: u64 = 8;
    let Some(end) = bytes.checked_sub(ENDING) else { return Ok(()) };
    let mut length = [0; 4];
    file.seek(SeekFrom::Start(end))?;
    file.read_exact(&mut length)?;
    let length = u64::from(u32::from_le_bytes(length));
    let Some(start) = end.checked_sub(length) else { return Ok(()) };
    let mut footer = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    file.take(length).read_to_end(&mut footer)?;
    check_lists(&footer).map_err(endless)
}

fn endless(Endless { count, bytes }: Endless) -> ParquetError {
    ParquetError::General(format!("a list says that it has {count} elements in {bytes} bytes"))
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
        let column = self.metadata().column(i).column_descr();
        Ok(Box::new(Pages {
            pages: self.0.get_column_page_reader(i)?,
            levels: usize::from(column.max_rep_level() > 0) + usize::from(column.max_def_level() > 0),
            // Texts have their length before them.
            least_bytes: if column.physical_type() == PhysicalType::BYTE_ARRAY { 4 } else { 1 },
        }))
    }

    fn get_column_bloom_filter(&self, i: usize) -> Option<&Sbbf> {
        self.0.get_column_bloom_filter(i)
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

/// The pages of a column. Those that count more values than their bytes can hold are refused: the crate takes memory for
/// all of them at once.
struct Pages {
    pages: Box<dyn PageReader>,
    /// Lists of levels before the values of a page of the first version.
    levels: usize,
    /// Least size of a value in a dictionary.
    least_bytes: usize,
}

impl Pages {
    fn is_plausible(&self, page: &Page) -> bool {
        match page {
            Page::DictionaryPage { buf, num_values, .. } => {
                (*num_values as usize).saturating_mul(self.least_bytes) <= buf.len()
            }
            Page::DataPage { buf, encoding, .. } => {
                let values = (0..self.levels).try_fold(&buf[..], |rest, _| {
                    let (length, rest) = rest.split_first_chunk()?;
                    rest.get(u32::from_le_bytes(*length) as usize..)
                });
                lists_of_lengths(*encoding) == 0
                    || values.is_some_and(|values| lengths_fit(values, *encoding))
            }
            Page::DataPageV2 { buf, encoding, def_levels_byte_len, rep_levels_byte_len, .. } => {
                let levels = *def_levels_byte_len as usize + *rep_levels_byte_len as usize;
                buf.get(levels..).is_some_and(|values| lengths_fit(values, *encoding))
            }
        }
    }
}

/// Lists of numbers before the bytes of the texts.
fn lists_of_lengths(encoding: Encoding) -> usize {
    match encoding {
        Encoding::DELTA_LENGTH_BYTE_ARRAY => 1,
        Encoding::DELTA_BYTE_ARRAY => 2,
        _ => 0,
    }
}

/// Whether the lists of lengths are no longer than so many bytes can make them.
fn lengths_fit(values: &[u8], encoding: Encoding) -> bool {
    // Lengths that are all the same take 5 bytes for 128 or 256 of them.
    const MOST_A_BYTE: u64 = 64;
    let mut rest = Some(values);
    (0..lists_of_lengths(encoding)).all(|_| {
        let list = rest.and_then(deltas);
        rest = list.map(|(_, rest)| rest);
        list.is_some_and(|(count, _)| count <= MOST_A_BYTE * values.len() as u64)
    })
}

/// How many numbers a list of differences has, and what follows it.
///
/// Source: Parquet's Encodings.md, delta encoding.
fn deltas(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (block, rest) = varint(bytes)?;
    let (miniblocks, rest) = varint(rest)?;
    let (count, rest) = varint(rest)?;
    let (_, mut rest) = varint(rest)?;
    let in_miniblock = block.checked_div(miniblocks).filter(|numbers| *numbers > 0)?;
    let mut left = count.saturating_sub(1);
    while left > 0 {
        let (_, block) = varint(rest)?;
        let (widths, mut numbers) = block.split_at_checked(usize::try_from(miniblocks).ok()?)?;
        for width in widths {
            if left > 0 {
                let bits = u64::from(*width).checked_mul(in_miniblock)?;
                numbers = numbers.get(usize::try_from(bits / 8).ok()?..)?;
                left = left.saturating_sub(in_miniblock);
            }
        }
        rest = numbers;
    }
    Some((count, rest))
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        match &page {
            Some(page) if !self.is_plausible(page) => {
                let bytes = page.buffer().len();
                Err(ParquetError::General(format!(
                    "a page of {bytes} bytes counts more values than it can hold"
                )))
            }
            _ => Ok(page),
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// Bytes of a page header that hold its sizes.
const HEADER_BEGINNING: u64 = 64;

/// Errors: a page so large, for what it is compressed to, that it cannot be text. The crate takes memory for what the
/// page says before it unpacks it.
fn check_page_header(header: &[u8]) -> Result<()> {
    const MIB: u64 = 1 << 20;
    const LARGE: u64 = 64 * MIB;
    // Deflate packs no more than 1,032 bytes in one.
    const MOST_TIMES: u64 = 1032;
    let [_, unpacked, packed] = first_numbers(header);
    if unpacked > LARGE && unpacked / MOST_TIMES > packed {
        let size = unpacked / MIB;
        return Err(ParquetError::General(format!(
            "a page of {packed} bytes says that it unpacks to {size} MiB"
        )));
    }
    Ok(())
}

/// A file whose end may be met twice; then reading fails. A damaged page header may name billions of things to pass over
/// that take no bytes. What is read at a page that says too much fails too.
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
        let mut beginning = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.by_ref().take(HEADER_BEGINNING).read_to_end(&mut beginning)?;
        check_page_header(&beginning)?;
        file.seek(SeekFrom::Start(start))?;
        Ok(BufReader::new(FromPlace { file, at_end: false }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.0.get_bytes(start, length)
    }
}
