//! A driver for the tests of layers: it follows a script (fails, stalls, breaks off where it is
//! told to), and notes what it was asked. Its objects are in memory; its bodies stream, four bytes
//! at a time.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use storage_core::{
    Capabilities, CopyOptions, Driver, DriverInfo, DriverRef, ETag, Entry, EntryStream, Error,
    ErrorKind, Key, Link, ListOptions, Memory, Object, ObjectMeta, OpenOptions, Operation, Payload,
    Prefix, ResponseMeta, Result, SaveOptions, UrlOptions, async_trait,
};

/// How many bytes a chunk of a body has.
pub(crate) const CHUNK: usize = 4;

/// What the metadata of `open`, `stat` and `save` states of the response that carried it.
pub(crate) const RESPONSE: ResponseMeta = ResponseMeta::new(Duration::from_secs(7), UNIX_EPOCH);

/// What becomes of one call.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Nothing: it does as it is asked.
    Pass,
    /// It fails, and nothing has happened.
    Fail(Error),
    /// It happens, and the answer is lost.
    Lose(Error),
    /// There is never an answer.
    Stall,
    /// The body, the listing or the reading of the payload breaks off after so many chunks or
    /// entries.
    Break { after: usize, with: End },
    /// A save waits for the first chunk for so long, drops the payload, and never answers.
    GiveUpSource(Duration),
}

/// How a stream breaks off.
#[derive(Debug)]
pub(crate) enum End {
    Error(Error),
    /// As if it were complete.
    Early,
    Stall,
}

/// An error that passes by itself.
pub(crate) fn passing() -> Error {
    Error::new(ErrorKind::Unexpected, "the connection was reset").with_retryable(true)
}

/// What kind of body an open answers with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum BodyKind {
    #[default]
    Stream,
    File,
    Memory,
}

#[derive(Clone)]
pub(crate) struct Scripted {
    pub(crate) memory: Memory,
    /// What is told of the ETags.
    pub(crate) etag: fn(ETag) -> Option<ETag>,
    /// Opens without looking at conditions, as some servers do.
    pub(crate) ignores_conditions: bool,
    /// Opens the whole object whatever the range, as some servers do.
    pub(crate) ignores_ranges: bool,
    /// Lists from the beginning whatever `start_after` says, as some servers do.
    pub(crate) ignores_start_after: bool,
    /// The key that is in the answers of `stat`, `save` and `list`, whatever was asked for.
    pub(crate) answers_with: Option<&'static str>,
    /// Takes this long over each chunk and each entry.
    pub(crate) pace: Duration,
    /// Reads payloads in a task of its own.
    pub(crate) saves_in_task: bool,
    /// How many keys of a deletion of many are answered.
    pub(crate) answers_for: usize,
    /// Errors about odd names that a listing tells before the entry of that name.
    pub(crate) odd_names: Vec<(&'static str, &'static str)>,
    /// How many listings have these errors, which pass; 0 if all have them.
    pub(crate) busy_listings: usize,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    script: HashMap<Operation, VecDeque<Fault>>,
    body: BodyKind,
    asked: Vec<String>,
    under_way: usize,
    streams: usize,
    abandoned: usize,
}

impl Scripted {
    pub(crate) fn new() -> Self {
        Self {
            memory: Memory::new(),
            etag: Some,
            ignores_conditions: false,
            ignores_ranges: false,
            ignores_start_after: false,
            answers_with: None,
            pace: Duration::ZERO,
            saves_in_task: false,
            answers_for: usize::MAX,
            odd_names: Vec::new(),
            busy_listings: 0,
            shared: Arc::default(),
        }
    }

