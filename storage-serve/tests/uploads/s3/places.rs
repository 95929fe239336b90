//! The storages on which the tests run.

use storage_core::{Memory, Storage};
use storage_serve::uploads::{Grant, UploadRequest, Uploads};
use tempfile::TempDir;

use crate::client::signing_key;
use crate::server::{Bucket, Server};

/// A storage, and what it lives in.
pub(super) struct Place {
    pub(super) storage: Storage,
    /// A part size that it accepts.
    pub(super) part_size: usize,
    /// Whether clients send parts straight to it.
    pub(super) is_direct: bool,
    _directory: Option<TempDir>,
    _bucket: Option<Bucket>,
}

pub(super) fn memory() -> Place {
    let storage = Memory::storage();
    Place { storage, part_size: 8, is_direct: false, _directory: None, _bucket: None }
}

fn disk() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::new(storage_fs::Fs::builder(directory.path()).build().unwrap());
    Place { storage, part_size: 8, is_direct: false, _directory: Some(directory), _bucket: None }
}

/// A bucket of an S3 server in this process.
pub(super) fn s3() -> Place {
    let bucket = Server::get().bucket();
    let (storage, part_size) = (bucket.storage(), 5 << 20);
    Place { storage, part_size, is_direct: true, _directory: None, _bucket: Some(bucket) }
}

pub(super) fn all() -> Vec<Place> {
    vec![memory(), disk(), s3()]
}

impl Place {
    /// Returns a service that allows every upload to the key `file`.
    pub(super) fn uploads(&self) -> Uploads {
        self.granting(Grant::new("file").unwrap())
    }

    pub(super) fn granting(&self, grant: Grant) -> Uploads {
        let authorize = move |_, _: UploadRequest| {
            let grant = grant.clone();
            async move { Ok(grant) }
        };
        let uploads = Uploads::new(self.storage.clone(), signing_key(), authorize).unwrap();
        uploads.client_part_size(self.part_size as u64)
    }

    /// Returns the bytes of two parts, of which the second is shorter.
    pub(super) fn two_parts(&self) -> (Vec<u8>, Vec<u8>) {
        let first = (0..self.part_size).map(|index| (index % 251) as u8).collect();
        (first, b"end".to_vec())
    }
}
