//! [`Fs`]: the driver. Each verb is at most one trip to the blocking pool, but for streams.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use storage_core::signed_url::SigningKey;
use storage_core::{
    Capabilities, CopyOptions, Driver, DriverInfo, DriverRef, EntryStream, Error, Key, Link,
    LinkBase, ListOptions, Object, ObjectMeta, OpenOptions, Payload, Prefix, Result, SaveOptions,
    UrlMethod, UrlOptions, async_trait,
};

use crate::config::{CreateMode, FsBuilder, MetadataStore};
use crate::locks::Locks;
use crate::root::Root;
use crate::staging::{SWEEP_AGE, Staging};
use crate::{blocking, cached, copy, delete, list, open, save};

/// Keeps objects as files below a directory. See the [crate's documentation](crate).
///
/// Clones share the root. Needs a Tokio runtime.
#[derive(Clone)]
pub struct Fs {
    shared: Arc<Shared>,
}

/// What all verbs need.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) root: Arc<Root>,
    pub(crate) staging: Staging,
    pub(crate) locks: Locks,
    pub(crate) durable: bool,
    pub(crate) file_mode: CreateMode,
    pub(crate) metadata: MetadataStore,
    public_url: Option<LinkBase>,
    signing_key: Option<SigningKey>,
}

impl Fs {
    /// How to set up the driver on a directory.
    #[must_use]
    pub fn builder(root: impl Into<std::path::PathBuf>) -> FsBuilder {
        FsBuilder::new(root)
    }

    pub(crate) fn open(builder: FsBuilder) -> Result<Self> {
        let (file_mode, dir_mode) = builder.create_modes();
        let root =
            Arc::new(Root::open(&builder.root, builder.create_root, dir_mode, builder.durable)?);
        let shared = Shared {
            staging: Staging::new(Arc::clone(&root)),
            locks: Locks::new(Arc::clone(&root), builder.remove_locks),
            root,
            durable: builder.durable,
            file_mode,
            metadata: builder.metadata,
            public_url: builder.public_url,
            signing_key: builder.signing_key,
        };
        if let Err(error) = shared.staging.sweep(SWEEP_AGE) {
            tracing::debug!(root = %shared.root.path().display(), %error, "the staging directory could not be swept");
        }
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Removes what killed processes have left in the staging directory, if it is older than `age`
    /// and no living process holds it; answers how many files. The driver does so itself, with an
    /// hour, when it is set up, and every hour in which it stages files there.
    ///
    /// # Errors
    /// What the operating system says.
    pub async fn sweep(&self, age: Duration) -> Result<usize> {
        self.run(move |shared, _| shared.staging.sweep(age)).await
    }

    async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Shared, &blocking::Waiting) -> Result<T> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        blocking::run(move |waiting| work(&shared, waiting)).await
    }
}

impl fmt::Debug for Fs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fs").field("root", &self.shared.root.path()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Driver for Fs {
    fn info(&self) -> DriverInfo {
        let has_public_url = self.shared.public_url.is_some();
        let can_sign = has_public_url && self.shared.signing_key.is_some();
        let mut capabilities = Capabilities::full();
        capabilities.public_url = has_public_url;
        capabilities.signed_get = can_sign;
        capabilities.signed_put = can_sign;
        DriverInfo::new("fs", self.shared.root.path().display().to_string(), capabilities)
    }

    fn innermost(&self) -> Result<DriverRef<'_>> {
        Ok(DriverRef::new(self))
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        save::save(Arc::clone(&self.shared), key, payload, options).await
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        self.shared.root.check(key)?;
        if let Some(opened) = cached::open(&self.shared, key, options) {
            return opened;
        }
        let (key, options) = (key.clone(), options.clone());
        self.run(move |shared, _| open::open(shared, &key, &options)).await
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        self.shared.root.check(key)?;
        if let Some(meta) = cached::stat(&self.shared, key) {
            return Ok(meta);
        }
        let key = key.clone();
        self.run(move |shared, _| open::stat(shared, &key)).await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        self.shared.root.check(key)?;
        if cached::exists(&self.shared, key) {
            return Ok(true);
        }
        let key = key.clone();
        self.run(move |shared, _| open::exists(shared, &key)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.shared.root.check(key)?;
        let key = key.clone();
        self.run(move |shared, _| delete::delete(shared, &key)).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        storage_core::delete_one_by_one(self, keys).await
    }

    /// Has no folder markers: a directory without a file is no entry of a listing.
    async fn delete_folder_marker(&self, _marker: &Prefix) -> Result<()> {
        Ok(())
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        list::list(&self.shared, prefix, options)
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        self.shared.root.check(from)?;
        self.shared.root.check_new(to)?;
        let (from, to, options) = (from.clone(), to.clone(), options.clone());
        self.run(move |shared, waiting| copy::copy(shared, &from, &to, &options, waiting)).await
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        self.shared.root.check(key)?;
        let Some(base) = &self.shared.public_url else {
            return Err(Error::unsupported(
                "no links without public_url: name the web server that shows the root",
            ));
        };
        match (options.expires_in, &self.shared.signing_key) {
            (Some(_), Some(signing_key)) => signing_key.sign(base, key, options),
            (Some(_), None) => Err(Error::unsupported("signed links need signing_key")),
            (None, _) => {
                let mut link = base.link(key);
                link.method = if options.method == UrlMethod::Head {
                    UrlMethod::Head
                } else {
                    UrlMethod::Get
                };
                Ok(link)
            }
        }
    }
}
