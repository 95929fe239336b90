//! [`Generated`]: the driver. It only reads.

use std::sync::Arc;

use anystorage::config::{Options, byte_size};
use anystorage::{
    Capabilities, CopyOptions, Driver, DriverInfo, DriverRef, EntryStream, Error, ErrorKind, Key,
    Link, LinkVerifier, ListOptions, Multipart, Object, ObjectMeta, OpenOptions, Payload, Prefix,
    Registry, RenameOptions, Result, SaveOptions, UrlOptions, async_trait,
};
use futures_util::{StreamExt, stream};

use crate::bodies::Bodies;
use crate::listing::Listing;
use crate::objects::{MAX_COUNT, Objects};

/// How many entries a listing yields before it lets other tasks run, as one over a network does.
const PAGE: usize = 1000;

anystorage::options! {
    /// The options of the driver `generated`.
    #[derive(Debug)]
    pub(crate) struct GeneratedOptions {
        /// How many objects there are, up to 1000000000.
        pub(crate) count: u64 => "integer", required;
        /// The size of each object.
        #[serde(default = "default_size", deserialize_with = "byte_size::deserialize")]
        pub(crate) size: u64 => "size", default "4KiB";
        /// How many of the first objects have `large_size` instead.
        #[serde(default)]
        pub(crate) large_count: u64 => "integer", default 0;
        /// The size of each of the first objects.
        #[serde(default, deserialize_with = "byte_size::deserialize")]
        pub(crate) large_size: u64 => "size", default 0;
        /// A number that decides all bytes and ETags.
        #[serde(default)]
        pub(crate) seed: u64 => "integer", default 0;
    }
}

fn default_size() -> u64 {
    4096
}

/// Registers the driver and its URLs, `generated:?count=1000`.
pub(crate) fn register(registry: &mut Registry) {
    registry.register("generated", |options: GeneratedOptions, _context| {
        Ok(Arc::new(Generated::new(&options)?))
    });
    registry.register_scheme("generated", "generated", "generated:?count=N", |url| {
        if url.path().is_empty() && !url.has_authority() {
            return Ok(Options::new());
        }
        Err(Error::config("a generated URL is generated: and options, as in generated:?count=1000"))
    });
}

/// A storage of objects that are computed.
#[derive(Debug)]
pub(crate) struct Generated {
    objects: Objects,
    bodies: Bodies,
}

impl Generated {
    pub(crate) fn new(options: &GeneratedOptions) -> Result<Self> {
        let &GeneratedOptions { count, size, large_count, large_size, seed } = options;
        if count > MAX_COUNT {
            return Err(Error::config(format!("option count: choose at most {MAX_COUNT}")));
        }
        let objects = Objects { count, size, large_count, large_size, seed };
        Ok(Self { objects, bodies: Bodies::new(seed) })
    }

    fn number(&self, key: &Key) -> Result<u64> {
        self.objects.number(key).ok_or_else(Error::not_found)
    }
}

fn refused<T>() -> Result<T> {
    Err(Error::new(ErrorKind::PermissionDenied, "generated objects cannot be changed"))
}

#[async_trait]
impl Driver for Generated {
    fn info(&self) -> DriverInfo {
        let mut capabilities = Capabilities::read_only();
        capabilities.list = true;
        let count = self.objects.count;
        DriverInfo::new("generated", format!("generated:?count={count}"), capabilities)
    }

    fn innermost(&self) -> Result<DriverRef<'_>> {
        Ok(DriverRef::new(self))
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let number = self.number(key)?;
        let meta = self.objects.meta(number)?;
        options.check(&meta)?;
        let range = options.range.map_or(Ok(0..meta.size), |range| range.resolve(meta.size))?;
        let chunks = self.bodies.clone().chunks(number, range.clone());
        Ok(Object::from_stream(meta, range, stream::iter(chunks.map(Ok))))
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        self.objects.meta(self.number(key)?)
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        Ok(self.objects.number(key).is_some())
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        let listing = Listing::new(self.objects.clone(), prefix.clone(), options.clone());
        let pages = stream::unfold(listing, |mut listing| async move {
            let page: Vec<_> = listing.by_ref().take(PAGE).collect();
            tokio::task::yield_now().await;
            (!page.is_empty()).then(|| (stream::iter(page), listing))
        });
        pages.flatten().boxed()
    }

    async fn save(&self, _: &Key, _: Payload, _: &SaveOptions) -> Result<ObjectMeta> {
        refused()
    }

    async fn delete(&self, _key: &Key) -> Result<()> {
        refused()
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        keys.iter().map(|_| refused()).collect()
    }

    async fn delete_folder_marker(&self, _marker: &Prefix) -> Result<()> {
        refused()
    }

    async fn copy(&self, _from: &Key, _to: &Key, _options: &CopyOptions) -> Result<()> {
        refused()
    }

    async fn rename(&self, _from: &Key, _to: &Key, _options: &RenameOptions) -> Result<()> {
        refused()
    }

    async fn url(&self, _key: &Key, _options: &UrlOptions) -> Result<Link> {
        Err(Error::unsupported("generated objects have no links"))
    }

    fn link_verifier(&self) -> Result<LinkVerifier> {
        Err(Error::unsupported("generated objects have no links"))
    }

    fn multipart(&self) -> Result<&dyn Multipart> {
        Err(Error::unsupported("generated objects cannot be changed"))
    }
}