    /// With these objects in it.
    pub(crate) async fn with_objects(objects: &[(&str, &'static str)]) -> Self {
        let scripted = Self::new();
        for (key, text) in objects {
            scripted.put(key, text).await;
        }
        scripted
    }

    /// Saves past the script.
    pub(crate) async fn put(&self, key: &str, text: &'static str) {
        self.memory
            .save(&Key::new(key).unwrap(), Payload::from(text), &SaveOptions::default())
            .await
            .unwrap();
    }

    /// Reads past the script.
    pub(crate) async fn text(&self, key: &str) -> String {
        let object =
            self.memory.open(&Key::new(key).unwrap(), &OpenOptions::default()).await.unwrap();
        object.text().await.unwrap()
    }

    pub(crate) fn arc(&self) -> Arc<dyn Driver> {
        Arc::new(self.clone())
    }

    /// What becomes of the next calls of a verb. Those after them pass.
    pub(crate) fn script(&self, operation: Operation, faults: impl IntoIterator<Item = Fault>) {
        self.shared.lock().unwrap().script.entry(operation).or_default().extend(faults);
    }

    /// What is opened from now on has bodies of this kind.
    pub(crate) fn bodies_are(&self, kind: BodyKind) {
        self.shared.lock().unwrap().body = kind;
    }

    /// Every call so far: verb, key and options.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.lock().unwrap().asked.clone()
    }

    /// How many calls of a verb there were.
    pub(crate) fn count(&self, operation: Operation) -> usize {
        let verb = format!("{operation} ");
        self.shared.lock().unwrap().asked.iter().filter(|call| call.starts_with(&verb)).count()
    }

    /// How many calls are not answered yet.
    pub(crate) fn under_way(&self) -> usize {
        self.shared.lock().unwrap().under_way
    }

    /// How many bodies and listings are neither at their end nor dropped.
    pub(crate) fn streams(&self) -> usize {
        self.shared.lock().unwrap().streams
    }

    /// How many calls were dropped before they were answered.
    pub(crate) fn abandoned(&self) -> usize {
        self.shared.lock().unwrap().abandoned
    }

    /// Everything in the script has happened.
    pub(crate) fn assert_script_done(&self) {
        let left = std::mem::take(&mut self.shared.lock().unwrap().script);
        assert!(left.values().all(VecDeque::is_empty), "never happened: {left:?}");
    }

    fn begin(&self, operation: Operation, call: &str) -> (Fault, UnderWay) {
        let under_way = self.enter(format!("{operation} {call}"));
        (self.next_fault(operation), under_way)
    }

    fn enter(&self, call: String) -> UnderWay {
        let mut shared = self.shared.lock().unwrap();
        shared.asked.push(call);
        shared.under_way += 1;
        UnderWay { shared: Arc::clone(&self.shared), answered: false }
    }

    fn next_fault(&self, operation: Operation) -> Fault {
        let mut shared = self.shared.lock().unwrap();
        shared.script.get_mut(&operation).and_then(VecDeque::pop_front).unwrap_or(Fault::Pass)
    }

    async fn with_fault<T>(fault: Fault, doing: impl Future<Output = Result<T>>) -> Result<T> {
        match fault {
            Fault::Pass => doing.await,
            Fault::Fail(error) => Err(error),
            Fault::Lose(error) => doing.await.and(Err(error)),
            Fault::Stall => std::future::pending().await,
            Fault::Break { .. } | Fault::GiveUpSource(_) => {
                panic!("this has no stream that could break off")
            }
        }
    }

    async fn act<T>(
        &self,
        operation: Operation,
        call: String,
        doing: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let (fault, mut under_way) = self.begin(operation, &call);
        let answer = Self::with_fault(fault, doing).await;
        under_way.answered = true;
        answer
    }

    fn streamed<T: Send + 'static>(
        &self,
        items: BoxStream<'static, Result<T>>,
        fault: Fault,
    ) -> Items<T> {
        let pace = self.pace;
        let items = items.then(move |item| async move {
            if !pace.is_zero() {
                tokio::time::sleep(pace).await;
            }
            item
        });
        let items = match fault {
            Fault::Break { after, with } => items.take(after).chain(end_of(with)).boxed(),
            _ => items.boxed(),
        };
        self.shared.lock().unwrap().streams += 1;
        let open = OpenStream(Arc::clone(&self.shared));
        stream::unfold((items, open), |(mut items, open)| async {
            Some((items.next().await?, (items, open)))
        })
        .fuse()
        .boxed()
    }

