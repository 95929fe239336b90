//! A sound driver, and the trait [`Flaw`], which breaks it in one place.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use futures_util::TryStreamExt;
use storage_core::signed_url::SigningKey;
use storage_core::{
    Capabilities, CompleteOptions, CopyOptions, Driver, DriverInfo, DriverRef, EntryStream, Error,
    Key, Link, LinkBase, LinkVerifier, ListOptions, Memory, Multipart, MultipartLimits,
    MultipartOptions, Object, ObjectMeta, OpenOptions, Part, PartStream, PartUrlOptions, Payload,
    Prefix, RenameOptions, Result, SaveMode, SaveOptions, Storage, UploadId, UploadStream,
    UrlMethod, UrlOptions, async_trait,
};
use storage_testkit::extra_entries::{
    AROUND_UNREADABLE_DIRECTORY, BESIDE_FOLDER_MARKERS, ExtraEntries, FOLDER_MARKERS,
    UNREADABLE_DIRECTORY,
};
use storage_testkit::{Harness, Outcome, case};

/// The memory driver, with links.
#[derive(Debug, Clone)]
pub(crate) struct Sound {
    pub(crate) memory: Memory,
    /// The same driver, with extra entries in its listings.
    pub(crate) foreign: ExtraEntries,
}

impl Default for Sound {
    fn default() -> Self {
        Self::with(|foreign| foreign)
    }
}

impl Sound {
    fn with(leave: impl FnOnce(ExtraEntries) -> ExtraEntries) -> Self {
        let memory = Memory::new();
        let foreign = leave(ExtraEntries::new(Arc::new(memory.clone())));
        Self { memory, foreign }
    }

    /// Creates a driver with objects.
    async fn holding(leave: impl FnOnce(ExtraEntries) -> ExtraEntries, keys: &[&str]) -> Self {
        let sound = Self::with(leave);
        for key in keys {
            Storage::new(sound.memory.clone()).save(*key, "x").await.unwrap();
        }
        sound
    }

    pub(crate) fn signer() -> Result<SigningKey> {
        SigningKey::new("a secret for tests")
    }

    pub(crate) fn base() -> url::Url {
        "https://media.example.com/files/".parse().unwrap()
    }

    pub(crate) fn link(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        if options.method == UrlMethod::Post {
            return Self::form(key, options);
        }
        if options.expires_in.is_some() {
            return Self::signer()?.sign(&Self::base().try_into()?, key, options);
        }
        match options.method {
            UrlMethod::Put | UrlMethod::Post => {
                Err(Error::unsupported("a link for PUT needs expires_in"))
            }
            _ => Ok(LinkBase::try_from(Self::base())?.link(key)),
        }
    }

    /// Like a form of S3, with a policy in plain text.
    fn form(key: &Key, options: &UrlOptions) -> Result<Link> {
        let (from, lifetime) = options.signing_window(SystemTime::now())?;
        let mut form = Link::signed(Self::base(), UrlMethod::Post, from + lifetime);
        let name = if options.any_name { "/${filename}" } else { "" };
        let policy = format!(
            "{:?} {:?} {:?} {:?}",
            form.expires_at, options.content_type, options.content_length_range, options.any_name
        );
        form.fields =
            vec![("key".to_owned(), format!("{key}{name}")), ("policy".to_owned(), policy)];
        Ok(form)
    }

    pub(crate) fn with_links() -> Capabilities {
        let mut capabilities = Capabilities::full();
        capabilities.public_url = true;
        capabilities.signed_get = true;
        capabilities.signed_put = true;
        capabilities.signed_post = true;
        capabilities
    }
}

