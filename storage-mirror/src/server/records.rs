//! [`Records`]: passes the record of each request to the counters, the analytics and the access log.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_RANGE, USER_AGENT};
use http::request::Parts;
use http::{Method, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use storage_core::{Error, Key, Result};
use storage_serve::ResponseBody;

use super::access_log::{AccessLog, Line};
use super::analytics::Analytics;
use super::config::MirrorConfig;
use super::metrics::RequestCounters;
use super::record::{OK, Outcome, PARTIAL_CONTENT, Record};
use crate::engine::Counter;

/// The logged status of a request whose client disconnected before the response, as in nginx.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The destinations of records. A reload of the configuration keeps them.
pub(crate) struct Records {
    /// `None` if `analytics_days` is 0.
    pub(crate) analytics: Option<Arc<Analytics>>,
    pub(super) requests: RequestCounters,
    pub(crate) started: Instant,
    clients: RandomState,
    responses: [Counter; Outcome::ALL.len()],
    sent: [Counter; Outcome::ALL.len()],
    log: RwLock<Option<AccessLog>>,
    /// Whether a log is open. Requests lock `log` only then.
    is_logging: AtomicBool,
    lost: Arc<Counter>,
}

impl Records {
    /// Opens the access log and the analytics. Blocks on the disk.
    ///
    /// # Errors
    /// Fails with `InvalidConfig` if the access log cannot be opened, and with the error of the
    /// file system if the analytics cannot be read.
    pub(crate) fn open(config: &MirrorConfig) -> Result<Arc<Self>> {
        let records = Self {
            analytics: match config.analytics_days {
                0 => None,
                days => {
                    let opened = Analytics::open(&config.cache_dir, days, SystemTime::now())?;
                    Some(Arc::new(opened))
                }
            },
            requests: RequestCounters::default(),
            started: Instant::now(),
            clients: RandomState::new(),
            responses: Default::default(),
            sent: Default::default(),
            log: RwLock::default(),
            is_logging: AtomicBool::new(false),
            lost: Arc::default(),
        };
        records.open_log(config.access_log.as_deref())?;
        Ok(Arc::new(records))
    }

    /// Replaces the access log, or reopens it after its file was moved away. Requests that are
    /// still running are logged in the new one.
    ///
    /// # Errors
    /// Fails with `InvalidConfig` if it cannot be opened. Then the old one stays.
    pub(crate) fn open_log(&self, path: Option<&Path>) -> Result<()> {
        let opened = path.map(|path| AccessLog::open(path, Arc::clone(&self.lost))).transpose();
        let log = opened.map_err(|error| {
            let shown = path.unwrap_or(Path::new("")).display();
            Error::config(format!("access_log: {shown} cannot be opened: {error}"))
                .with_source(error)
        })?;
        self.is_logging.store(log.is_some(), Ordering::Relaxed);
        let old =
            std::mem::replace(&mut *self.log.write().unwrap_or_else(PoisonError::into_inner), log);
        // Its thread writes the remaining lines and ends.
        drop(old);
        Ok(())
    }

    /// Closes the access log. Waits up to 2 seconds for the remaining lines to be written.
    pub(crate) fn close_log(&self) {
        self.is_logging.store(false, Ordering::Relaxed);
        let log = self.log.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(log) = log {
            log.close();
        }
    }

    /// Begins the record of a request.
    pub(crate) fn begin(self: &Arc<Self>, address: IpAddr, head: &Parts) -> PendingRecord {
        let agent = head.headers.get(USER_AGENT).map(http::HeaderValue::as_bytes);
        let is_logged = self.is_logging.load(Ordering::Relaxed);
        let record = Record {
            object: None,
            client: self.clients.hash_one((address, agent)),
            status: CLIENT_CLOSED_REQUEST,
            bytes: 0,
            is_complete: false,
            is_from_start: false,
            is_get: head.method == Method::GET,
        };
        let line = is_logged.then(|| Box::new(Line::new(address, head)));
        PendingRecord { record, line, records: Arc::clone(self) }
    }

    fn end(&self, record: &Record, line: Option<Box<Line>>) {
        if let Some((_, outcome)) = &record.object {
            self.responses[*outcome as usize].add(1);
            self.sent[*outcome as usize].add(record.bytes);
        }
        if let Some(analytics) = &self.analytics {
            analytics.count(record);
        }
        if let Some(line) = line
            && let Some(log) = &*self.log.read().unwrap_or_else(PoisonError::into_inner)
        {
            log.write(line, record);
        }
    }

    /// Returns the number of requests for objects with an outcome, and the bytes sent for them.
    pub(crate) fn totals(&self, outcome: Outcome) -> (u64, u64) {
        (self.responses[outcome as usize].get(), self.sent[outcome as usize].get())
    }

    /// Returns the number of requests that are missing in the access log.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.get()
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").finish_non_exhaustive()
    }
}

/// The record of a running request. Dropping it passes the record on.
pub(crate) struct PendingRecord {
    record: Record,
    line: Option<Box<Line>>,
    records: Arc<Records>,
}

impl PendingRecord {
    /// Sets the object that was requested, and how it was served.
    pub(crate) fn set_object(&mut self, key: Key, outcome: Outcome) {
        self.record.object = Some((key, outcome));
    }

    /// Wraps the response, which is recorded when its body has ended or is dropped.
    pub(crate) fn watch(mut self, response: Response<ResponseBody>) -> Response<RecordedBody> {
        self.record.status = response.status().as_u16();
        self.record.is_from_start = match self.record.status {
            OK => true,
            PARTIAL_CONTENT => {
                let range = response.headers().get(CONTENT_RANGE);
                range.is_some_and(|range| range.as_bytes().starts_with(b"bytes 0-"))
            }
            _ => false,
        };
        response.map(|body| RecordedBody { body, pending: self })
    }
}

impl Drop for PendingRecord {
    fn drop(&mut self) {
        self.records.end(&self.record, self.line.take());
    }
}

/// The body of a response. Counts the bytes that the connection reads from it.
pub(crate) struct RecordedBody {
    body: ResponseBody,
    pending: PendingRecord,
}

impl HttpBody for RecordedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.pending.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for RecordedBody {
    fn drop(&mut self) {
        self.pending.record.is_complete = self.body.len() == Some(0);
    }
}