    fn answered(&self, mut meta: ObjectMeta) -> ObjectMeta {
        if let Some(key) = self.answers_with {
            meta.key = Key::new(key).unwrap();
        }
        meta.response = Some(RESPONSE);
        meta
    }

    fn answered_entry(&self, entry: Entry) -> Entry {
        match (self.answers_with, entry) {
            (Some(key), Entry::Object(mut object)) => {
                object.key = Key::new(key).unwrap();
                Entry::Object(object)
            }
            (_, entry) => entry,
        }
    }

    async fn open_in_memory(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let mut options = options.clone();
        if self.ignores_ranges {
            options.range = None;
        }
        if self.ignores_conditions {
            options.if_match = None;
        }
        let object = self.memory.open(key, &options).await?;
        Ok(object.map_meta(|mut meta| {
            meta.etag = meta.etag.and_then(self.etag);
            meta.response = Some(RESPONSE);
            meta
        }))
    }

    async fn body_of(&self, object: Object, fault: Fault) -> Object {
        let (meta, range) = (object.meta().clone(), object.range());
        let kind = self.shared.lock().unwrap().body;
        match kind {
            BodyKind::Memory => object,
            BodyKind::File => {
                let whole = self.text(meta.key.as_str()).await;
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(whole.as_bytes()).unwrap();
                Object::from_file(meta, range, file)
            }
            BodyKind::Stream => {
                let bytes = object.bytes().await.unwrap();
                let starts = (0..bytes.len()).step_by(CHUNK);
                let chunks: Vec<_> = starts
                    .map(|start| Ok(bytes.slice(start..bytes.len().min(start + CHUNK))))
                    .collect();
                Object::from_stream(meta, range, self.streamed(stream::iter(chunks).boxed(), fault))
            }
        }
    }

    /// The entries with the odd names among them.
    fn with_odd_names(&self, entries: EntryStream) -> EntryStream {
        let passes = self.busy_listings > 0;
        let has_passed = passes && self.count(Operation::List) > self.busy_listings;
        let odd_names = if has_passed { Vec::new() } else { self.odd_names.clone() };
        let entries = entries.flat_map(move |entry| {
            let name = entry.as_ref().map_or("", Entry::name);
            let odd = odd_names.iter().filter(|(_, before)| *before == name);
            let odd = odd.map(|(odd, _)| {
                let kind = if passes { ErrorKind::Unexpected } else { ErrorKind::InvalidKey };
                let error = Error::new(kind, "an odd name").with_key(*odd).with_retryable(passes);
                Err(error.with_listing_continues(true))
            });
            let odd: Vec<_> = odd.collect();
            stream::iter(odd.into_iter().chain([entry]))
        });
        entries.boxed()
    }
}

type Items<T> = BoxStream<'static, Result<T>>;

fn end_of<T: Send + 'static>(end: End) -> Items<T> {
    match end {
        End::Error(error) => stream::iter([Err(error)]).boxed(),
        End::Early => stream::empty().boxed(),
        End::Stall => stream::pending().boxed(),
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

struct UnderWay {
    shared: Arc<Mutex<Shared>>,
    answered: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut shared = self.shared.lock().unwrap();
        shared.under_way -= 1;
        shared.abandoned += usize::from(!self.answered);
    }
}

struct OpenStream(Arc<Mutex<Shared>>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.lock().unwrap().streams -= 1;
    }
}

#[async_trait]
impl Driver for Scripted {
    fn info(&self) -> DriverInfo {
        let mut capabilities = Capabilities::full();
        (capabilities.signed_get, capabilities.signed_put, capabilities.signed_post) =
            (true, true, true);
        DriverInfo::new("scripted", "scripted:here", capabilities)
    }