/// A flaw of one verb. The default methods are sound.
#[async_trait]
pub(crate) trait Flaw: Default + Send + Sync + 'static {
    fn capabilities(&self) -> Capabilities {
        Sound::with_links()
    }

    async fn save(
        &self,
        inner: &Sound,
        key: &Key,
        payload: Payload,
        options: &SaveOptions,
    ) -> Result<ObjectMeta> {
        inner.memory.save(key, payload, options).await
    }

    async fn open(&self, inner: &Sound, key: &Key, options: &OpenOptions) -> Result<Object> {
        inner.memory.open(key, options).await
    }

    async fn stat(&self, inner: &Sound, key: &Key) -> Result<ObjectMeta> {
        inner.memory.stat(key).await
    }

    async fn exists(&self, inner: &Sound, key: &Key) -> Result<bool> {
        inner.memory.exists(key).await
    }

    async fn delete(&self, inner: &Sound, key: &Key) -> Result<()> {
        inner.memory.delete(key).await
    }

    async fn delete_many(&self, inner: &Sound, keys: &[Key]) -> Vec<Result<()>> {
        let mut results = Vec::new();
        for key in keys {
            results.push(self.delete(inner, key).await);
        }
        results
    }

    async fn delete_folder_marker(&self, inner: &Sound, marker: &Prefix) -> Result<()> {
        inner.foreign.delete_folder_marker(marker).await
    }

    fn list(&self, inner: &Sound, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        inner.foreign.list(prefix, options)
    }

    async fn copy(&self, inner: &Sound, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        inner.memory.copy(from, to, options).await
    }

    async fn rename(
        &self,
        inner: &Sound,
        from: &Key,
        to: &Key,
        options: &RenameOptions,
    ) -> Result<()> {
        inner.memory.rename(from, to, options).await
    }

    async fn url(&self, inner: &Sound, key: &Key, options: &UrlOptions) -> Result<Link> {
        inner.link(key, options)
    }

    fn link_verifier(&self) -> Result<LinkVerifier> {
        Ok(LinkVerifier::new(Sound::signer()?).with_base(Sound::base().try_into()?))
    }

    fn limits(&self) -> MultipartLimits {
        Memory::new().limits()
    }

    async fn begin(
        &self,
        inner: &Sound,
        key: &Key,
        options: &MultipartOptions,
    ) -> Result<UploadId> {
        inner.memory.begin(key, options).await
    }

    async fn put_part(
        &self,
        inner: &Sound,
        key: &Key,
        id: &UploadId,
        number: u32,
        payload: Payload,
    ) -> Result<Part> {
        inner.memory.put_part(key, id, number, payload).await
    }

    fn parts(&self, inner: &Sound, key: &Key, id: &UploadId) -> PartStream {
        inner.memory.parts(key, id)
    }

    async fn complete(
        &self,
        inner: &Sound,
        key: &Key,
        id: &UploadId,
        options: &CompleteOptions,
    ) -> Result<ObjectMeta> {
        inner.memory.complete(key, id, options).await
    }

    async fn abort(&self, inner: &Sound, key: &Key, id: &UploadId) -> Result<()> {
        inner.memory.abort(key, id).await
    }

    fn uploads(&self, inner: &Sound, prefix: &Prefix) -> UploadStream {
        inner.memory.uploads(prefix)
    }

    /// See [`Harness::broken_backend`].
    fn broken_backend() -> Option<Storage> {
        None
    }

    /// The driver's name.
    const NAME: &'static str = "broken";

    /// See [`Harness::is_tree`].
    const TREE: bool = false;

    /// Whether the harness states that objects are outside of memory, so that the case about memory
    /// applies.
    const OUTSIDE_MEMORY: bool = false;
}

/// No flaw.
#[derive(Default)]
pub(crate) struct Flawless;

impl Flaw for Flawless {}

/// A driver with a flaw.
pub(crate) struct Broken<F> {
    flaw: F,
    inner: Sound,
}

impl<F> fmt::Debug for Broken<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Broken")
    }
}

#[async_trait]
impl<F: Flaw> Driver for Broken<F> {
    fn info(&self) -> DriverInfo {
        DriverInfo::new(F::NAME, "broken:", self.flaw.capabilities())
    }

    fn innermost(&self) -> Result<DriverRef<'_>> {
        Ok(DriverRef::new(self))
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        self.flaw.save(&self.inner, key, payload, options).await
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        self.flaw.open(&self.inner, key, options).await
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        self.flaw.stat(&self.inner, key).await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        self.flaw.exists(&self.inner, key).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.flaw.delete(&self.inner, key).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        self.flaw.delete_many(&self.inner, keys).await
    }

    async fn delete_folder_marker(&self, marker: &Prefix) -> Result<()> {
        self.flaw.delete_folder_marker(&self.inner, marker).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        self.flaw.list(&self.inner, prefix, options)
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        self.flaw.copy(&self.inner, from, to, options).await
    }

    async fn rename(&self, from: &Key, to: &Key, options: &RenameOptions) -> Result<()> {
        self.flaw.rename(&self.inner, from, to, options).await
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        self.flaw.url(&self.inner, key, options).await
    }

    fn link_verifier(&self) -> Result<LinkVerifier> {
        self.flaw.link_verifier()
    }

    fn multipart(&self) -> Result<&dyn Multipart> {
        Ok(self)
    }
}

#[async_trait]
impl<F: Flaw> Multipart for Broken<F> {
    fn limits(&self) -> MultipartLimits {
        self.flaw.limits()
    }

    async fn begin(&self, key: &Key, options: &MultipartOptions) -> Result<UploadId> {
        self.flaw.begin(&self.inner, key, options).await
    }

    async fn put_part(
        &self,
        key: &Key,
        id: &UploadId,
        number: u32,
        payload: Payload,
    ) -> Result<Part> {
        self.flaw.put_part(&self.inner, key, id, number, payload).await
    }

