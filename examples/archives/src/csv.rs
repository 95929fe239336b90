//! CSV files, by `csv-async`.

use anystorage::{Entry, ObjectMeta, Storage};
use csv_async::{AsyncReader, AsyncWriter};
use futures_util::StreamExt;

use crate::Result;

/// Writes the key and the size of each object below a prefix into a table.
pub async fn inventory(storage: &Storage, prefix: &str, table: &str) -> Result<ObjectMeta> {
    let writer = storage.writer(table).content_type("text/csv").await?;
    let mut csv = AsyncWriter::from_writer(writer);
    csv.write_record(["key", "size"]).await?;
    let mut entries = storage.list(prefix).entries();
    while let Some(entry) = entries.next().await {
        if let Entry::Object(object) = entry? {
            csv.write_record([object.key.as_str(), &object.size.to_string()]).await?;
        }
    }
    let writer = csv.into_inner().await.map_err(|error| error.to_string())?;
    Ok(writer.finish().await?)
}

/// Returns the sum of the column `size`.
pub async fn total_size(storage: &Storage, table: &str) -> Result<u64> {
    let mut csv = AsyncReader::from_reader(storage.open(table).await?.into_reader());
    let mut records = csv.records();
    let mut total = 0;
    while let Some(record) = records.next().await {
        total += record?.get(1).ok_or("a record has no size")?.parse::<u64>()?;
    }
    Ok(total)
}
