//! A progress bar on standard error, for somebody who watches and only if it takes long.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anystorage::{Object, Payload, Result};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is done sooner needs no bar.
const PATIENCE: Duration = Duration::from_millis(500);

const KNOWN: &str = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
const UNKNOWN: &str = "{spinner} {bytes} {bytes_per_sec} {elapsed}";
const OBJECTS: &str = "{spinner} {prefix} objects {bytes} {bytes_per_sec} {elapsed}";

/// Counts bytes, and shows them where that makes sense. Gone from the screen when it is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Progress(Option<Arc<Shown>>);

#[derive(Debug)]
struct Shown {
    bar: ProgressBar,
    many: bool,
    start: Instant,
    visible: AtomicBool,
}

impl Progress {
    /// For one body, of this size if that is known.
    pub(crate) fn bytes(wanted: bool, total: Option<u64>) -> Self {
        let progress = Self::new(wanted, false, UNKNOWN);
        if let Some(total) = total {
            progress.expect(total);
        }
        progress
    }

    /// For many objects.
    pub(crate) fn objects() -> Self {
        Self::new(true, true, OBJECTS)
    }

    fn new(wanted: bool, many: bool, template: &str) -> Self {
        if !wanted || !io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        set_style(&bar, template);
        Self(Some(Arc::new(Shown {
            bar,
            many,
            start: Instant::now(),
            visible: AtomicBool::new(false),
        })))
    }

    /// Tells the size of the one body, once it is known.
    pub(crate) fn expect(&self, total: u64) {
        if let Some(shown) = self.0.as_ref().filter(|shown| !shown.many) {
            shown.bar.set_length(total);
            set_style(&shown.bar, KNOWN);
        }
    }

    /// Counts the bytes of a stream.
    pub(crate) fn watch<S>(&self, chunks: S) -> impl Stream<Item = Result<Bytes>> + Send + use<S>
    where
        S: Stream<Item = Result<Bytes>> + Send,
    {
        let progress = self.clone();
        chunks.inspect(move |chunk| {
            if let Ok(chunk) = chunk {
                progress.advance(chunk.len() as u64);
            }
        })
    }

    /// Counts the bytes of an object.
    pub(crate) fn object(&self, object: Object) -> Object {
        if self.0.is_none() {
            return object;
        }
        let (meta, range) = (object.meta().clone(), object.range());
        Object::from_stream(meta, range, self.watch(object.into_stream()))
    }

    /// Counts the bytes of a payload. Only where somebody watches: a payload that is watched is a
    /// stream, which a storage with `retries` cannot send again.
    pub(crate) fn payload(&self, payload: Payload) -> Payload {
        if self.0.is_none() {
            return payload;
        }
        let size = payload.size();
        let watched = Payload::from_stream(self.watch(payload.into_stream()));
        match size {
            Some(size) => watched.with_size(size),
            None => watched,
        }
    }

    /// Tells how many objects are done.
    pub(crate) fn set_objects(&self, done: u64) {
        if let Some(shown) = &self.0 {
            shown.bar.set_prefix(done.to_string());
        }
    }

    /// Prints without the bar in the way.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(shown) => shown.bar.suspend(print),
            None => print(),
        }
    }

    fn advance(&self, bytes: u64) {
        let Some(shown) = &self.0 else { return };
        shown.bar.inc(bytes);
        if shown.start.elapsed() > PATIENCE && !shown.visible.swap(true, Ordering::Relaxed) {
            shown.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

fn set_style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
