//! [`Assets`]: the published names of files, for the pages that an application renders.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use storage_core::internal::escape_html;
use storage_core::{ETag, Error, ErrorKind, Key, Result, Storage, content_type};

use super::manifest::{Manifest, ManifestEntry};
use super::pointer;

/// Characters of names that are escaped in the path of a URL (URL Standard, path percent-encode
/// set), with `%` itself.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'%')
    .add(b'\\');

/// The published names of files, for the pages that an application renders. Cheap to clone; all
/// clones share the loaded release.
///
/// ```
/// use storage_publish::{Assets, Manifest};
///
/// let manifest = Manifest::from_json(br#"{
///   "format": 1,
///   "release": "20261128T081500Z-k3f9x2ma",
///   "created": "2026-11-28T08:15:00Z",
///   "entries": {
///     "css/site.css": {
///       "name": "css/site.2cf24dba5fb0a30e.css",
///       "naming": "hashed",
///       "size": 5,
///       "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
///       "metadata": { "content_type": "text/css" }
///     }
///   }
/// }"#)?;
/// let assets = Assets::embedded(&manifest, "/static/");
/// assert_eq!(&*assets.url("css/site.css")?, "/static/css/site.2cf24dba5fb0a30e.css");
/// assert!(assets.url("css/sight.css").is_err());
/// # Ok::<(), storage_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Assets(Arc<Mode>);

#[derive(Debug)]
enum Mode {
    /// The release that a destination has.
    Loaded {
        destination: Storage,
        base: String,
        state: RwLock<Loaded>,
    },
    Embedded {
        release: String,
        names: Names,
    },
    Development {
        directory: PathBuf,
        base: String,
    },
}

#[derive(Debug)]
struct Loaded {
    release: String,
    /// The version of the pointer.
    etag: Option<ETag>,
    names: Arc<Names>,
}

type Names = HashMap<Box<str>, Name>;

#[derive(Debug, Clone)]
struct Name {
    url: Arc<str>,
    integrity: Arc<str>,
    preload: Arc<str>,
}

impl Assets {
    /// Loads the current release of a destination that is served at `/`. Strict: an unknown name is
    /// an error.
    ///
    /// # Errors
    /// `NotFound` if the destination has no release; those of [`Manifest::read`].
    pub async fn load(destination: &Storage) -> Result<Self> {
        Self::load_at(destination, "/").await
    }

    /// Loads the current release of a destination that is served at this path or URL:
    /// `/static/`, `https://cdn.example.com/`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn load_at(destination: &Storage, base: &str) -> Result<Self> {
        let base = with_slash(base);
        let state = RwLock::new(read_current(destination, &base, None, None).await?);
        Ok(Self(Arc::new(Mode::Loaded { destination: destination.clone(), base, state })))
    }

    /// Uses a manifest that was embedded when the program was built. Strict as
    /// [`load`](Self::load); [`refresh`](Self::refresh) changes nothing.
    #[must_use]
    pub fn embedded(manifest: &Manifest, base: &str) -> Self {
        let names = names_of(manifest, &with_slash(base));
        Self(Arc::new(Mode::Embedded { release: manifest.release.clone(), names }))
    }

    /// Passes names through, for development: files are served from the directory as they are, and
    /// have no integrity. A name without a file is an error, as it is after publishing.
    #[must_use]
    pub fn development(directory: impl AsRef<Path>) -> Self {
        Self::development_at(directory, "/")
    }

    /// Passes names through, for a directory that is served at this path or URL.
    #[must_use]
    pub fn development_at(directory: impl AsRef<Path>, base: &str) -> Self {
        let (directory, base) = (directory.as_ref().to_owned(), with_slash(base));
        Self(Arc::new(Mode::Development { directory, base }))
    }

    /// Returns the URL of a file, by its path in the directory that was published.
    ///
    /// # Errors
    /// `NotFound` if the release has no such file.
    pub fn url(&self, path: &str) -> Result<Arc<str>> {
        if let Mode::Development { directory, base } = &*self.0 {
            check_file(directory, path)?;
            return Ok(Arc::from(url_of(base, path)));
        }
        self.find(path, |name| Arc::clone(&name.url))
    }

    /// Returns the value of the attribute `integrity` (Subresource Integrity) for a file. It is
    /// that of the plain bytes, so it holds for all encodings. `None` in development.
    ///
    /// # Errors
    /// `NotFound` if the release has no such file.
    pub fn integrity(&self, path: &str) -> Result<Option<Arc<str>>> {
        if let Mode::Development { directory, .. } = &*self.0 {
            return check_file(directory, path).map(|()| None);
        }
        self.find(path, |name| Arc::clone(&name.integrity)).map(Some)
    }

    /// Returns an element `<link rel="preload">` for a file, or `<link rel="modulepreload">` for a
    /// JavaScript module (`.mjs`). It has `integrity`, except in development.
    ///
    /// # Errors
    /// `NotFound` if the release has no such file.
    pub fn preload(&self, path: &str) -> Result<Arc<str>> {
        if let Mode::Development { directory, base } = &*self.0 {
            check_file(directory, path)?;
            let kind = Key::new(path).map(|key| content_type::of_key(&key))?;
            return Ok(Arc::from(preload_element(path, &url_of(base, path), &kind, None)));
        }
        self.find(path, |name| Arc::clone(&name.preload))
    }

    /// Returns the id of the release. `None` in development.
    #[must_use]
    pub fn release(&self) -> Option<String> {
        match &*self.0 {
            Mode::Loaded { state, .. } => {
                let state = state.read().unwrap_or_else(PoisonError::into_inner);
                Some(state.release.clone())
            }
            Mode::Embedded { release, .. } => Some(release.clone()),
            Mode::Development { .. } => None,
        }
    }

    /// Loads the current release if it is another one now. Returns whether it is. Sends one
    /// conditional request if nothing changed. Call it from time to time.
    ///
    /// Dropping the future leaves the loaded release.
    ///
    /// # Errors
    /// As [`load`](Self::load). The loaded release stays.
    pub async fn refresh(&self) -> Result<bool> {
        let Mode::Loaded { destination, base, state } = &*self.0 else { return Ok(false) };
        let (etag, release) = {
            let state = state.read().unwrap_or_else(PoisonError::into_inner);
            (
                state.etag.clone(),
                Known { release: state.release.clone(), names: Arc::clone(&state.names) },
            )
        };
        let old = release.release.clone();
        match read_current(destination, base, etag.as_ref(), Some(release)).await {
            Ok(loaded) => {
                let is_other = loaded.release != old;
                *state.write().unwrap_or_else(PoisonError::into_inner) = loaded;
                Ok(is_other)
            }
            Err(error) if error.is_not_modified() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn find<T>(&self, path: &str, get: impl FnOnce(&Name) -> T) -> Result<T> {
        let found = match &*self.0 {
            Mode::Loaded { state, .. } => {
                let state = state.read().unwrap_or_else(PoisonError::into_inner);
                state.names.get(path).map(get)
            }
            Mode::Embedded { names, .. } => names.get(path).map(get),
            Mode::Development { .. } => None,
        };
        found.ok_or_else(|| unknown(path))
    }
}

/// The release that is loaded.
struct Known {
    release: String,
    names: Arc<Names>,
}

async fn read_current(
    destination: &Storage,
    base: &str,
    etag: Option<&ETag>,
    known: Option<Known>,
) -> Result<Loaded> {
    let read = pointer::read(destination, etag).await?;
    let release = read.pointer.current_release().map(str::to_owned).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "the first publish to this destination is not complete")
    })?;
    let names = match known {
        // A claim changed the pointer, but not the release.
        Some(known) if known.release == release => known.names,
        _ => Arc::new(names_of(&Manifest::read(destination, &release).await?, base)),
    };
    Ok(Loaded { release, etag: read.etag, names })
}

