//! [`ServedRelease`]: the paths of the current release, for the service `Website`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use storage_core::{ETag, Error, ErrorKind, Key, Result, Storage};
use storage_serve::website::{Expected, FindFuture, Found, Page, Paths};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::encodings::Encoding;
use super::manifest::{Manifest, ManifestEntry};
use super::pointer::{self, Pointer};
use super::rules::PLAIN_SHA256;
use crate::site::Naming;

/// How long a release is served before the pointer is read again.
const REFRESH_AFTER: Duration = Duration::from_secs(1);

/// Upper bound for the time that a visitor waits for the pointer while a release is loaded.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(5);

/// The minimum time between two looks for paths that the loaded release lacks.
const MISS_PAUSE: Duration = Duration::from_millis(100);

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
/// ([`refresh_after`](Self::refresh_after)), by a conditional request that one visitor waits for.
/// If that fails, or takes more than 5 seconds, the loaded release stays and the log says why.
///
/// The pointer is also read again for a path that the loaded release lacks, because another server
/// may already show pages of a later release. All visitors share these requests, at most ten a
/// second.
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
    /// `None` until a release could be read.
    state: RwLock<Option<Arc<State>>>,
    refresh_after: Duration,
    /// The last look for a release. Locked during a look.
    looked: Mutex<Option<Look>>,
}

/// A look for the current release, for the requests that share it.
#[derive(Debug)]
struct Look {
    began: Instant,
    /// Why no release is loaded.
    error: Option<(ErrorKind, String)>,
}

/// The names of the current release and of those before.
#[derive(Debug)]
struct State {
    /// The version of the pointer.
    etag: Option<ETag>,
    /// The releases whose names these are.
    releases: Vec<String>,
    names: Arc<HashMap<String, Name>>,
}

/// What is served under a name.
#[derive(Clone, Debug)]
struct Name {
    page: Page,
    /// The newest release that has the name.
    release: Arc<str>,
    is_fixed: bool,
}

impl ServedRelease {
    /// Loads the current release of a destination.
    ///
    /// # Errors
    /// `NotFound` if the destination has no release; those of [`Manifest::read`].
    pub async fn load(destination: &Storage) -> Result<Self> {
        let release = Self::on_demand(destination);
        release.look(Instant::now()).await?;
        Ok(release)
    }

    /// Returns the paths of a destination whose release is loaded by the first request, for servers
    /// that start before the destination can be reached or has a release. Until one is loaded, each
    /// request gets the error of [`load`](Self::load).
    #[must_use]
    pub fn on_demand(destination: &Storage) -> Self {
        Self {
            destination: destination.clone(),
            state: RwLock::new(None),
            refresh_after: REFRESH_AFTER,
            looked: Mutex::new(None),
        }
    }

    /// Sets how long a release is served before the pointer is read again. Defaults to one second.
    #[must_use]
    pub fn refresh_after(mut self, time: Duration) -> Self {
        self.refresh_after = time;
        self
    }

    /// Returns the release, after a look whether it is still the current one.
    async fn current(&self) -> Result<Arc<State>> {
        let Some(loaded) = self.loaded() else { return self.look(Instant::now()).await };
        let is_due = |looked: &Option<Look>| {
            looked.as_ref().is_none_or(|look| look.began.elapsed() >= self.refresh_after)
        };
        // Other requests use the loaded release while one reads the pointer.
        match self.looked.try_lock() {
            Ok(mut looked) if is_due(&looked) => self.refresh(&mut looked).await,
            _ => Ok(loaded),
        }
    }

    /// Returns the release by a look that began after `asked`. Requests that wait share a look.
    async fn look(&self, asked: Instant) -> Result<Arc<State>> {
        let mut looked = self.looked.lock().await;
        let Some(look) = &*looked else { return self.refresh(&mut looked).await };
        if look.began < asked {
            tokio::time::sleep_until(look.began + MISS_PAUSE.min(self.refresh_after)).await;
            return self.refresh(&mut looked).await;
        }
        match (self.loaded(), &look.error) {
            (Some(loaded), _) => Ok(loaded),
            (None, Some((kind, message))) => Err(Error::new(*kind, message.clone())),
            (None, None) => Err(Error::not_found()),
        }
    }

    fn loaded(&self) -> Option<Arc<State>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Loads the current release. If that fails, returns the one that is loaded. A look whose
    /// future is dropped does not count.
    async fn refresh(&self, looked: &mut Option<Look>) -> Result<Arc<State>> {
        let (began, loaded) = (Instant::now(), self.loaded());
        let read = State::read(&self.destination, loaded.as_deref()).await;
        let look = looked.insert(Look { began, error: None });
        match (read, loaded) {
            (Ok(state), _) => {
                let state = Arc::new(state);
                let current = Some(Arc::clone(&state));
                *self.state.write().unwrap_or_else(PoisonError::into_inner) = current;
                Ok(state)
            }
            (Err(error), Some(loaded)) => {
                if !error.is_not_modified() {
                    tracing::warn!(%error, "cannot read the current release; the loaded one stays");
                }
                Ok(loaded)
            }
            (Err(error), None) => {
                tracing::warn!(%error, "cannot read the current release");
                look.error = Some((error.kind(), error.message().to_owned()));
                Err(error)
            }
        }
    }
}

