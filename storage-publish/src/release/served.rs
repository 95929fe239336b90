//! [`ServedRelease`]: the paths of the current release, for the service `Website`.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use storage_core::{ETag, Error, ErrorKind, Key, Result, Storage};
use storage_serve::website::{FindFuture, Found, Page, Paths};
use tokio::sync::Mutex;

use super::encodings::Encoding;
use super::manifest::{Manifest, ManifestEntry};
use super::pointer::{self, Pointer};
use crate::site::Naming;

/// How long a release is served before the pointer is read again.
const REFRESH_AFTER: Duration = Duration::from_secs(1);

/// The best encoding first.
const ENCODINGS: [Encoding; 3] = [Encoding::Brotli, Encoding::Zstd, Encoding::Gzip];

const INDEX: &str = "index.html";
const MISSING: &str = "404.html";

/// The paths of the release that a destination has, for
/// [`Website`](storage_serve::website::Website).
///
/// A release becomes visible as a whole: pages and other fixed names come from the copies that
/// belong to the current release. Names with a hash stay available while earlier releases have
/// them, for pages that a browser has already loaded. Nothing else of the destination is served.
///
/// | path | object |
/// |-|-|
/// | `docs/` | `docs/index.html` |
/// | `docs` | a redirect to `docs/`, if there is `docs/index.html` |
/// | `about` | `about.html`, if there is no `about` |
/// | any other | `404.html` with status 404, if there is one |
///
/// The pointer is read again when it is older than a second
/// ([`refresh_after`](Self::refresh_after)), by a conditional request that one visitor waits for. If
/// that fails, the loaded release stays and the log says why.
///
/// ```
/// use http::{Request, StatusCode};
/// use storage_publish::ServedRelease;
/// use storage_serve::website::Website;
///
/// # use storage_publish::testing;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let destination = storage_core::Memory::storage();
/// # let mut site = storage_publish::Site::default();
/// # site.assets.push(testing::page("index.html", b"hello"));
/// # storage_publish::publish(&site, &destination, &Default::default()).await?;
/// let website = Website::new(destination.clone(), ServedRelease::load(&destination).await?);
/// let request = Request::get("/").body(())?;
/// assert_eq!(website.handle(request).await.status(), StatusCode::OK);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ServedRelease {
    destination: Storage,
    state: RwLock<Arc<State>>,
    refresh_after: Duration,
    /// When the pointer was read. Locked while it is read again.
    checked: Mutex<Instant>,
}

/// The names of the current release and of those before.
#[derive(Debug)]
struct State {
    /// The version of the pointer.
    etag: Option<ETag>,
    /// The releases whose names these are.
    releases: Vec<String>,
    names: Arc<HashMap<String, Page>>,
}

impl ServedRelease {
    /// Loads the current release of a destination.
    ///
    /// # Errors
    /// `NotFound` if the destination has no release; those of [`Manifest::read`].
    pub async fn load(destination: &Storage) -> Result<Self> {
        let state = State::read(destination, None).await?;
        Ok(Self {
            destination: destination.clone(),
            state: RwLock::new(Arc::new(state)),
            refresh_after: REFRESH_AFTER,
            checked: Mutex::new(Instant::now()),
        })
    }

    /// Sets how long a release is served before the pointer is read again. Defaults to one second.
    #[must_use]
    pub fn refresh_after(mut self, time: Duration) -> Self {
        self.refresh_after = time;
        self
    }

    /// Returns the release, after a look whether it is still the current one.
    async fn current(&self) -> Arc<State> {
        // Other requests use the loaded release while one reads the pointer.
        if let Ok(mut checked) = self.checked.try_lock()
            && checked.elapsed() >= self.refresh_after
        {
            self.refresh().await;
            *checked = Instant::now();
        }
        self.loaded()
    }

    fn loaded(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn refresh(&self) {
        match State::read(&self.destination, Some(&self.loaded())).await {
            Ok(state) => {
                *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
            }
            Err(error) if error.is_not_modified() => {}
            Err(error) => {
                tracing::warn!(%error, "the current release cannot be read; the loaded one stays");
            }
        }
    }
}

impl State {
    /// Reads the pointer, and the manifests of its releases if they are others than before.
    ///
    /// # Errors
    /// `NotModified` if the pointer is still the version of `before`.
    async fn read(destination: &Storage, before: Option<&Self>) -> Result<Self> {
        let etag = before.and_then(|before| before.etag.as_ref());
        let read = pointer::read(destination, etag).await?;
        let releases = releases_of(&read.pointer)?;
        let names = match before {
            // A claim changed the pointer, but no release.
            Some(before) if before.releases == releases => Arc::clone(&before.names),
            _ => Arc::new(names_of(destination, &releases).await?),
        };
        Ok(Self { etag: read.etag, releases, names })
    }

    fn find(&self, path: &str) -> Found {
        let page = |name: &str| self.names.get(name).cloned();
        let in_directory = |directory: &str| format!("{directory}{INDEX}");
        if path.is_empty() || path.ends_with('/') {
            return found(page(&in_directory(path)), || page(MISSING));
        }
        if let Some(page) = page(path) {
            return Found::Page(page);
        }
        if self.names.contains_key(&in_directory(&format!("{path}/"))) {
            return Found::Directory;
        }
        found(page(&format!("{path}.html")), || page(MISSING))
    }
}

fn found(page: Option<Page>, missing: impl FnOnce() -> Option<Page>) -> Found {
    page.map_or_else(|| Found::Missing(missing()), Found::Page)
}

/// Returns the releases whose files may be there, the current one first.
fn releases_of(pointer: &Pointer) -> Result<Vec<String>> {
    let current = pointer.current_release().ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "the first publish to this destination is not complete")
    })?;
    let previous = pointer.previous.iter().map(|previous| previous.release.as_str());
    Ok([current].into_iter().chain(previous).map(str::to_owned).collect())
}

async fn names_of(destination: &Storage, releases: &[String]) -> Result<HashMap<String, Page>> {
    let mut names = HashMap::new();
    for (position, release) in releases.iter().enumerate() {
        let manifest = match Manifest::read(destination, release).await {
            // A release that ended long ago, or that was abandoned.
            Err(error) if position > 0 && error.is_not_found() => continue,
            manifest => manifest?,
        };
        for entry in manifest.entries.into_values() {
            // Fixed names of an earlier release are not part of this one.
            if (position == 0 || entry.naming != Naming::Fixed) && !names.contains_key(&entry.name)
            {
                let page = page_of(&entry)?;
                names.insert(entry.name, page);
            }
        }
    }
    Ok(names)
}

fn page_of(entry: &ManifestEntry) -> Result<Page> {
    let mut page = Page::new(Key::new(entry.stored.as_deref().unwrap_or(&entry.name))?);
    for encoding in ENCODINGS {
        if let Some(sibling) = entry.encodings.get(&encoding) {
            page = page.encoded(encoding.as_str(), Key::new(sibling.name.as_str())?);
        }
    }
    Ok(page)
}

impl Paths for ServedRelease {
    fn find<'a>(&'a self, path: &'a str) -> FindFuture<'a> {
        Box::pin(async move { Ok(self.current().await.find(path)) })
    }
}
