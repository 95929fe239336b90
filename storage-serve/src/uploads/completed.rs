//! [`CompletedUpload`]: what the application's function for complete uploads receives.

use std::collections::BTreeMap;

use storage_core::{Key, ObjectMeta, Storage};

/// An upload whose bytes are all stored and verified, and which is not visible yet.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CompletedUpload {
    /// The id of the upload. A repeated call for the same upload has the same id.
    pub id: String,
    /// The object under its temporary key, with its size and ETag. Its type is what the bytes are,
    /// if the grant has [`sniff`](super::Grant::sniff).
    pub object: ObjectMeta,
    /// The key under which the object becomes visible.
    pub key: Key,
    /// What the client sent as metadata, such as `filename`.
    pub metadata: BTreeMap<String, String>,
    /// The storage that contains the object.
    pub storage: Storage,
}