fn names_of(manifest: &Manifest, base: &str) -> Names {
    let name = |(path, entry): (&String, &ManifestEntry)| {
        let url = url_of(base, &entry.name);
        let integrity = entry.sha256.integrity();
        let kind = entry.metadata.content_type.as_deref().unwrap_or_default();
        let preload = preload_element(path, &url, kind, Some(&integrity));
        let name = Name { url: url.into(), integrity: integrity.into(), preload: preload.into() };
        (path.as_str().into(), name)
    };
    manifest.entries.iter().map(name).collect()
}

fn with_slash(base: &str) -> String {
    match base.ends_with('/') {
        true => base.to_owned(),
        false => format!("{base}/"),
    }
}

fn url_of(base: &str, name: &str) -> String {
    format!("{base}{}", utf8_percent_encode(name, PATH))
}

/// Returns the element of HTML. It has `crossorigin` where the later request uses CORS: for fonts
/// (CSS Fonts, section 4.9), modules, `fetch`, and every file of another origin with `integrity`.
fn preload_element(path: &str, url: &str, content_type: &str, integrity: Option<&str>) -> String {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let is_module = path.ends_with(".mjs");
    let destination = match essence.split_once('/') {
        Some(("text", "css")) => "style",
        Some(("text" | "application", "javascript")) => "script",
        Some(("font", _)) => "font",
        Some(("image", _)) => "image",
        Some(("text", "vtt")) => "track",
        _ => "fetch",
    };
    let mut element = String::from("<link rel=\"");
    element += match is_module {
        true => "modulepreload\"",
        false => "preload\"",
    };
    if !is_module {
        element += &format!(" as=\"{destination}\" type=\"{}\"", escape_html(essence));
    }
    element += &format!(" href=\"{}\"", escape_html(url));
    if let Some(integrity) = integrity {
        element += &format!(" integrity=\"{integrity}\"");
    }
    let is_other_origin = url.contains("://") || url.starts_with("//");
    if is_module || is_other_origin || matches!(destination, "font" | "fetch") {
        element += " crossorigin";
    }
    element + ">"
}

/// Checks that a name in development is that of a file, whatever it contains.
fn check_file(directory: &Path, path: &str) -> Result<()> {
    let key = Key::new(path)?;
    match directory.join(key.as_str()).is_file() {
        true => Ok(()),
        false => Err(unknown(path)),
    }
}

fn unknown(path: &str) -> Error {
    let message = format!(
        "the site has no file {path:?}: write the path in the directory that is published, as in \
         \"css/site.css\", and publish before the application uses a new file"
    );
    Error::new(ErrorKind::NotFound, message)
}
