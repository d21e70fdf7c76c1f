//! Parquet files through the parquet crate: only the columns asked for, page by page.

use std::fs::File;
use std::path::Path;

use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::FileReader;
use parquet::record::Field;
use parquet::schema::types::Type;
use serde_json::Value;

use super::parquet_pages::Checked;
use super::rows::{Columns, Label, Rows, quoted, quoted_all};
use crate::error::{Error, Result};
use crate::files;
use crate::process::guarded;

/// Reads the text and label columns; other columns are not touched.
///
/// Integers of a class-label column become the names that the Hub's data sets store in the file.
/// Errors: not Parquet, damaged, or in a compression that is not built in; a column that is missing (65).
pub(super) fn read(path: &Path, columns: Columns, rows: &mut Rows) -> Result<()> {
    files::check_regular(path)?;
    let file = File::open(path).map_err(|cause| Error::reading(path, &cause))?;
    let mut row = 0;
    // The crate panics on some damaged files.
    let read = guarded(|| each_row(file, path, columns, rows, &mut row));
    let damaged = |why: &str| {
        let why = format!("{}:row {}: the Parquet file cannot be read: {why}", path.display(), row + 1);
        Error::data(format!("{why}; fetch or write it again"))
    };
    match read {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(cause)) => Err(damaged(&cause.to_string())),
        Err(_) => Err(damaged("its contents contradict each other")),
    }
}

/// Errors outside: of the crate. Errors inside: our own.
fn each_row(
    file: File,
    path: &Path,
    columns: Columns,
    rows: &mut Rows,
    row: &mut u64,
) -> std::result::Result<Result<()>, ParquetError> {
    let reader = Checked::open(file)?;
    let metadata = reader.metadata().file_metadata();
    let schema = metadata.schema();
    let names: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
    let mut asked = vec![(columns.text, "text_column")];
    asked.extend(columns.label.map(|label| (label, "label_column")));
    let mut wanted = Vec::new();
    for (name, option) in &asked {
        let places: Vec<_> = schema.get_fields().iter().filter(|field| field.name() == *name).collect();
        let [field] = places.as_slice() else {
            let found = if places.is_empty() { "no" } else { "more than one" };
            let advice = rows.advice().set(option, "rename one");
            let why = format!("{found} column {}, found: {}{advice}", quoted(name), quoted_all(&names));
            return Ok(Err(Error::data(format!("{}: {why}", path.display()))));
        };
        wanted.push((*field).clone());
    }
    if let Some(why) = unread_compression(reader.metadata(), &asked) {
        return Ok(Err(Error::data(format!("{}: {why}", path.display()))));
    }
    let stored = metadata.key_value_metadata().into_iter().flatten();
    let described =
        stored.filter(|entry| entry.key == "huggingface").find_map(|entry| entry.value.as_deref());
    if let Some(label) = columns.label {
        rows.offer_label_names(class_names(described, label));
    }
    let projection = Type::group_type_builder(schema.name()).with_fields(wanted).build()?;
    for record in reader.get_row_iter(Some(projection))? {
        let fields: Vec<(String, Field)> = record?.into_columns();
        *row += 1;
        let found = |name: &str| fields.iter().find(|(found, _)| found == name).map(|(_, field)| field);
        let text = found(columns.text).map_or(Err("missing".into()), as_text);
        let label =
            columns.label.map(|label| found(label).map_or(Err("missing".into()), as_label)).transpose();
        match (text, label) {
            (Ok(text), Ok(label)) => rows.push(*row, label.as_ref().map(LabelField::label), text),
            (Err(why), _) => rows.reject(place(*row, columns.text), why),
            (_, Err(why)) => rows.reject(place(*row, columns.label.unwrap_or_default()), why),
        }
        if rows.stopped() {
            break;
        }
    }
    Ok(Ok(()))
}

/// A column asked for that is compressed in a way that is not built in.
fn unread_compression(metadata: &ParquetMetaData, asked: &[(&str, &str)]) -> Option<String> {
    let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
    let read = |compression| {
        use Compression::{GZIP, SNAPPY, UNCOMPRESSED, ZSTD};
        matches!(compression, UNCOMPRESSED | SNAPPY | GZIP(_) | ZSTD(_))
    };
    let named = |chunk: &&ColumnChunkMetaData| {
        let name = chunk.column_path().parts().first();
        name.is_some_and(|name| asked.iter().any(|(asked, _)| asked == name))
    };
    let chunk = chunks.filter(named).find(|chunk| !read(chunk.compression()))?;
    let (column, compression) = (quoted(&chunk.column_path().string()), format!("{:?}", chunk.compression()));
    let compression = compression.split('(').next().unwrap_or_default();
    let hint =
        "write it again with one of these, such as df.to_parquet(PATH, compression=\"zstd\") of pandas";
    Some(format!(
        "column {column} is compressed by {compression}; only snappy, gzip, zstd and none are read; {hint}"
    ))
}

fn place(row: u64, column: &str) -> String {
    format!("row {row}, column {}", quoted(column))
}

fn as_text(field: &Field) -> std::result::Result<&str, String> {
    match field {
        Field::Str(text) => Ok(text),
        Field::Bytes(bytes) => bytes.as_utf8().map_err(|_| "not UTF-8 text".to_string()),
        other => Err(format!("{}, expected a string", kind(other))),
    }
}

/// A label and whether its column is one of integers.
struct LabelField {
    text: String,
    is_number: bool,
}

impl LabelField {
    fn label(&self) -> Label<'_> {
        if self.is_number { Label::number(&self.text) } else { Label::text(&self.text) }
    }
}

fn as_label(field: &Field) -> std::result::Result<LabelField, String> {
    match field {
        Field::Str(_) | Field::Bytes(_) => {
            Ok(LabelField { text: as_text(field)?.to_string(), is_number: false })
        }
        Field::Bool(value) => Ok(LabelField { text: value.to_string(), is_number: false }),
        Field::Byte(_)
        | Field::Short(_)
        | Field::Int(_)
        | Field::Long(_)
        | Field::UByte(_)
        | Field::UShort(_)
        | Field::UInt(_)
        | Field::ULong(_) => Ok(LabelField { text: field.to_string(), is_number: true }),
        other => Err(format!("{}, expected a string, an integer or a boolean", kind(other))),
    }
}

fn kind(field: &Field) -> &'static str {
    match field {
        Field::Null => "null",
        Field::Float16(_) | Field::Float(_) | Field::Double(_) | Field::Decimal(_) => "a fraction",
        Field::Group(_) => "a struct",
        Field::ListInternal(_) => "a list",
        Field::MapInternal(_) => "a map",
        Field::Str(_) | Field::Bytes(_) => "a string",
        Field::Bool(_) => "a boolean",
        Field::Date(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::TimestampMillis(_)
        | Field::TimestampMicros(_) => "a time",
        _ => "an integer",
    }
}

/// Names of a class-label column, as the datasets library stores them: info.features.LABEL.names.
fn class_names(described: Option<&str>, label: &str) -> Vec<String> {
    let described: Option<Value> = described.and_then(|text| serde_json::from_str(text).ok());
    let names = described.as_ref().map(|all| &all["info"]["features"][label]["names"]);
    let names = names.and_then(Value::as_array).cloned().unwrap_or_default();
    names.iter().filter_map(Value::as_str).map(str::to_string).collect()
}
