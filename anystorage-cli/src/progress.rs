//! A progress bar on standard error, if that is a terminal and the command takes long.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anystorage::transfer::{Activity, OnActivity, OnBytes, OnRemaining};
use anystorage::{Object, Payload, Result};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::estimate::Estimate;
use crate::under_way::{UnderWay, shortened};
use crate::verbosity;

/// The bar is shown after this time.
const SHOW_AFTER: Duration = Duration::from_millis(500);

const SIZED_TEMPLATE: &str = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
const UNSIZED_TEMPLATE: &str = "{spinner} {bytes} {bytes_per_sec} {elapsed}";
const KEYS_TEMPLATE: &str =
    "{spinner} {prefix} objects {bytes} {bytes_per_sec} {elapsed}{left} {wide_msg}";
const LISTED_TEMPLATE: &str = "{spinner} {prefix} objects {bytes} {elapsed}";
const OBJECTS_TEMPLATE: &str =
    "{spinner} {prefix} objects {bytes} {bytes_per_sec} {elapsed} {wide_msg}";

/// Counts bytes and shows them on a terminal. Removes the bar when it is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Progress(Option<Arc<Bar>>);

#[derive(Debug)]
struct Bar {
    bar: ProgressBar,
    many: bool,
    objects: AtomicU64,
    under_way: Mutex<UnderWay>,
    estimate: Arc<Estimate>,
    start: Instant,
    visible: AtomicBool,
}

impl Progress {
    /// Returns the progress of one body, with its size in bytes if that is known.
    pub(crate) fn bytes(enabled: bool, total: Option<u64>) -> Self {
        let progress = Self::new(enabled, false, UNSIZED_TEMPLATE);
        if let Some(total) = total {
            progress.set_total(total);
        }
        progress
    }

    /// Returns the progress of many objects.
    pub(crate) fn objects() -> Self {
        Self::new(true, true, OBJECTS_TEMPLATE)
    }

    /// Returns the progress of a sync or a check, which also shows a key.
    pub(crate) fn keys() -> Self {
        Self::new(true, true, KEYS_TEMPLATE)
    }

    /// Returns a function that counts bytes, or `None` if there is no terminal.
    pub(crate) fn on_bytes(&self) -> Option<OnBytes> {
        self.0.as_ref()?;
        let progress = self.clone();
        Some(Arc::new(move |bytes| progress.advance(bytes)))
    }

    /// Whether there is a terminal that shows the size of one body.
    pub(crate) fn shows_total(&self) -> bool {
        self.0.as_ref().is_some_and(|shown| !shown.many)
    }

    /// Returns a function that receives what remains, from which the end is estimated, or `None` if
    /// there is no terminal.
    pub(crate) fn on_remaining(&self) -> Option<OnRemaining> {
        let estimate = Arc::clone(&self.0.as_ref()?.estimate);
        Some(Arc::new(move |remaining| estimate.begin(remaining.objects, remaining.bytes)))
    }

    /// Returns a function that shows which keys are under way, or `None` if there is no terminal.
    pub(crate) fn on_activity(&self) -> Option<OnActivity> {
        self.0.as_ref()?;
        let progress = self.clone();
        Some(Arc::new(move |activity| match activity {
            Activity::Begun(key) => progress.show(|keys| keys.begin(key)),
            Activity::Ended(key) => progress.show(|keys| keys.end(key)),
            _ => {}
        }))
    }

    /// Shows that the work on a key is under way, until what it returns is dropped.
    pub(crate) fn begin(&self, key: &str) -> Option<KeyShown> {
        self.0.as_ref()?;
        self.show(|keys| keys.begin(key));
        Some(KeyShown { progress: self.clone(), key: key.to_owned() })
    }

