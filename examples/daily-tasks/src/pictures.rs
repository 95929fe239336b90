//! Pictures of users: variants, and rows that refer to them.

use std::io::Cursor;
use std::sync::{Mutex, PoisonError};

use anystorage::attachments::{Guard, Stored};
use anystorage::{ObjectMeta, Storage, keys};
use bytes::Bytes;
use image::ImageFormat;
use image::imageops::FilterType;
use serde::{Deserialize, Serialize};

/// Any error of a handler.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Saves a square of 64 pixels on each side next to the photo of a user.
pub async fn save_small(storage: &Storage, user: u64, photo: &[u8]) -> Result<ObjectMeta> {
    let photo = image::load_from_memory(photo)?.resize_to_fill(64, 64, FilterType::Triangle);
    let mut small = Cursor::new(Vec::new());
    photo.into_rgb8().write_to(&mut small, ImageFormat::Jpeg)?;
    Ok(storage.save(format!("photos/{user}-small.jpg"), small.into_inner()).await?)
}

/// A row of the database.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct User {
    /// The name of the user.
    pub name: String,
    /// The photo of the user, if there is one.
    pub photo: Option<Stored>,
}

/// Saves a photo and the row that refers to it. If one fails, neither remains.
pub async fn add_photo(storage: &Storage, database: &Database, photo: Bytes) -> Result<()> {
    let mut guard = Guard::new(storage);
    let photo = guard.add(storage.save(keys::unique("photos", "photo.jpg")?, photo).await?);
    database.update(|user| user.photo = Some(photo)).await?;
    guard.commit();
    Ok(())
}

/// A stand-in for a database with one row, which is read-only from the start or never.
#[derive(Debug, Default)]
pub struct Database {
    row: Mutex<User>,
    is_read_only: bool,
}

impl Database {
    /// Creates a database whose writes fail.
    pub fn read_only() -> Self {
        Self { is_read_only: true, ..Self::default() }
    }

    /// Returns the photo of the row.
    pub fn photo(&self) -> Option<Stored> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner).photo.clone()
    }

    async fn update(&self, change: impl FnOnce(&mut User)) -> Result<()> {
        if self.is_read_only {
            return Err("the database is read-only".into());
        }
        change(&mut self.row.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}
