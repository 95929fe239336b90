//! Parquet files, by `parquet`.

use std::sync::Arc;

use anystorage::{Entry, ObjectMeta, Storage};
use arrow_array::{Array, RecordBatch, StringArray, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use futures_util::TryStreamExt;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::async_writer::AsyncArrowWriter;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};

use crate::Result;

/// The number of rows that are collected before they are written.
const ROWS: usize = 10_000;

/// Writes the key and the size of each object below a prefix into a table.
pub async fn inventory(storage: &Storage, prefix: &str, table: &str) -> Result<ObjectMeta> {
    let key = Field::new("key", DataType::Utf8, false);
    let size = Field::new("size", DataType::UInt64, false);
    let schema = Arc::new(Schema::new(vec![key, size]));
    let mut writer = storage.writer(table).await?;
    let mut parquet = AsyncArrowWriter::try_new(&mut writer, Arc::clone(&schema), None)?;
    let (mut keys, mut sizes) = (Vec::new(), Vec::new());
    let mut entries = storage.list(prefix).entries();
    while let Some(entry) = entries.next().await {
        let Entry::Object(object) = entry? else { continue };
        keys.push(object.key.to_string());
        sizes.push(object.size);
        if keys.len() == ROWS {
            parquet.write(&batch(&schema, &mut keys, &mut sizes)?).await?;
        }
    }
    parquet.write(&batch(&schema, &mut keys, &mut sizes)?).await?;
    // Writes the index and calls `shutdown`, which saves nothing.
    parquet.close().await?;
    Ok(writer.finish().await?)
}

fn batch(
    schema: &Arc<Schema>,
    keys: &mut Vec<String>,
    sizes: &mut Vec<u64>,
) -> Result<RecordBatch> {
    let keys = StringArray::from(std::mem::take(keys));
    let sizes = UInt64Array::from(std::mem::take(sizes));
    Ok(RecordBatch::try_new(Arc::clone(schema), vec![Arc::new(keys), Arc::new(sizes)])?)
}

/// Returns the sum of the column `size`. Reads only the index at the end and this column.
pub async fn total_size(storage: &Storage, table: &str) -> Result<u64> {
    let mut reader = storage.reader(table).await?;
    let metadata = ArrowReaderMetadata::load_async(&mut reader, Default::default()).await?;
    let sizes = ProjectionMask::columns(metadata.parquet_schema(), ["size"]);
    let batches = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata)
        .with_projection(sizes)
        .build()?;
    let totals = batches.map_err(crate::Error::from).and_then(|batch| async move {
        let sizes = batch.column(0).as_any().downcast_ref::<UInt64Array>();
        Ok(sizes.ok_or("the column `size` has another type")?.values().iter().sum::<u64>())
    });
    totals.try_fold(0, |total, more| async move { Ok(total + more) }).await
}
