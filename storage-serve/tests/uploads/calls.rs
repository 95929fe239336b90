//! How many calls of the storage a request makes: the table in `docs/uploads.md`.

use storage_core::{Operation, Storage};
use storage_serve::uploads::Uploads;
use storage_testkit::faults::Faults;

use crate::client::{begin, head, patch, service};

/// The operations that the table counts.
const OPERATIONS: [Operation; 8] = [
    Operation::Open,
    Operation::Save,
    Operation::Delete,
    Operation::BeginMultipart,
    Operation::PutPart,
    Operation::CompleteMultipart,
    Operation::Stat,
    Operation::Rename,
];

struct Counted {
    faults: Faults,
    storage: Storage,
    uploads: Uploads,
}

impl Counted {
    fn new() -> Self {
        let faults = Faults::new();
        let storage = faults.in_memory();
        let uploads = service(&storage);
        Self { faults, storage, uploads }
    }

    fn calls(&self) -> usize {
        OPERATIONS.iter().map(|operation| self.faults.calls(*operation)).sum()
    }

    /// Sends a PATCH, and returns the number of calls that it makes.
    async fn patch(&self, url: &str, offset: usize, body: &[u8]) -> usize {
        let before = self.calls();
        let reply = patch(&self.uploads, url, offset, body).await;
        assert_eq!(reply.header("upload-offset"), (offset + body.len()).to_string());
        self.calls() - before
    }
}

#[tokio::test]
async fn a_creation_makes_two_calls() {
    let counted = Counted::new();
    begin(&counted.uploads, 100).await;
    assert_eq!(counted.calls(), 2);
}

#[tokio::test]
async fn a_head_makes_one_call() {
    let counted = Counted::new();
    let url = begin(&counted.uploads, 100).await;
    let before = counted.calls();
    head(&counted.uploads, &url).await;
    assert_eq!(counted.calls() - before, 1);
}

#[tokio::test]
async fn a_patch_of_n_parts_makes_two_calls_more_than_parts() {
    let counted = Counted::new();
    let url = begin(&counted.uploads, 100).await;
    assert_eq!(counted.patch(&url, 0, &[0; 8]).await, 1 + 2);
    assert_eq!(counted.patch(&url, 8, &[0; 40]).await, 5 + 2);
}

#[tokio::test]
async fn a_rest_costs_one_call_and_later_one_to_read_it_and_one_to_delete_it() {
    let counted = Counted::new();
    let url = begin(&counted.uploads, 100).await;
    assert_eq!(counted.patch(&url, 0, &[0; 12]).await, 1 + 2 + 1);
    assert_eq!(counted.patch(&url, 12, &[0; 4]).await, 1 + 2 + 2);
}

#[tokio::test]
async fn the_end_of_an_upload_makes_two_calls_more() {
    let counted = Counted::new();
    let url = begin(&counted.uploads, 16).await;
    assert_eq!(counted.patch(&url, 0, &[0; 16]).await, 2 + 2 + 2);
    assert!(counted.storage.exists("file").await.unwrap());
}
