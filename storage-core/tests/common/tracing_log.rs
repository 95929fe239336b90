//! A `tracing` subscriber for tests that records spans and events.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

type Fields = BTreeMap<&'static str, String>;

/// A span or an event.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) name: &'static str,
    pub(crate) fields: Fields,
    /// The index of the innermost span that contains an event.
    pub(crate) within: Option<usize>,
}

#[derive(Default)]
struct Written {
    spans: Vec<Line>,
    events: Vec<Line>,
    entered: Vec<usize>,
}

/// Records the spans and events of this crate that are at least as severe as its level.
#[derive(Clone)]
pub(crate) struct Log {
    least: Level,
    written: Arc<Mutex<Written>>,
}

impl Log {
    pub(crate) fn new(least: Level) -> Self {
        keep_all_callsites_alive();
        Self { least, written: Arc::default() }
    }

    pub(crate) fn spans(&self) -> Vec<Line> {
        self.lock().spans.clone()
    }

    pub(crate) fn events(&self) -> Vec<Line> {
        self.lock().events.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps every callsite enabled. `tracing` caches for each callsite whether any subscriber of the
/// process is interested. Tests run at the same time, each with its own subscriber, and a callsite
/// that one does not use must not be disabled for another that begins at that moment. So two
/// subscribers always use all of them.
fn keep_all_callsites_alive() {
    static ALL: OnceLock<[Dispatch; 2]> = OnceLock::new();
    ALL.get_or_init(|| {
        [(); 2].map(|()| Dispatch::new(Log { least: Level::TRACE, written: Arc::default() }))
    });
}

fn index(id: &Id) -> usize {
    usize::try_from(id.into_u64() - 1).unwrap()
}

struct Values<'a>(&'a mut Fields);

impl Visit for Values<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.least && metadata.target().starts_with("storage_core")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::new();
        span.record(&mut Values(&mut fields));
        let metadata = span.metadata();
        let mut written = self.lock();
        written.spans.push(Line {
            level: *metadata.level(),
            name: metadata.name(),
            fields,
            within: None,
        });
        Id::from_u64(written.spans.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        values.record(&mut Values(&mut self.lock().spans[index(id)].fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut Values(&mut fields));
        let metadata = event.metadata();
        let mut written = self.lock();
        let within = written.entered.last().copied();
        written.events.push(Line {
            level: *metadata.level(),
            name: metadata.name(),
            fields,
            within,
        });
    }

    fn enter(&self, id: &Id) {
        self.lock().entered.push(index(id));
    }

    fn exit(&self, id: &Id) {
        let mut written = self.lock();
        assert_eq!(
            written.entered.pop(),
            Some(index(id)),
            "spans are left in the order they were entered"
        );
    }
}
