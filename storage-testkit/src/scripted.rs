//! [`Scripted`]: a driver for testing layers and servers.
//!
//! [`faults`](crate::faults) changes what an application sees of any driver. A `Scripted` is a
//! driver of its own: its objects are in memory, it follows a script call by call, it records the
//! calls with their options, and it counts the calls and streams that are not finished. It can also
//! deviate from the contract in the ways in which servers do, such as ignoring ranges.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
//! use std::sync::Arc;
//!
//! use storage_core::layers::Retry;
//! use storage_core::{Operation, Storage};
//! use storage_testkit::scripted::{Fault, Scripted, transient};
//!
//! let scripted = Scripted::with_objects(&[("a.txt", "hello")]).await;
//! scripted.script(Operation::Stat, [Fault::Fail(transient())]);
//!
//! let storage = Storage::new(Retry::new(Arc::new(scripted.clone()), 1));
//! assert_eq!(storage.stat("a.txt").await?.size, 5);
//!
//! assert_eq!(scripted.count(Operation::Stat), 2);
//! scripted.assert_script_done();
//! # Ok(()) }
//! ```

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use storage_core::signed_url::SigningKey;
use storage_core::{
    Capabilities, CopyOptions, Driver, DriverInfo, DriverRef, ETag, Entry, EntryStream, Error,
    ErrorKind, Key, Link, LinkVerifier, ListOptions, Memory, Multipart, Object, ObjectMeta,
    OpenOptions, Operation, Payload, Prefix, RenameOptions, ResponseMeta, Result, SaveOptions,
    UrlOptions,
};

/// Size of the chunks of a streamed body, in bytes.
pub const CHUNK: usize = 4;

/// The response that the metadata of `save`, `open` and `stat` names as its source.
pub const RESPONSE: ResponseMeta = ResponseMeta::new(Duration::from_secs(7), UNIX_EPOCH);

/// What happens to one call.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The call succeeds.
    Pass,
    /// The call fails and has no effect.
    Fail(Error),
    /// The call takes effect and fails, like a call whose response is lost.
    LoseResponse(Error),
    /// The call never completes and has no effect.
    Stall,
    /// The body of an open, the entries of a listing or the reading of a payload ends too early.
    Break {
        /// Number of chunks or entries before the end.
        after: usize,
        /// How it ends.
        with: End,
    },
    /// A save waits this long for the first chunk, drops the payload, and never completes.
    GiveUpSource(Duration),
}

/// How a stream ends too early.
#[derive(Debug)]
#[non_exhaustive]
pub enum End {
    /// With an error.
    Error(Error),
    /// Without an error, as at the end of the data.
    Early,
    /// Never.
    Stall,
}

/// What an open returns as the body.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum BodyKind {
    /// A stream of chunks of [`CHUNK`] bytes.
    #[default]
    Stream,
    /// A temporary file.
    File,
    /// Bytes in memory.
    Memory,
}

/// Returns an error that may be retried.
#[must_use]
pub fn transient() -> Error {
    Error::new(ErrorKind::Unexpected, "the connection was reset").with_retryable(true)
}

/// A driver that follows a script. Clones share objects, script and record.
///
/// The fields are deviations from the contract and apply to the clone that they are set on. By
/// default there are none.
#[derive(Clone)]
#[non_exhaustive]
pub struct Scripted {
    /// The objects. Calls on this driver are neither scripted nor recorded.
    pub memory: Memory,
    /// Replaces the ETags of opened objects.
    pub etag: fn(ETag) -> Option<ETag>,
    /// Whether `open` ignores `if_match`.
    pub ignores_conditions: bool,
    /// Whether `open` returns the whole object for every range.
    pub ignores_ranges: bool,
    /// Whether listings ignore `start_after`.
    pub ignores_start_after: bool,
    /// The key that the results of `save`, `stat` and `list` contain in place of the object's.
    pub key_in_results: Option<&'static str>,
    /// Delay before each chunk and each entry.
    pub chunk_delay: Duration,
    /// Whether a save reads its payload on another task.
    pub saves_in_task: bool,
    /// Upper bound for the number of results of `delete_many`.
    pub max_results: usize,
    /// Invalid names in listings: the name in the error, and the entry that follows the error.
    pub invalid_names: Vec<(&'static str, &'static str)>,
    /// Number of listings that contain the errors of `invalid_names`, as errors that may be
    /// retried. With 0, all listings contain them, as errors that may not.
    pub failing_listings: usize,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    script: HashMap<Operation, VecDeque<Fault>>,
    versions: VecDeque<(ObjectMeta, Bytes)>,
    body: BodyKind,
    calls: Vec<String>,
    under_way: usize,
    streams: usize,
    abandoned: usize,
}

