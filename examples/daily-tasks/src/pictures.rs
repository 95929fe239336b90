//! Pictures of users: variants, and rows that refer to them.

use std::fmt;
use std::io::Cursor;
use std::sync::{Mutex, PoisonError};

use anystorage::attachments::{Guard, Stored};
use anystorage::{ObjectMeta, Storage, keys};
use bytes::Bytes;
use image::ImageFormat;
use serde::{Deserialize, Serialize};

/// Any error of a handler.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Saves a picture of at most 64 pixels on each side next to the photo of a user.
pub async fn save_small(storage: &Storage, user: u64, photo: &[u8]) -> Result<ObjectMeta> {
    let photo = image::load_from_memory(photo)?.thumbnail(64, 64);
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

/// Saves a photo and the row that refers to it. If the database refuses the row, neither remains.
pub async fn add_photo(storage: &Storage, database: &Database, photo: Bytes) -> Result<()> {
    let mut guard = Guard::new(storage);
    let photo = guard.add(storage.save(keys::unique("photos", "photo.jpg")?, photo).await?);
    let row = database.update(|user| user.photo = Some(photo));
    guard.write_row(row, DatabaseError::is_refused).await?;
    Ok(())
}

/// Why a row was not written, or may not have been.
#[derive(Debug)]
pub enum DatabaseError {
    /// The database did not write the row.
    Refused,
    /// The connection broke, so the row may exist.
    Disconnected,
}

impl DatabaseError {
    /// Returns whether the row was certainly not written.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused)
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "the database is read-only",
            Self::Disconnected => "the connection to the database is closed",
        })
    }
}

impl std::error::Error for DatabaseError {}

/// A stand-in for a database with one row, which is read-only or disconnected from the start or
/// never.
#[derive(Debug, Default)]
pub struct Database {
    row: Mutex<User>,
    fails_with: Option<fn() -> DatabaseError>,
}

impl Database {
    /// Creates a database that refuses all writes.
    pub fn read_only() -> Self {
        Self { fails_with: Some(|| DatabaseError::Refused), ..Self::default() }
    }

    /// Creates a database that writes, but whose connection breaks before it confirms that.
    pub fn disconnecting() -> Self {
        Self { fails_with: Some(|| DatabaseError::Disconnected), ..Self::default() }
    }

    /// Returns the photo of the row.
    pub fn photo(&self) -> Option<Stored> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner).photo.clone()
    }

    async fn update(&self, change: impl FnOnce(&mut User)) -> Result<(), DatabaseError> {
        let error = self.fails_with.map(|error| error());
        if !error.as_ref().is_some_and(DatabaseError::is_refused) {
            change(&mut self.row.lock().unwrap_or_else(PoisonError::into_inner));
        }
        error.map_or(Ok(()), Err)
    }
}
