//! [`Record`]: what is remembered of a request once its answer has ended. [`Records`] is where it goes: to the counters, to
//! the analytics, and to the access log if there is one.
//!
//! No record has a request's query: what signs a link is a secret.

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
use http::{Method, Response, StatusCode};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use storage_core::{Error, Key, Result};
use storage_serve::Body;

use super::access_log::{AccessLog, Line};
use super::analytics::Analytics;
use super::config::MirrorConfig;
use super::counters::Counter;
use super::mirror::Handling;

/// Players ask for the first two bytes to find out whether ranges work: that is no listening.
const PROBE: u64 = 2;
/// The status of a request whose client left before there was an answer, as other servers log it.
const CLIENT_LEFT: u16 = 499;
const OK: u16 = StatusCode::OK.as_u16();
const PARTIAL_CONTENT: u16 = StatusCode::PARTIAL_CONTENT.as_u16();

/// How a request for an object was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Hit,
    Stale,
    Revalidated,
    Miss,
    Collapsed,
    Passed,
    Missing,
    Failed,
}

impl Verdict {
    pub(crate) const ALL: [Self; 8] = [
        Self::Hit,
        Self::Stale,
        Self::Revalidated,
        Self::Miss,
        Self::Collapsed,
        Self::Passed,
        Self::Missing,
        Self::Failed,
    ];

    /// As logs and metrics have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Passed => "passed",
            Self::Missing => "missing",
            Self::Failed => "failed",
        }
    }

    /// Whether the bytes were here.
    pub(crate) fn is_hit(self) -> bool {
        matches!(self, Self::Hit | Self::Stale | Self::Revalidated)
    }
}

impl From<Handling> for Verdict {
    fn from(handling: Handling) -> Self {
        match handling {
            Handling::Hit { .. } => Self::Hit,
            Handling::StaleWhileRevalidate | Handling::StaleIfError => Self::Stale,
            Handling::Revalidated => Self::Revalidated,
            Handling::Replaced { collapsed: true } | Handling::Miss { collapsed: true } => {
                Self::Collapsed
            }
            Handling::Replaced { .. } | Handling::Miss { .. } => Self::Miss,
        }
    }
}

/// A request and its answer.
#[derive(Debug)]
pub(crate) struct Record {
    /// The object that was asked for, and how it was answered. `None` for whatever else was asked.
    pub(crate) object: Option<(Key, Verdict)>,
    /// Tells clients apart, by address and user agent, as long as the process lives. It leads back
    /// to nobody.
    pub(crate) client: u64,
    pub(crate) status: u16,
    /// How many bytes of the body were handed to the connection.
    pub(crate) bytes: u64,
    /// Whether these were all.
    pub(crate) is_complete: bool,
    /// Whether the body began with the object's first byte.
    pub(crate) is_from_start: bool,
    is_get: bool,
    /// What the access log wants besides, if there is one.
    pub(crate) line: Option<Box<Line>>,
}

impl Record {
    /// The key of an object that was sent, all of it or a part, and whether it was here.
    pub(crate) fn sent(&self) -> Option<(&Key, Verdict)> {
        let is_sent = matches!(self.status, OK | PARTIAL_CONTENT);
        self.object
            .as_ref()
            .filter(|_| self.is_get && is_sent)
            .map(|(key, verdict)| (key, *verdict))
    }

    /// Whether so much was sent that it may be listening.
    pub(crate) fn is_more_than_a_probe(&self) -> bool {
        self.bytes > PROBE || (self.status == OK && self.is_complete)
    }
}

/// Where records go. It outlives every reload of the configuration.
pub(crate) struct Records {
    /// `None` if the configuration wants none.
    pub(crate) analytics: Option<Analytics>,
    pub(crate) started: Instant,
    clients: RandomState,
    answers: [Counter; Verdict::ALL.len()],
    sent: [Counter; Verdict::ALL.len()],
    log: RwLock<Option<AccessLog>>,
    /// Whether there is a log, so that requests need no lock where there is none.
    is_logging: AtomicBool,
    lost: Arc<Counter>,
}

