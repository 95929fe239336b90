//! [`Progress`]: an object that is arriving, shared with its readers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use storage_core::{Error, ErrorKind, ObjectMeta, Result};
use tokio::sync::watch;

use crate::store::Tail;

/// An object that is arriving.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) meta: Arc<ObjectMeta>,
    /// Reads the bytes that have arrived.
    pub(crate) tail: Tail,
    aged_from: Instant,
    received_at: Instant,
    written: watch::Receiver<Written>,
}

/// The bytes that have arrived, and how the fetch failed.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    bytes: u64,
    is_broken: bool,
    /// Whether the bytes do not have the checksum that origin reported. Then readers fail, and do
    /// not continue with the rest from origin.
    is_wrong: bool,
}

/// The writing end of a [`Progress`].
#[derive(Debug)]
pub(super) struct ProgressSender(watch::Sender<Written>);

impl ProgressSender {
    /// Shows the bytes up to a position to the readers.
    pub(super) fn advance(&self, bytes: u64) {
        self.0.send_modify(|written| written.bytes = bytes);
    }

    /// Ends the progress with the error of the fetch.
    pub(super) fn fail(&self, error: &Error) {
        self.0.send_modify(|written| {
            written.is_broken = true;
            written.is_wrong = error.kind() == ErrorKind::Integrity;
        });
    }
}

impl Progress {
    /// Creates the progress of an object, with the times of the request and of the response.
    pub(super) fn new(
        meta: Arc<ObjectMeta>,
        tail: Tail,
        aged_from: Instant,
        received_at: Instant,
    ) -> (ProgressSender, Self) {
        let (sender, written) = watch::channel(Written::default());
        (ProgressSender(sender), Self { meta, tail, aged_from, received_at, written })
    }

    /// Waits until the byte at a position has been written. Returns the number of written bytes, or
    /// `None` if that byte will not arrive.
    ///
    /// # Errors
    /// Fails with `Integrity` if the bytes do not have the checksum that origin reported.
    pub(crate) async fn reaches(&self, position: u64) -> Result<Option<u64>> {
        let mut written = self.written.clone();
        let reached = written
            .wait_for(|written| written.bytes > position || written.is_broken || written.is_wrong)
            .await;
        let written = match reached {
            Ok(written) => *written,
            // The sender was dropped.
            Err(_) => *self.written.borrow(),
        };
        if written.is_wrong {
            return Err(Error::new(
                ErrorKind::Integrity,
                "origin's bytes do not have the checksum that origin reported",
            ));
        }
        Ok((written.bytes > position).then_some(written.bytes))
    }

    /// Returns the age of the object: that of origin's response plus the time since it arrived, or
    /// the time since the request if origin is no HTTP server (`current_age`, RFC 9111 section
    /// 4.2.3).
    pub(crate) fn age(&self) -> Duration {
        let came_with = self.meta.response.map_or(Duration::ZERO, |response| response.age);
        came_with.saturating_add(self.aged_from.elapsed())
    }

    /// Returns whether the response of origin was received before an instant.
    pub(super) fn received_before(&self, instant: Instant) -> bool {
        self.received_at <= instant
    }

    /// Returns the number of written bytes.
    pub(crate) fn written(&self) -> u64 {
        self.written.borrow().bytes
    }
}