    /// Shows the keys that are under way after a change of them. If there is none, the last one
    /// stays.
    fn show(&self, change: impl FnOnce(&mut UnderWay)) {
        let Some(shown) = &self.0 else { return };
        let mut under_way = shown.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut under_way);
        if let Some(line) = under_way.line() {
            shown.bar.set_message(line);
        }
    }

    /// Counts a key that was handled, with the size of its object in bytes if that is known.
    pub(crate) fn count_key(&self, key: &str, size: Option<u64>) {
        if let Some(shown) = &self.0 {
            let done = shown.objects.fetch_add(1, Ordering::Relaxed) + 1;
            shown.bar.set_prefix(done.to_string());
            // A key that is under way says more than one that is done.
            let under_way = shown.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            shown.bar.set_message(under_way.line().unwrap_or_else(|| shortened(key)));
            shown.estimate.count_object(size.unwrap_or(0));
            self.advance(0);
        }
    }

    /// Returns the progress of a listing.
    pub(crate) fn listing() -> Self {
        Self::new(true, true, LISTED_TEMPLATE)
    }

    fn new(enabled: bool, many: bool, template: &str) -> Self {
        if !enabled || !verbosity::shows_progress() || !io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let estimate = Arc::new(Estimate::default());
        set_style(&bar, template, &estimate);
        Self(Some(Arc::new(Bar {
            bar,
            many,
            objects: AtomicU64::new(0),
            under_way: Mutex::default(),
            estimate,
            start: Instant::now(),
            visible: AtomicBool::new(false),
        })))
    }

    /// Sets the size of the body in bytes. Has no effect on the progress of many objects.
    pub(crate) fn set_total(&self, total: u64) {
        if let Some(shown) = self.0.as_ref().filter(|shown| !shown.many) {
            shown.bar.set_length(total);
            set_style(&shown.bar, SIZED_TEMPLATE, &shown.estimate);
        }
    }

    /// Counts the bytes of a stream.
    pub(crate) fn count_bytes<S>(
        &self,
        chunks: S,
    ) -> impl Stream<Item = Result<Bytes>> + Send + use<S>
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
    pub(crate) fn count_object(&self, object: Object) -> Object {
        if self.0.is_none() {
            return object;
        }
        let (meta, range) = (object.meta().clone(), object.range());
        Object::from_stream(meta, range, self.count_bytes(object.into_stream()))
    }

    /// Counts the bytes of a payload. Returns the payload unchanged if there is no terminal,
    /// because a counted payload is a stream, which the option `retries` cannot send again.
    pub(crate) fn count_payload(&self, payload: Payload) -> Payload {
        if self.0.is_none() {
            return payload;
        }
        let size = payload.size();
        let counted = Payload::from_stream(self.count_bytes(payload.into_stream()));
        match size {
            Some(size) => counted.with_size(size),
            None => counted,
        }
    }

    /// Sets the number of finished objects.
    pub(crate) fn set_objects(&self, done: u64) {
        if let Some(shown) = &self.0 {
            shown.bar.set_prefix(done.to_string());
        }
    }

    /// Counts an object of a listing, given the number of objects so far and its size in bytes.
    pub(crate) fn count_listed(&self, objects: u64, size: u64) {
        self.set_objects(objects);
        self.advance(size);
    }

    /// Hides the bar while the function prints.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(shown) => shown.bar.suspend(print),
            None => print(),
        }
    }

    /// Removes the bar for good.
    pub(crate) fn clear(&self) {
        if let Some(shown) = &self.0 {
            shown.bar.finish_and_clear();
        }
    }

    fn advance(&self, bytes: u64) {
        let Some(shown) = &self.0 else { return };
        shown.estimate.count_bytes(bytes);
        shown.bar.inc(bytes);
        if shown.start.elapsed() > SHOW_AFTER && !shown.visible.swap(true, Ordering::Relaxed) {
            shown.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

fn set_style(bar: &ProgressBar, template: &str, estimate: &Arc<Estimate>) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        let estimate = Arc::clone(estimate);
        let left = move |_: &ProgressState, out: &mut dyn Write| {
            if let Some(left) = estimate.left() {
                // The text is in memory, so that writing it does not fail.
                let _ = write!(out, ", ETA {:#}", HumanDuration(left));
            }
        };
        bar.set_style(style.with_key("left", left));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A key that is shown as under way until this is dropped.
#[derive(Debug)]
pub(crate) struct KeyShown {
    progress: Progress,
    key: String,
}

impl Drop for KeyShown {
    fn drop(&mut self) {
        self.progress.show(|keys| keys.end(&self.key));
    }
}
