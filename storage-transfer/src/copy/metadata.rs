//! [`LostMetadata`]: what happens with metadata that the destination cannot keep.

use storage_core::{Error, ErrorKind, Metadata, Result, Storage};

/// What a copy does with metadata that its destination cannot keep: a field that no header may
/// contain, which another program stored, or any field but the content type on a destination that
/// stores no metadata.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostMetadata {
    /// The copy fails with `InvalidInput` or `Unsupported`, and nothing is copied.
    #[default]
    Fail,
    /// The copy lacks these fields. [`Copied::dropped`](crate::Copied::dropped) contains them.
    DropAndReport,
}

impl LostMetadata {
    /// Returns the part of the metadata that the target keeps, and an error for each other field.
    ///
    /// # Errors
    /// The first of these errors, with [`LostMetadata::Fail`].
    pub(super) fn fit(
        self,
        metadata: Metadata,
        target: &Storage,
    ) -> Result<(Metadata, Vec<Error>)> {
        let (mut kept, mut dropped) = metadata.valid_part();
        if !target.info().capabilities.metadata {
            kept = content_type_only(&kept, &mut dropped);
        }
        match (self, dropped.is_empty()) {
            (Self::Fail, false) => Err(dropped.swap_remove(0)),
            _ => Ok((kept, dropped)),
        }
    }
}

/// Returns the content type alone, and adds an error for each other field.
fn content_type_only(metadata: &Metadata, dropped: &mut Vec<Error>) -> Metadata {
    let fields = [
        ("content_encoding", metadata.content_encoding.is_some()),
        ("content_disposition", metadata.content_disposition.is_some()),
        ("content_language", metadata.content_language.is_some()),
        ("cache_control", metadata.cache_control.is_some()),
        ("expires", metadata.expires.is_some()),
        ("user_metadata", !metadata.user_metadata.is_empty()),
    ];
    for (field, _) in fields.into_iter().filter(|(_, is_set)| *is_set) {
        let message = format!("{field}: the destination stores no metadata but the content type");
        dropped.push(Error::new(ErrorKind::Unsupported, message));
    }
    let mut kept = Metadata::new();
    kept.content_type.clone_from(&metadata.content_type);
    kept
}