    fn parts(&self, key: &Key, id: &UploadId) -> PartStream {
        self.flaw.parts(&self.inner, key, id)
    }

    async fn complete(
        &self,
        key: &Key,
        id: &UploadId,
        options: &CompleteOptions,
    ) -> Result<ObjectMeta> {
        self.flaw.complete(&self.inner, key, id, options).await
    }

    async fn abort(&self, key: &Key, id: &UploadId) -> Result<()> {
        self.flaw.abort(&self.inner, key, id).await
    }

    fn uploads(&self, prefix: &Prefix) -> UploadStream {
        self.flaw.uploads(&self.inner, prefix)
    }

    async fn part_url(
        &self,
        key: &Key,
        id: &UploadId,
        number: u32,
        options: &PartUrlOptions,
    ) -> Result<Link> {
        self.inner.memory.part_url(key, id, number, options).await
    }
}

/// A harness that makes drivers with a flaw.
pub(crate) struct Of<F>(std::marker::PhantomData<fn() -> F>);

impl<F> Default for Of<F> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

#[async_trait]
impl<F: Flaw> Harness for Of<F> {
    async fn storage(&self) -> Storage {
        Storage::new(Broken { flaw: F::default(), inner: Sound::default() })
    }

    fn keeps_bodies_in_memory(&self) -> bool {
        !F::OUTSIDE_MEMORY
    }

    fn multipart_limits(&self) -> Option<MultipartLimits> {
        Some(Memory::new().limits())
    }

    fn is_tree(&self) -> bool {
        F::TREE
    }

    async fn broken_backend(&self) -> Option<Storage> {
        F::broken_backend()
    }

    async fn folder_markers(&self) -> Option<Storage> {
        let leave = |foreign: ExtraEntries| {
            FOLDER_MARKERS.iter().fold(foreign, |it, name| it.folder_marker(*name))
        };
        let inner = Sound::holding(leave, BESIDE_FOLDER_MARKERS).await;
        Some(Storage::new(Broken { flaw: F::default(), inner }))
    }

    async fn unreadable_directory(&self) -> Option<Storage> {
        let leave = |foreign: ExtraEntries| foreign.unreadable_directory(UNREADABLE_DIRECTORY);
        let inner = Sound::holding(leave, AROUND_UNREADABLE_DIRECTORY).await;
        Some(Storage::new(Broken { flaw: F::default(), inner }))
    }

    fn secrets(&self) -> Vec<String> {
        vec!["hunter2".to_owned()]
    }
}

/// How often a case of random operations runs until it detects a flaw. The sequences of one run may
/// all miss a flaw that needs a rare one.
const RANDOM_RUNS: usize = 30;

/// Asserts that each of the cases detects the flaw. The suite on [`Flawless`] proves that they pass
/// without it.
#[track_caller]
pub(crate) fn caught<F: Flaw>(cases: &[&str]) {
    for name in cases {
        let runs = if name.starts_with("property::") { RANDOM_RUNS } else { 1 };
        let outcome = (0..runs)
            .map(|_| case(name).run(Of::<F>::default()))
            .find(|outcome| !matches!(outcome, Outcome::Passed))
            .unwrap_or(Outcome::Passed);
        assert!(
            matches!(outcome, Outcome::Failed(_)),
            "{name} does not detect the flaw: {outcome:?}"
        );
    }
}

/// All chunks of a payload up to its end or its error.
pub(crate) async fn read(payload: Payload) -> (Vec<u8>, Option<Error>) {
    let mut chunks = payload.into_stream();
    let mut bytes = Vec::new();
    loop {
        match chunks.try_next().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return (bytes, None),
            Err(error) => return (bytes, Some(error)),
        }
    }
}

/// The same options with another mode.
pub(crate) fn in_mode(options: &SaveOptions, mode: SaveMode) -> SaveOptions {
    let mut options = options.clone();
    options.mode = mode;
    options
}

/// The state of a flaw for each key.
pub(crate) type Notes<T> = Mutex<HashMap<Key, T>>;

/// A flaw of `save` alone.
macro_rules! flawed_save {
    ($flaw:ident, |$self:ident, $inner:ident, $key:ident, $payload:ident, $options:ident| $body:expr) => {
        #[storage_core::async_trait]
        impl $crate::flaw::Flaw for $flaw {
            async fn save(
                &self,
                $inner: &$crate::flaw::Sound,
                $key: &storage_core::Key,
                $payload: storage_core::Payload,
                $options: &storage_core::SaveOptions,
            ) -> storage_core::Result<storage_core::ObjectMeta> {
                let $self = self;
                $body
            }
        }
    };
}

pub(crate) use flawed_save;