impl Default for Scripted {
    fn default() -> Self {
        Self::new()
    }
}

impl Scripted {
    /// Creates a driver without objects and with an empty script.
    #[must_use]
    pub fn new() -> Self {
        Self {
            memory: Memory::new(),
            etag: Some,
            ignores_conditions: false,
            ignores_ranges: false,
            ignores_start_after: false,
            key_in_results: None,
            chunk_delay: Duration::ZERO,
            saves_in_task: false,
            max_results: usize::MAX,
            invalid_names: Vec::new(),
            failing_listings: 0,
            shared: Arc::default(),
        }
    }

    /// Creates a driver with objects: key and text.
    pub async fn with_objects(objects: &[(&str, &'static str)]) -> Self {
        let scripted = Self::new();
        for (key, text) in objects {
            scripted.put(key, text).await;
        }
        scripted
    }

    /// Creates a driver whose `stat` and `open` return the versions one after the other, regardless
    /// of the key, as if the object were replaced between the calls. The last version stays.
    /// `exists` returns true.
    pub fn with_versions(versions: impl IntoIterator<Item = (ObjectMeta, Bytes)>) -> Self {
        let scripted = Self::new();
        scripted.shared().versions.extend(versions);
        scripted
    }

    /// Saves an object. The call is not recorded and takes no fault of the script.
    ///
    /// # Panics
    /// If the key is invalid.
    pub async fn put(&self, key: &str, text: &'static str) {
        let (key, options) = (key_of(key), SaveOptions::default());
        self.memory.save(&key, Payload::from(text), &options).await.expect("memory saves");
    }

    /// Returns the text of an object. The call is not recorded and takes no fault of the script.
    ///
    /// # Panics
    /// If there is no such object, or if it is not text.
    pub async fn text(&self, key: &str) -> String {
        let opened = self.memory.open(&key_of(key), &OpenOptions::default()).await;
        opened.expect("the object exists").text().await.expect("the object is text")
    }

    /// Returns the driver in the type that layers wrap.
    #[must_use]
    pub fn arc(&self) -> Arc<dyn Driver> {
        Arc::new(self.clone())
    }

    /// Appends to the script of a verb. Each call takes one fault; calls after the last fault
    /// succeed. In [`delete_many`](storage_core::Storage::delete_many), each key takes a fault of
    /// `delete`.
    pub fn script(&self, operation: Operation, faults: impl IntoIterator<Item = Fault>) {
        self.shared().script.entry(operation).or_default().extend(faults);
    }

    /// Sets the kind of body that opens return from now on.
    pub fn bodies_are(&self, kind: BodyKind) {
        self.shared().body = kind;
    }

    /// Returns the calls so far, each as a line of verb, key and options.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.shared().calls.clone()
    }

    /// Returns the number of calls of a verb so far.
    #[must_use]
    pub fn count(&self, operation: Operation) -> usize {
        let verb = format!("{operation} ");
        self.shared().calls.iter().filter(|call| call.starts_with(&verb)).count()
    }

    /// Returns the number of calls that are neither completed nor dropped.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.shared().under_way
    }

