//! Tar archives, by `astral-tokio-tar`.

use anystorage::{Entry, ObjectMeta, Storage};
use tokio_tar::{Builder, EntryType, Header};

use crate::Result;

/// Writes all objects below a prefix into one archive. It must not be below the prefix itself.
pub async fn pack(storage: &Storage, prefix: &str, archive: &str) -> Result<ObjectMeta> {
    let writer = storage.writer(archive).content_type("application/x-tar").await?;
    // The drop of a builder from `Builder::new` would end the archive, as if it were complete.
    let mut tar = Builder::new_non_terminated(writer);
    let mut entries = storage.list(prefix).entries();
    while let Some(entry) = entries.next().await {
        let Entry::Object(object) = entry? else { continue };
        // The size is that of the opened version, because the listed one may have been replaced.
        let object = storage.open(&object.key).await?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(object.content_length());
        let name = object.meta().key.to_string();
        tar.append_data(&mut header, name, object.into_reader()).await?;
    }
    let writer = tar.into_inner().await?;
    Ok(writer.finish().await?)
}
