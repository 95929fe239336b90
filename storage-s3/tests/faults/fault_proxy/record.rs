//! [`Record`]: what came by.

use std::collections::BTreeMap;
use std::time::Instant;

use http::{HeaderMap, Method};

use super::wire::{CannedResponse, RecordedRequest};
use crate::common::requests::Requests;

/// What came by, in the order in which it came.
#[derive(Debug, Default)]
pub(crate) struct Record {
    seen: Vec<Seen>,
    /// Uploads that the server has created, by their ids.
    uploads: BTreeMap<String, Upload>,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) operation: &'static str,
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) at: Instant,
    pub(crate) state: Reached,
}

/// How far a request got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// Its head has come.
    Come,
    /// All of it has come, and nothing is done until the test says so, or ever.
    Held,
    /// The server has done as it was request, or refused.
    Done,
    /// An response was sent, all of it.
    Answered,
    /// The driver went away before its response, or before the end of it.
    Abandoned,
}

/// What became of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upload {
    Open,
    Complete,
    Aborted,
}

impl Record {
    /// The requests for an operation; `"*"` for any.
    pub(crate) fn of<'a>(&'a self, operation: &'a str) -> impl Iterator<Item = &'a Seen> {
        self.seen.iter().filter(move |seen| operation == "*" || seen.operation == operation)
    }

    /// How many requests for an operation have come.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.of(operation).count()
    }

    /// How many requests for an operation have got so far, and no further.
    pub(crate) fn count_at(&self, operation: &str, state: Reached) -> usize {
        self.of(operation).filter(|seen| seen.state == state).count()
    }

    /// How many requests have come, by method.
    pub(crate) fn by_method(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for seen in &self.seen {
            *counts.entry(seen.method.to_string()).or_default() += 1;
        }
        counts
    }

    /// Uploads that are neither complete nor aborted.
    pub(crate) fn open_uploads(&self) -> Vec<&str> {
        self.uploads_at(Upload::Open)
    }

    /// Uploads that were aborted.
    pub(crate) fn aborted_uploads(&self) -> Vec<&str> {
        self.uploads_at(Upload::Aborted)
    }

    fn uploads_at(&self, state: Upload) -> Vec<&str> {
        self.uploads
            .iter()
            .filter(|(_, upload)| **upload == state)
            .map(|(id, _)| id.as_str())
            .collect()
    }

    /// Writes a request down; responses its place.
    pub(super) fn come(&mut self, operation: &'static str, request: &RecordedRequest) -> usize {
        self.seen.push(Seen {
            operation,
            method: request.method().clone(),
            target: request.uri().to_string(),
            headers: request.headers().clone(),
            at: Instant::now(),
            state: Reached::Come,
        });
        self.seen.len() - 1
    }

    pub(super) fn reach(&mut self, place: usize, state: Reached) {
        self.seen[place].state = state;
    }

    /// Whether a request is about an upload that is over.
    pub(super) fn is_about_what_is_over(&self, request: &RecordedRequest) -> bool {
        upload_id(request)
            .and_then(|id| self.uploads.get(id))
            .is_some_and(|upload| *upload != Upload::Open)
    }

    /// Notes what a server's response says about uploads.
    pub(super) fn done(
        &mut self,
        place: usize,
        operation: &str,
        request: &RecordedRequest,
        response: &CannedResponse,
    ) {
        self.reach(place, Reached::Done);
        if !(200..300).contains(&response.status) {
            return;
        }
        let body = String::from_utf8_lossy(&response.body);
        let state = match operation {
            "CreateMultipartUpload" => {
                if let Some((_, rest)) = body.split_once("<UploadId>") {
                    let id = rest.split('<').next().unwrap_or_default();
                    self.uploads.insert(id.to_owned(), Upload::Open);
                }
                return;
            }
            "CompleteMultipartUpload" if !body.contains("<Error>") => Upload::Complete,
            "AbortMultipartUpload" => Upload::Aborted,
            _ => return,
        };
        if let Some(id) = upload_id(request) {
            self.uploads.insert(id.to_owned(), state);
        }
    }
}

/// As the server gave it, with what is escaped in a query left so: ids of the servers that are used
/// have nothing to escape but `~`, which is not.
fn upload_id(request: &RecordedRequest) -> Option<&str> {
    request.uri().query()?.split('&').find_map(|pair| pair.strip_prefix("uploadId="))
}

/// The operation's name in the API reference of S3.
pub(super) fn operation_of(request: &RecordedRequest) -> &'static str {
    let counted = Requests::default();
    counted.count(request);
    counted.take().into_keys().next().unwrap()
}