    /// Returns the number of bodies and listings that are neither at their end nor dropped.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.shared().streams
    }

    /// Returns the number of calls that were dropped before they completed.
    #[must_use]
    pub fn abandoned(&self) -> usize {
        self.shared().abandoned
    }

    /// Asserts that every fault of the script occurred, and empties the script.
    ///
    /// # Panics
    /// If a fault is left.
    #[track_caller]
    pub fn assert_script_done(&self) {
        let left = std::mem::take(&mut self.shared().script);
        assert!(left.values().all(VecDeque::is_empty), "faults that did not occur: {left:?}");
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a call and takes its fault.
    fn begin(&self, operation: Operation, call: &str) -> (Fault, UnderWay) {
        let under_way = self.enter(format!("{operation} {call}"));
        (self.next_fault(operation), under_way)
    }

    fn enter(&self, call: String) -> UnderWay {
        let mut shared = self.shared();
        shared.calls.push(call);
        shared.under_way += 1;
        UnderWay { shared: Arc::clone(&self.shared), is_completed: false }
    }

    fn next_fault(&self, operation: Operation) -> Fault {
        let fault = self.shared().script.get_mut(&operation).and_then(VecDeque::pop_front);
        fault.unwrap_or(Fault::Pass)
    }

    fn next_version(&self) -> Option<(ObjectMeta, Bytes)> {
        let versions = &mut self.shared().versions;
        if versions.len() > 1 { versions.pop_front() } else { versions.front().cloned() }
    }

    async fn with_fault<T>(fault: Fault, call: impl Future<Output = Result<T>>) -> Result<T> {
        match fault {
            Fault::Pass => call.await,
            Fault::Fail(error) => Err(error),
            Fault::LoseResponse(error) => call.await.and(Err(error)),
            Fault::Stall => std::future::pending().await,
            Fault::Break { .. } | Fault::GiveUpSource(_) => panic!("the verb streams nothing"),
        }
    }

    /// Makes a call of a verb that streams nothing.
    async fn call<T>(
        &self,
        operation: Operation,
        call: String,
        run: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let (fault, mut under_way) = self.begin(operation, &call);
        let result = Self::with_fault(fault, run).await;
        under_way.is_completed = true;
        result
    }

    fn streamed<T: Send + 'static>(&self, items: Items<T>, fault: Fault) -> Items<T> {
        let chunk_delay = self.chunk_delay;
        let items = items.then(move |item| async move {
            if !chunk_delay.is_zero() {
                tokio::time::sleep(chunk_delay).await;
            }
            item
        });
        let items = match fault {
            Fault::Break { after, with } => items.take(after).chain(end_of(with)).boxed(),
            _ => items.boxed(),
        };
        self.shared().streams += 1;
        let open = OpenStream(Arc::clone(&self.shared));
        stream::unfold((items, open), |(mut items, open)| async {
            Some((items.next().await?, (items, open)))
        })
        .fuse()
        .boxed()
    }

    fn shown(&self, mut meta: ObjectMeta) -> ObjectMeta {
        if let Some(key) = self.key_in_results {
            meta.key = key_of(key);
        }
        meta.response = Some(RESPONSE);
        meta
    }

    fn shown_entry(&self, entry: Entry) -> Entry {
        match (self.key_in_results, entry) {
            (Some(key), Entry::Object(mut object)) => {
                object.key = key_of(key);
                Entry::Object(object)
            }
            (_, entry) => entry,
        }
    }

    async fn find(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let mut options = options.clone();
        if self.ignores_ranges {
            options.range = None;
        }
        if self.ignores_conditions {
            options.if_match = None;
        }
        options.allow_whole &= !matches!(self.shared().body, BodyKind::Stream);
        if let Some((meta, bytes)) = self.next_version() {
            options.check(&meta)?;
            let range = options.range.map_or(Ok(0..meta.size), |range| range.resolve(meta.size))?;
            let part = bytes.slice(range.start as usize..range.end as usize);
            return Ok(Object::from_bytes(meta, range, part));
        }
        let object = self.memory.open(key, &options).await?;
        Ok(object.map_meta(|mut meta| {
            meta.etag = meta.etag.and_then(self.etag);
            meta.response = Some(RESPONSE);
            meta
        }))
    }

    async fn body_of(&self, object: Object, fault: Fault) -> Result<Object> {
        let (meta, range) = (object.meta().clone(), object.range());
        let kind = self.shared().body;
        Ok(match kind {
            BodyKind::Memory => object,
            BodyKind::File => {
                let whole = self.text(meta.key.as_str()).await;
                Object::from_file(meta, range, temporary_file(whole.as_bytes())?)
            }
            BodyKind::Stream => {
                let bytes = object.bytes().await?;
                let starts = (0..bytes.len()).step_by(CHUNK);
                let chunks: Vec<_> = starts
                    .map(|start| Ok(bytes.slice(start..bytes.len().min(start + CHUNK))))
                    .collect();
                Object::from_stream(meta, range, self.streamed(stream::iter(chunks).boxed(), fault))
            }
        })
    }

    /// Inserts the errors of `invalid_names`.
    fn with_odd_names(&self, entries: EntryStream) -> EntryStream {
        let passes = self.failing_listings > 0;
        let has_passed = passes && self.count(Operation::List) > self.failing_listings;
        let invalid_names = if has_passed { Vec::new() } else { self.invalid_names.clone() };
        let entries = entries.flat_map(move |entry| {
            let name = entry.as_ref().map_or("", Entry::name);
            let odd = invalid_names.iter().filter(|(_, before)| *before == name);
            let odd = odd.map(|(odd, _)| {
                let kind = if passes { ErrorKind::Unexpected } else { ErrorKind::InvalidKey };
                let error =
                    Error::new(kind, "an invalid name").with_key(*odd).with_retryable(passes);
                Err(error.with_listing_continues(true))
            });
            let odd: Vec<_> = odd.collect();
            stream::iter(odd.into_iter().chain([entry]))
        });
        entries.boxed()
    }

    /// Follows the fault of a save.
    async fn save_with(
        &self,
        fault: Fault,
        key: &Key,
        payload: Payload,
        options: &SaveOptions,
    ) -> Result<ObjectMeta> {
        match fault {
            Fault::Break { after, with } => {
                let taken = payload.into_stream().take(after).count().await;
                assert_eq!(taken, after, "the payload has fewer chunks");
                match with {
                    End::Error(error) => Err(error),
                    End::Early => panic!("a save does not end early"),
                    End::Stall => std::future::pending().await,
                }
            }
            Fault::GiveUpSource(patience) => {
                let waited = tokio::time::timeout(patience, payload.into_stream().next()).await;
                assert!(waited.is_err(), "the source has sent something");
                std::future::pending().await
            }
            fault => {
                let (memory, key, options) = (self.memory.clone(), key.clone(), options.clone());
                let saving = async move { memory.save(&key, payload, &options).await };
                let in_task = self.saves_in_task;
                let saving = async move {
                    if in_task {
                        tokio::spawn(saving).await.map_err(io::Error::other)?
                    } else {
                        saving.await
                    }
                };
                Self::with_fault(fault, saving).await.map(|meta| self.shown(meta))
            }
        }
    }
}

