//! [`Manifest`]: the file `manifest.json` of an inventory.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use storage_core::{Error, ErrorKind, Key, Result, Storage};

use super::data_file::DataFile;

/// The maximum size of a manifest, in bytes. It has about 200 bytes per data file.
const MAX_MANIFEST_BYTES: u64 = 64 * 1024 * 1024;

/// The format of the data files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Csv,
    #[cfg(feature = "parquet")]
    Parquet,
}

/// What an inventory consists of.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub(super) source_bucket: String,
    pub(super) created: Option<SystemTime>,
    pub(super) format: Format,
    /// For CSV the names of the columns.
    pub(super) schema: String,
    pub(super) files: Vec<DataFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestJson {
    source_bucket: String,
    /// Milliseconds since 1970, as text.
    #[serde(default)]
    creation_timestamp: Option<serde_json::Value>,
    file_format: String,
    file_schema: String,
    files: Vec<FileJson>,
}

#[derive(Deserialize)]
struct FileJson {
    key: String,
    size: u64,
    #[serde(rename = "MD5checksum")]
    md5: String,
}

impl Manifest {
    /// Reads and checks a manifest.
    pub(super) async fn read(storage: &Storage, key: Key) -> Result<Self> {
        let object = storage.open(&key).await?;
        let bytes = object.bytes_up_to(MAX_MANIFEST_BYTES).await?;
        let json: ManifestJson = serde_json::from_slice(&bytes).map_err(|error| {
            let message = format!(
                "this is not the manifest.json of an S3 Inventory: {error}; set the key of a \
                 manifest, such as inventory/bucket/daily/2026-11-06T01-00Z/manifest.json"
            );
            Error::new(ErrorKind::InvalidInput, message).with_key(key.as_str())
        })?;
        Self::from_json(json).map_err(|error| error.with_key(key.as_str()))
    }

    fn from_json(json: ManifestJson) -> Result<Self> {
        let format = parse_format(&json.file_format)?;
        let files = json.files.into_iter().map(|file| {
            let invalid = |error: Error| {
                let message = format!("the key of a data file is invalid: {}", error.message());
                Error::new(ErrorKind::InvalidInput, message)
            };
            let key = Key::new(file.key).map_err(invalid)?;
            Ok(DataFile { key, size: file.size, md5: file.md5 })
        });
        Ok(Self {
            source_bucket: json.source_bucket,
            created: json.creation_timestamp.as_ref().and_then(parse_milliseconds),
            format,
            schema: json.file_schema,
            files: files.collect::<Result<_>>()?,
        })
    }
}

fn parse_format(name: &str) -> Result<Format> {
    let reason = match name.to_ascii_lowercase().as_str() {
        "csv" => return Ok(Format::Csv),
        #[cfg(feature = "parquet")]
        "parquet" => return Ok(Format::Parquet),
        #[cfg(not(feature = "parquet"))]
        "parquet" => "needs the feature `parquet` of this program: enable it, or configure CSV",
        "orc" => "is not supported: configure the inventory to write CSV or Parquet",
        _ => "is not known: configure the inventory to write CSV or Parquet",
    };
    Err(Error::unsupported(format!("the format {name:?} of the inventory {reason}")))
}

fn parse_milliseconds(value: &serde_json::Value) -> Option<SystemTime> {
    let milliseconds = match value {
        serde_json::Value::String(text) => text.parse().ok()?,
        other => other.as_u64()?,
    };
    UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds))
}
