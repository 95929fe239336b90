//! The rows of a data file in Parquet. Keys are not encoded there.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row as ParquetRow};
use parquet::schema::types::Type;
use storage_core::Result;

use super::columns::Columns;
use super::errors::damaged;
use super::row::{Flag, Row, Rows, missing_column};
use crate::sort::{join, spawn};

const COLUMNS: [&str; 6] =
    ["key", "size", "last_modified_date", "e_tag", "is_latest", "is_delete_marker"];

/// The number of rows that are decoded at once.
const BATCH: usize = 1024;

/// Opens a data file. Reads its footer on the blocking pool.
pub(super) async fn rows(file: File, columns: Columns) -> Result<Rows> {
    let mut rows = join(spawn(move || open(file, columns))).await?;
    Ok(Box::new(move || match rows.next() {
        None => Ok(None),
        Some(Ok(row)) => Ok(Some(convert(row))),
        Some(Err(error)) => Err(damaged(error)),
    }))
}

fn open(file: File, columns: Columns) -> Result<RowIter<'static>> {
    let reader = SerializedFileReader::new(file).map_err(damaged)?;
    // The iterator expects that each row group can be opened.
    for group in 0..reader.num_row_groups() {
        reader.get_row_group(group).map_err(damaged)?;
    }
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let projection = projection(schema.root_schema(), columns)?;
    let rows = RowIter::from_file_into(Box::new(reader)).project(Some(projection));
    Ok(rows.map_err(damaged)?.with_batch_size(BATCH))
}

/// Returns the part of the schema with the columns of a row.
fn projection(schema: &Type, columns: Columns) -> Result<Type> {
    if !schema.is_group() {
        return Err(damaged("the schema is not a group of columns"));
    }
    let fields = schema.get_fields();
    let has = |name: &str| fields.iter().any(|field| field.name() == name);
    let all_versions = has("version_id");
    let required = [
        ("key", true),
        ("size", columns == Columns::KeyAndSize),
        ("is_latest", all_versions),
        ("is_delete_marker", all_versions),
    ];
    if let Some((name, _)) = required.iter().find(|(name, required)| *required && !has(name)) {
        return Err(missing_column(name));
    }
    let wanted = fields.iter().filter(|field| COLUMNS.contains(&field.name())).map(Arc::clone);
    let group = Type::group_type_builder(schema.name()).with_fields(wanted.collect());
    group.build().map_err(damaged)
}

fn convert(parquet: ParquetRow) -> Row {
    let mut row = Row::default();
    for (name, field) in parquet.into_columns() {
        match name.as_str() {
            "key" => row.key = into_bytes(field).unwrap_or_default(),
            "size" => row.size = into_size(&field),
            "last_modified_date" => row.last_modified = into_time(&field),
            "e_tag" => row.etag = into_bytes(field).and_then(|bytes| String::from_utf8(bytes).ok()),
            "is_latest" => row.is_latest = Some(into_flag(&field)),
            "is_delete_marker" => row.is_delete_marker = Some(into_flag(&field)),
            _ => {}
        }
    }
    row
}

fn into_bytes(field: Field) -> Option<Vec<u8>> {
    match field {
        Field::Str(text) => Some(text.into_bytes()),
        Field::Bytes(bytes) => Some(bytes.data().to_vec()),
        _ => None,
    }
}

fn into_size(field: &Field) -> Option<u64> {
    match *field {
        Field::Long(size) => size.try_into().ok(),
        Field::Int(size) => size.try_into().ok(),
        Field::ULong(size) => Some(size),
        Field::UInt(size) => Some(size.into()),
        _ => None,
    }
}

fn into_time(field: &Field) -> Option<SystemTime> {
    let since = match *field {
        Field::TimestampMillis(time) | Field::Long(time) => {
            Duration::from_millis(time.try_into().ok()?)
        }
        Field::TimestampMicros(time) => Duration::from_micros(time.try_into().ok()?),
        _ => return None,
    };
    UNIX_EPOCH.checked_add(since)
}

fn into_flag(field: &Field) -> Flag {
    Flag::from(match field {
        Field::Bool(value) => Some(*value),
        _ => None,
    })
}
