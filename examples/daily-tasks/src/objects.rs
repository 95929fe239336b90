//! Opening a storage; saving, listing, deleting and reading objects.

use std::io::Write;

use anystorage::{ByteRange, ObjectMeta, Reader, Result, Storage};
use bytes::Bytes;

/// Opens the storage of this machine.
pub fn open(url: &str) -> Result<Storage> {
    anystorage::open(url)
}

/// Saves an invoice, unless there is one with this number.
pub async fn add_invoice(storage: &Storage, number: u64, pdf: Bytes) -> Result<ObjectMeta> {
    storage.save(format!("invoices/{number}.pdf"), pdf).create_new().await
}

/// Writes key and size of each photo.
pub async fn list_photos(storage: &Storage, out: &mut impl Write) -> Result<()> {
    for photo in storage.list("photos/").objects().await? {
        writeln!(out, "{} {}", photo.key, photo.size)?;
    }
    Ok(())
}

/// Writes key and size of each of any number of photos.
pub async fn list_many(storage: &Storage, out: &mut impl Write) -> Result<()> {
    let mut entries = storage.list("photos/").entries();
    while let Some(photo) = entries.next_object().await? {
        writeln!(out, "{} {}", photo.key, photo.size)?;
    }
    Ok(())
}

/// Deletes all objects of a user, and returns how many they were.
pub async fn delete_user(storage: &Storage, user: u64) -> Result<u64> {
    storage.delete_prefix(format!("users/{user}/")).await
}

/// Opens a song for a library that needs `AsyncRead` and `AsyncSeek`.
pub async fn song(storage: &Storage, key: &str) -> Result<Reader> {
    storage.reader(key).await
}

/// Reads the tag of a song: its last 128 bytes.
pub async fn song_tag(storage: &Storage, key: &str) -> Result<Bytes> {
    storage.open(key).range(ByteRange::last(128)).await?.bytes().await
}
