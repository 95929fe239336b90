//! [`Avatar`]: the objects of a user's picture.

use std::fmt;
use std::time::Duration;

use anystorage::attachments::{Guard, Stored};
use anystorage::{Error, Storage, keys};
use bytes::Bytes;
use image::{ImageError, ImageFormat};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinError;

use crate::picture::{Encoded, MAX_UPLOAD, Picture};
use crate::users::{UnknownUser, Users};

/// The sides of the variants, in pixels.
const LARGE: u32 = 512;
const SMALL: u32 = 64;

/// How long a link to a picture works.
const LIFETIME: Duration = Duration::from_secs(900);

/// The avatar of a user, as stored in the column of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Avatar {
    /// The picture that the user uploaded.
    pub original: Stored,
    /// A square of 512 pixels on each side.
    pub large: Stored,
    /// A square of 64 pixels on each side.
    pub small: Stored,
}

/// Why an avatar could not be replaced.
#[derive(Debug)]
pub enum AvatarError {
    /// The upload has more than [`MAX_UPLOAD`](crate::MAX_UPLOAD) bytes.
    TooLarge,
    /// The upload is not a picture in a known format, or too large when it is decoded.
    NotAPicture(ImageError),
    /// There is no such user.
    UnknownUser,
    /// The storage failed.
    Storage(Error),
    /// The task that scales pictures failed.
    Task(JoinError),
}

/// Replaces the avatar of a user: saves the picture and its two variants, writes the row, and then
/// deletes the objects of the old avatar.
///
/// If it fails, or its future is dropped, before the row is written, the user keeps the old avatar
/// and the new objects are deleted. If the future is dropped while the row is written, all objects
/// remain, because the row may refer to the new ones.
///
/// # Errors
/// See [`AvatarError`].
pub async fn replace(
    storage: &Storage,
    users: &Users,
    user: u64,
    upload: Bytes,
) -> Result<Avatar, AvatarError> {
    if upload.len() > MAX_UPLOAD {
        return Err(AvatarError::TooLarge);
    }
    let (format, large, small) = scale(upload.clone()).await?;
    let original = Encoded { bytes: upload, format };
    let (avatar, before) = Guard::scope(storage, async |guard| {
        let avatar = Avatar {
            original: guard.add(save(storage, user, "original", original).await?),
            large: guard.add(save(storage, user, "large", large).await?),
            small: guard.add(save(storage, user, "small", small).await?),
        };
        // The only error of this database is that it has no such user.
        let row = users.set_avatar(user, Some(&avatar));
        let before = guard.write_row(row, |UnknownUser| true).await?;
        Ok::<_, AvatarError>((avatar, before))
    })
    .await?;
    delete(storage, before).await;
    Ok(avatar)
}

/// Removes the avatar of a user.
///
/// # Errors
/// There is no such user.
pub async fn remove(storage: &Storage, users: &Users, user: u64) -> Result<(), AvatarError> {
    let before = users.set_avatar(user, None).await?;
    delete(storage, before).await;
    Ok(())
}

/// Returns signed links to the variants of a user's avatar: `{"large": .., "small": ..}`. `None` if
/// the user has none.
///
/// # Errors
/// There is no such user. `Unsupported` if the storage cannot sign links.
pub async fn links(
    storage: &Storage,
    users: &Users,
    user: u64,
) -> Result<Option<Value>, AvatarError> {
    let Some(Avatar { large, small, .. }) = users.avatar(user).await? else { return Ok(None) };
    let large = storage.url(&large).expires_in(LIFETIME).await?;
    let small = storage.url(&small).expires_in(LIFETIME).await?;
    Ok(Some(json!({ "large": large.as_str(), "small": small.as_str() })))
}

/// Returns the users with an avatar, each with a signed link to the small variant:
/// `[{"user": .., "small": ..}]`.
///
/// # Errors
/// `Unsupported` if the storage cannot sign links.
pub async fn list(storage: &Storage, users: &Users) -> Result<Value, AvatarError> {
    let mut listed = Vec::new();
    for (user, avatar) in users.avatars().await {
        let small = storage.url(&avatar.small).expires_in(LIFETIME).await?;
        listed.push(json!({ "user": user, "small": small.as_str() }));
    }
    Ok(listed.into())
}

/// Scales a picture in a thread for blocking work, because scaling would delay other requests.
async fn scale(upload: Bytes) -> Result<(ImageFormat, Encoded, Encoded), AvatarError> {
    let scaled = tokio::task::spawn_blocking(move || {
        let picture = Picture::decode(&upload)?;
        Ok((picture.format(), picture.square(LARGE)?, picture.square(SMALL)?))
    });
    scaled.await.map_err(AvatarError::Task)?.map_err(AvatarError::NotAPicture)
}

/// Saves a picture under a key that no other upload uses.
async fn save(
    storage: &Storage,
    user: u64,
    name: &str,
    Encoded { bytes, format }: Encoded,
) -> anystorage::Result<Stored> {
    let extension = format.extensions_str().first().copied().unwrap_or("bin");
    let key = keys::unique(&user.to_string(), &format!("{name}.{extension}"))?;
    let saved = storage
        .save(key, bytes)
        .content_type(format.to_mime_type())
        .cache_control("private, max-age=31536000, immutable");
    saved.await.map(Stored::from)
}

/// Deletes the objects of an avatar that no row refers to any more. The request succeeds even if
/// this fails: a sweep deletes the remaining objects (see `docs/attachments.md`).
async fn delete(storage: &Storage, avatar: Option<Avatar>) {
    let Some(Avatar { original, large, small }) = avatar else { return };
    for stored in [original, large, small] {
        if let Err(error) = stored.delete(storage).await {
            tracing::warn!(%error, "an old avatar could not be deleted");
        }
    }
}

impl From<Error> for AvatarError {
    fn from(error: Error) -> Self {
        Self::Storage(error)
    }
}

impl From<UnknownUser> for AvatarError {
    fn from(_: UnknownUser) -> Self {
        Self::UnknownUser
    }
}

impl fmt::Display for AvatarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "a picture may have at most {MAX_UPLOAD} bytes"),
            Self::NotAPicture(_) => f.write_str("the upload is not a JPEG or PNG picture"),
            Self::UnknownUser => UnknownUser.fmt(f),
            Self::Storage(error) => error.fmt(f),
            Self::Task(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AvatarError {}