impl Records {
    /// Opens the access log and reads what today has come to so far. Waits for the disk.
    ///
    /// # Errors
    /// `InvalidConfig` for an access log that cannot be opened; what the operating system says
    /// about the analytics.
    pub(crate) fn open(config: &MirrorConfig) -> Result<Arc<Self>> {
        let records = Self {
            analytics: match config.analytics_days {
                0 => None,
                days => Some(Analytics::open(&config.cache_dir, days, SystemTime::now())?),
            },
            started: Instant::now(),
            clients: RandomState::new(),
            answers: Default::default(),
            sent: Default::default(),
            log: RwLock::default(),
            is_logging: AtomicBool::new(false),
            lost: Arc::default(),
        };
        records.open_log(config.access_log.as_deref())?;
        Ok(Arc::new(records))
    }

    /// Opens the access log anew: another one, or the same after its file was moved away. Requests
    /// under way are logged in the new one.
    ///
    /// # Errors
    /// `InvalidConfig` if it cannot be opened; then the old one stays.
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
        // Its thread writes what it has and ends.
        drop(old);
        Ok(())
    }

    /// The end of the log: what it has is written, unless whoever reads it is too slow.
    pub(crate) fn close_log(&self) {
        self.is_logging.store(false, Ordering::Relaxed);
        let log = self.log.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(log) = log {
            log.close();
        }
    }

    /// The record of a request that has come.
    pub(crate) fn begin(self: &Arc<Self>, address: IpAddr, head: &Parts) -> Entry {
        let agent = head.headers.get(USER_AGENT).map(http::HeaderValue::as_bytes);
        let is_logged = self.is_logging.load(Ordering::Relaxed);
        let record = Record {
            object: None,
            client: self.clients.hash_one((address, agent)),
            status: CLIENT_LEFT,
            bytes: 0,
            is_complete: false,
            is_from_start: false,
            is_get: head.method == Method::GET,
            line: is_logged.then(|| Box::new(Line::new(address, head))),
        };
        Entry { record, records: Arc::clone(self) }
    }

    fn end(&self, record: &mut Record) {
        if let Some((_, verdict)) = &record.object {
            self.answers[*verdict as usize].add(1);
            self.sent[*verdict as usize].add(record.bytes);
        }
        if let Some(analytics) = &self.analytics {
            analytics.count(record);
        }
        if let Some(line) = record.line.take()
            && let Some(log) = &*self.log.read().unwrap_or_else(PoisonError::into_inner)
        {
            log.write(line, record);
        }
    }

    /// How many requests for objects were answered so, and how many bytes were sent for them.
    pub(crate) fn answered(&self, verdict: Verdict) -> (u64, u64) {
        (self.answers[verdict as usize].get(), self.sent[verdict as usize].get())
    }

    /// How many requests are missing in the access log.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.get()
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").finish_non_exhaustive()
    }
}

/// A request under way. Whatever becomes of it, it is recorded when this is dropped.
pub(crate) struct Entry {
    record: Record,
    records: Arc<Records>,
}

impl Entry {
    /// What object it is for, and how it is answered.
    pub(crate) fn is_for(&mut self, key: Key, verdict: Verdict) {
        self.record.object = Some((key, verdict));
    }

    /// The answer, which is recorded when its body has ended or is given up.
    pub(crate) fn watch(mut self, response: Response<Body>) -> Response<Recorded> {
        self.record.status = response.status().as_u16();
        self.record.is_from_start = match self.record.status {
            OK => true,
            PARTIAL_CONTENT => {
                let range = response.headers().get(CONTENT_RANGE);
                range.is_some_and(|range| range.as_bytes().starts_with(b"bytes 0-"))
            }
            _ => false,
        };
        response.map(|body| Recorded { body, entry: self })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.records.end(&mut self.record);
    }
}

/// The body of an answer, which counts what it hands out.
pub(crate) struct Recorded {
    body: Body,
    entry: Entry,
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.entry.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
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

impl Drop for Recorded {
    fn drop(&mut self) {
        self.entry.record.is_complete = self.body.len() == Some(0);
    }
}

#[cfg(test)]
impl Record {
    /// Of a GET of `a`, which was a hit.
    pub(crate) fn for_tests(status: u16, bytes: u64) -> Self {
        Self {
            object: Some((Key::new("a").unwrap(), Verdict::Hit)),
            client: 0,
            status,
            bytes,
            is_complete: true,
            is_from_start: status == OK,
            is_get: true,
            line: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verdict_has_its_own_counter() {
        for (place, verdict) in Verdict::ALL.into_iter().enumerate() {
            assert_eq!(verdict as usize, place, "{}", verdict.name());
        }
    }
}
