//! Tests of the built command, run as a user runs it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers are test code")]

mod changing;
mod checking;
mod configuration;
mod copying;
mod documentation;
mod drivers;
mod errors;
mod fake;
mod interrupting;
mod inventory;
mod jobs;
mod jobs_s3;
mod links;
mod listing;
mod locations;
mod metadata;
mod mirror;
mod moving;
mod operators;
mod patterns;
mod pipes;
mod publish;
mod publish_config;
mod publish_s3;
mod reading;
mod recursion;
mod s3;
mod serving;
mod support;
mod syncing;
mod terminal;
mod tus;
mod unfinished;
mod usage;
mod verbosity;
mod verifying;
mod website;
mod writing;

// The S3 server of the tests of storage-s3. It imports the module `requests` from its parent.
#[allow(dead_code, reason = "these tests use a part of it")]
#[path = "../../../storage-s3/tests/common/requests.rs"]
mod requests;
#[allow(dead_code, reason = "these tests use a part of it")]
#[path = "../../../storage-s3/tests/common/server.rs"]
mod server;
#[path = "../../../storage-s3/tests/common/uploads.rs"]
mod uploads;
