//! The guarantees of `Uploads`, in the process.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod calls;
mod checksum;
mod client;
mod complete;
mod concat;
mod cors;
mod draft;
mod draft_curl;
mod draft_hostile;
mod faults;
mod form;
mod hostile;
mod limits;
mod memory;
mod plain;
mod property;
mod protocol;
mod s3;
mod sniff;
mod storages;
mod sweep;
mod takeover;

// The S3 server of the tests of storage-s3. It imports the module `requests` from its parent.
#[allow(dead_code, reason = "these tests use a part of it")]
#[path = "../../../storage-s3/tests/common/requests.rs"]
mod requests;
#[allow(dead_code, reason = "these tests use a part of it")]
#[path = "../../../storage-s3/tests/common/server.rs"]
mod server;
// The module `uploads` of that server.
#[path = "../../../storage-s3/tests/common/uploads.rs"]
mod uploads;