type Items<T> = BoxStream<'static, Result<T>>;

fn key_of(text: &str) -> Key {
    Key::new(text).expect("the test names a valid key")
}

fn end_of<T: Send + 'static>(end: End) -> Items<T> {
    match end {
        End::Error(error) => stream::iter([Err(error)]).boxed(),
        End::Early => stream::empty().boxed(),
        End::Stall => stream::pending().boxed(),
    }
}

/// Creates a file that has no name any more.
fn temporary_file(bytes: &[u8]) -> io::Result<File> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("storage-testkit-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    io::Write::write_all(&mut file, bytes)?;
    Ok(file)
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

/// A call that is not completed.
struct UnderWay {
    shared: Arc<Mutex<Shared>>,
    is_completed: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.under_way -= 1;
        shared.abandoned += usize::from(!self.is_completed);
    }
}

/// A stream that is neither at its end nor dropped.
struct OpenStream(Arc<Mutex<Shared>>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).streams -= 1;
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
        let chunk_delay = self.chunk_delay;
        let payload = payload.map_stream(|chunks| {
            let paced = chunks.then(move |chunk| async move {
                tokio::time::sleep(chunk_delay).await;
                chunk
            });
            paced.boxed()
        });
        let result = self.save_with(fault, key, payload, options).await;
        under_way.is_completed = true;
        result
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let (fault, mut under_way) = self.begin(Operation::Open, &format!("{key} {options:?}"));
        let result = match fault {
            Fault::Stall => std::future::pending().await,
            Fault::Fail(error) | Fault::LoseResponse(error) => Err(error),
            Fault::GiveUpSource(_) => panic!("an open has no source"),
            Fault::Pass | Fault::Break { .. } => match self.find(key, options).await {
                Ok(object) => self.body_of(object, fault).await,
                Err(error) => Err(error),
            },
        };
        under_way.is_completed = true;
        result
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        let stat = async {
            match self.next_version() {
                Some((meta, _)) => Ok(meta),
                None => Ok(self.shown(self.memory.stat(key).await?)),
            }
        };
        self.call(Operation::Stat, key.to_string(), stat).await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        let exists = async {
            let has_versions = !self.shared().versions.is_empty();
            if has_versions { Ok(true) } else { self.memory.exists(key).await }
        };
        self.call(Operation::Exists, key.to_string(), exists).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.call(Operation::Delete, key.to_string(), self.memory.delete(key)).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        let names: Vec<_> = keys.iter().map(Key::as_str).collect();
        let mut under_way = self.enter(format!("delete_many {}", names.join(" ")));
        let mut results = Vec::new();
        for key in keys {
            let fault = self.next_fault(Operation::Delete);
            results.push(Self::with_fault(fault, self.memory.delete(key)).await);
        }
        results.truncate(self.max_results);
        under_way.is_completed = true;
        results
    }

    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()> {
        let delete = self.memory.delete_folder_marker(marker);
        self.call(Operation::Delete, marker.to_string(), delete).await
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
            let shown = this.clone();
            let entries =
                entries.map(move |entry| entry.map(|entry| shown.shown_entry(entry))).boxed();
            let entries: Items<Entry> = match fault {
                Fault::Stall => std::future::pending().await,
                Fault::Fail(error) | Fault::LoseResponse(error) => {
                    stream::iter([Err(error)]).boxed()
                }
                fault => this.streamed(entries, fault),
            };
            under_way.is_completed = true;
            entries
        };
        begin.flatten_stream().boxed()
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        let call = format!("{from} {to} {options:?}");
        self.call(Operation::Copy, call, self.memory.copy(from, to, options)).await
    }

    async fn rename(&self, from: &Key, to: &Key, options: &RenameOptions) -> Result<()> {
        let call = format!("{from} {to} {options:?}");
        self.call(Operation::Rename, call, self.memory.rename(from, to, options)).await
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        let url = format!("https://inner.example/{key}");
        let link = async { Ok(Link::public(url.parse().map_err(io::Error::other)?)) };
        self.call(Operation::Url, format!("{key} {options:?}"), link).await
    }

    fn link_verifier(&self) -> Result<LinkVerifier> {
        let key = SigningKey::new("the secret of the script")?;
        Ok(LinkVerifier::new(key).with_base("https://inner.example/".parse()?))
    }

    fn multipart(&self) -> Result<&dyn Multipart> {
        Err(Error::unsupported("a script has no multipart uploads"))
    }
}
