//! [`Record`]: the requests that the proxy received.

use std::collections::BTreeMap;
use std::time::Instant;

use http::{HeaderMap, Method};

use super::wire::{CannedResponse, RecordedRequest};
use crate::common::requests::Requests;

/// The requests that the proxy received, in order.
#[derive(Debug, Default)]
pub(crate) struct Record {
    requests: Vec<RequestEntry>,
    /// The uploads that the server created, by their ids.
    uploads: BTreeMap<String, Upload>,
}

/// A request in the record.
#[derive(Debug)]
pub(crate) struct RequestEntry {
    pub(crate) operation: &'static str,
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) at: Instant,
    pub(crate) progress: Progress,
}

/// The progress of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The proxy received its head.
    Arrived,
    /// The proxy received it completely, and waits for the test or forever.
    Held,
    /// The server handled it.
    Handled,
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
    pub(crate) fn of<'a>(&'a self, operation: &'a str) -> impl Iterator<Item = &'a RequestEntry> {
        self.requests
            .iter()
            .filter(move |request| operation == "*" || request.operation == operation)
    }

    /// Returns the number of requests of an operation.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.of(operation).count()
    }

    /// Returns the number of requests of an operation with this progress.
    pub(crate) fn count_at(&self, operation: &str, progress: Progress) -> usize {
        self.of(operation).filter(|request| request.progress == progress).count()
    }

    /// Returns the number of requests by method.
    pub(crate) fn by_method(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for request in &self.requests {
            *counts.entry(request.method.to_string()).or_default() += 1;
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

    /// Adds a request and returns its index.
    pub(super) fn add(&mut self, operation: &'static str, request: &RecordedRequest) -> usize {
        self.requests.push(RequestEntry {
            operation,
            method: request.method().clone(),
            target: request.uri().to_string(),
            headers: request.headers().clone(),
            at: Instant::now(),
            progress: Progress::Arrived,
        });
        self.requests.len() - 1
    }

    pub(super) fn set_progress(&mut self, index: usize, progress: Progress) {
        self.requests[index].progress = progress;
    }

    /// Returns whether a request concerns an upload that has ended.
    pub(super) fn is_for_ended_upload(&self, request: &RecordedRequest) -> bool {
        upload_id(request)
            .and_then(|id| self.uploads.get(id))
            .is_some_and(|upload| *upload != Upload::Open)
    }

    /// Records the effect of a server's response on uploads.
    pub(super) fn record_response(
        &mut self,
        index: usize,
        operation: &str,
        request: &RecordedRequest,
        response: &CannedResponse,
    ) {
        self.set_progress(index, Progress::Handled);
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
