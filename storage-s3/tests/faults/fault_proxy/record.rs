//! [`Record`]: the requests that arrived.

use std::collections::BTreeMap;
use std::time::Instant;

use http::{HeaderMap, Method};

use super::wire::{CannedResponse, RecordedRequest};
use crate::common::requests::Requests;

/// The requests that arrived, in order.
#[derive(Debug, Default)]
pub(crate) struct Record {
    seen: Vec<Seen>,
    /// The uploads that the server created, by their ids.
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

/// The progress of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// Its head arrived.
    Come,
    /// It arrived completely and waits for the test, or forever.
    Held,
    /// The server handled it.
    Done,
    /// The response was sent completely.
    Responded,
    /// The driver disconnected before the end of the response.
    Abandoned,
}

/// The state of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upload {
    Open,
    Complete,
    Aborted,
}

impl Record {
    /// Returns the requests of an operation, or all for `"*"`.
    pub(crate) fn of<'a>(&'a self, operation: &'a str) -> impl Iterator<Item = &'a Seen> {
        self.seen.iter().filter(move |seen| operation == "*" || seen.operation == operation)
    }

    /// Returns how many requests of an operation arrived.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.of(operation).count()
    }

    /// Returns how many requests of an operation are at this point.
    pub(crate) fn count_at(&self, operation: &str, state: Reached) -> usize {
        self.of(operation).filter(|seen| seen.state == state).count()
    }

    /// Returns how many requests arrived, by method.
    pub(crate) fn by_method(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for seen in &self.seen {
            *counts.entry(seen.method.to_string()).or_default() += 1;
        }
        counts
    }

    /// Returns the uploads that are neither completed nor aborted.
    pub(crate) fn open_uploads(&self) -> Vec<&str> {
        self.uploads_at(Upload::Open)
    }

    /// Returns the uploads that were aborted.
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

    /// Records a request and returns its index.
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

    /// Whether a request is about an upload that has ended.
    pub(super) fn is_for_ended_upload(&self, request: &RecordedRequest) -> bool {
        upload_id(request)
            .and_then(|id| self.uploads.get(id))
            .is_some_and(|upload| *upload != Upload::Open)
    }

    /// Records the effect of a server's response on uploads.
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

/// Returns the id as the query contains it. The ids of the tested servers need no escaping.
fn upload_id(request: &RecordedRequest) -> Option<&str> {
    request.uri().query()?.split('&').find_map(|pair| pair.strip_prefix("uploadId="))
}

/// Returns the operation's name in the API reference of S3.
pub(super) fn operation_of(request: &RecordedRequest) -> &'static str {
    let counted = Requests::default();
    counted.count(request);
    counted.take().into_keys().next().unwrap()
}