impl State {
    /// Reads the pointer, and the manifests of the releases that were not read before.
    ///
    /// # Errors
    /// `NotModified` if the pointer is still the version of `before`.
    async fn read(destination: &Storage, before: Option<&Self>) -> Result<Self> {
        let etag = before.and_then(|before| before.etag.as_ref());
        let read = pointer::read(destination, etag);
        let read = match before {
            None => read.await?,
            // A visitor waits, and there is a release to show.
            Some(_) => tokio::time::timeout(REFRESH_TIMEOUT, read)
                .await
                .map_err(|_| Error::new(ErrorKind::Timeout, "no response within 5 seconds"))??,
        };
        let releases = releases_of(&read.pointer)?;
        let names = match before {
            // A claim changed the pointer, but no release.
            Some(before) if before.releases == releases => Arc::clone(&before.names),
            _ => Arc::new(names_of(destination, &releases, before).await?),
        };
        Ok(Self { etag: read.etag, releases, names })
    }

    fn find(&self, path: &str) -> Found {
        let page = |name: &str| self.names.get(name).map(|name| name.page.clone());
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

/// Returns the names of the releases. Takes names with a hash from the state before, because they
/// never change, and reads the manifests of the current release and of those whose names it may
/// lack.
async fn names_of(
    destination: &Storage,
    releases: &[String],
    before: Option<&State>,
) -> Result<HashMap<String, Name>> {
    let mut names = HashMap::new();
    let known = before.map_or(&[][..], |before| releases_with_all_names(before, releases));
    for (position, release) in releases.iter().enumerate() {
        if position > 0 && known.contains(release) {
            continue;
        }
        let manifest = match Manifest::read(destination, release).await {
            Err(error) if position > 0 && is_lost(&error) => {
                tracing::debug!(%error, release, "an earlier release has no manifest");
                continue;
            }
            manifest => manifest?,
        };
        let release: Arc<str> = release.as_str().into();
        for entry in manifest.entries.into_values() {
            let is_fixed = entry.naming == Naming::Fixed;
            // Fixed names of an earlier release are not part of this one.
            if (position == 0 || !is_fixed) && !names.contains_key(&entry.name) {
                let (page, release) = (page_of(&entry)?, Arc::clone(&release));
                names.insert(entry.name, Name { page, release, is_fixed });
            }
        }
    }
    let listed: HashSet<&str> = releases.iter().map(String::as_str).collect();
    for (name, known) in before.iter().flat_map(|before| before.names.iter()) {
        if !known.is_fixed && listed.contains(&*known.release) && !names.contains_key(name) {
            names.insert(name.clone(), known.clone());
        }
    }
    Ok(names)
}

/// Returns the releases of a state before the first one that is no longer listed. A name belongs to
/// the first release that has it, so the later ones may have names that the state does not show as
/// theirs.
fn releases_with_all_names<'a>(state: &'a State, listed: &[String]) -> &'a [String] {
    let is_unlisted = |release: &String| !listed.contains(release);
    let end = state.releases.iter().position(is_unlisted).unwrap_or(state.releases.len());
    &state.releases[..end]
}

/// Returns whether an earlier release cannot be read later either: it ended long ago, it was
/// abandoned, or its manifest is damaged.
fn is_lost(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Integrity | ErrorKind::Unsupported)
}

fn page_of(entry: &ManifestEntry) -> Result<Page> {
    let mut page = Page::new(Key::new(entry.stored.as_deref().unwrap_or(&entry.name))?);
    for encoding in ENCODINGS {
        if let Some(sibling) = entry.encodings.get(&encoding) {
            let expected =
                Expected::new(PLAIN_SHA256, entry.sha256.to_string()).or_etag(sibling.etag.clone());
            let key = Key::new(sibling.name.as_str())?;
            page = page.encoded_if(encoding.as_str(), key, expected);
        }
    }
    Ok(page)
}

impl Paths for ServedRelease {
    fn find<'a>(&'a self, path: &'a str) -> FindFuture<'a> {
        Box::pin(async move {
            let asked = Instant::now();
            let found = self.current().await?.find(path);
            match found {
                Found::Missing(_) => Ok(self.look(asked).await?.find(path)),
                found => Ok(found),
            }
        })
    }
}