    fn innermost(&self) -> Result<DriverRef<'_>> {
        Ok(DriverRef::new(self))
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        let (fault, mut under_way) = self.begin(Operation::Save, &format!("{key} {options:?}"));
        let pace = self.pace;
        let payload = payload.map_stream(|chunks| {
            let paced = chunks.then(move |chunk| async move {
                tokio::time::sleep(pace).await;
                chunk
            });
            paced.boxed()
        });
        let answer = match fault {
            Fault::Fail(error) => Err(error),
            Fault::Stall => std::future::pending().await,
            Fault::Break { after, with } => {
                let taken = payload.into_stream().take(after).count().await;
                assert_eq!(taken, after, "the payload has fewer chunks");
                match with {
                    End::Error(error) => Err(error),
                    End::Early => panic!("a save that ends early is no save"),
                    End::Stall => std::future::pending().await,
                }
            }
            Fault::GiveUpSource(patience) => {
                let waited = tokio::time::timeout(patience, payload.into_stream().next()).await;
                assert!(waited.is_err(), "the source has something to say");
                std::future::pending().await
            }
            Fault::Pass | Fault::Lose(_) => {
                let (memory, key, options) = (self.memory.clone(), key.clone(), options.clone());
                let saving = async move { memory.save(&key, payload, &options).await };
                let saved = if self.saves_in_task {
                    tokio::spawn(saving).await.unwrap()
                } else {
                    saving.await
                };
                match fault {
                    Fault::Lose(error) => saved.and(Err(error)),
                    _ => saved.map(|meta| self.answered(meta)),
                }
            }
        };
        under_way.answered = true;
        answer
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let (fault, mut under_way) = self.begin(Operation::Open, &format!("{key} {options:?}"));
        let answer = match fault {
            Fault::Stall => std::future::pending().await,
            Fault::Fail(error) | Fault::Lose(error) => Err(error),
            Fault::GiveUpSource(_) => panic!("an open has no source"),
            Fault::Pass | Fault::Break { .. } => match self.open_in_memory(key, options).await {
                Ok(object) => Ok(self.body_of(object, fault).await),
                Err(error) => Err(error),
            },
        };
        under_way.answered = true;
        answer
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        let stat = async { Ok(self.answered(self.memory.stat(key).await?)) };
        self.act(Operation::Stat, key.to_string(), stat).await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        self.act(Operation::Exists, key.to_string(), self.memory.exists(key)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.act(Operation::Delete, key.to_string(), self.memory.delete(key)).await
    }

    /// One call, and of the script of `delete` a line for each key.
    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        let names: Vec<_> = keys.iter().map(Key::as_str).collect();
        let mut under_way = self.enter(format!("delete_many {}", names.join(" ")));
        let mut answers = Vec::new();
        for key in keys {
            let deletion =
                Self::with_fault(self.next_fault(Operation::Delete), self.memory.delete(key));
            answers.push(deletion.await);
        }
        answers.truncate(self.answers_for);
        under_way.answered = true;
        answers
    }

    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()> {
        self.act(Operation::Delete, marker.to_string(), self.memory.delete_folder_marker(marker))
            .await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        let (this, prefix, mut options) = (self.clone(), prefix.clone(), options.clone());
        let begin = async move {
            let (fault, mut under_way) =
                this.begin(Operation::List, &format!("{prefix} {options:?}"));
            if this.ignores_start_after {
                options.start_after = None;
            }
            let entries = this.with_odd_names(this.memory.list(&prefix, &options));
            let answering = this.clone();
            let entries = entries
                .map(move |entry| entry.map(|entry| answering.answered_entry(entry)))
                .boxed();
            let entries: Items<Entry> = match fault {
                Fault::Stall => std::future::pending().await,
                Fault::Fail(error) | Fault::Lose(error) => stream::iter([Err(error)]).boxed(),
                fault => this.streamed(entries, fault),
            };
            under_way.answered = true;
            entries
        };
        begin.flatten_stream().boxed()
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        let call = format!("{from} {to} {options:?}");
        self.act(Operation::Copy, call, self.memory.copy(from, to, options)).await
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        let link =
            async { Ok(Link::public(format!("https://inner.example/{key}").parse().unwrap())) };
        self.act(Operation::Url, format!("{key} {options:?}"), link).await
    }
}
