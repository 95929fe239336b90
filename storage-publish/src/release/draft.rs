//! [`Draft`]: what a file of a site becomes, compared with the last release and the destination.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, TryStreamExt, stream};
use storage_core::{Error, ErrorKind, Key, Metadata, Result, content_type, internal};

use super::digest::Sha256;
use super::encodings::{Encoding, MAX_ENCODED_FILE, is_compressible};
use super::layout::{RESERVED_PREFIX, page_key};
use super::listing::Listing;
use super::manifest::{Manifest, ManifestEntry};
use super::options::PublishOptions;
use crate::site::{Asset, Content, Naming, Site};

/// How many files are read at a time for their content type.
const CONCURRENT_READS: usize = 16;

/// What one file becomes.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) asset: &'a Asset,
    /// The entry of the manifest. Placing the file adds ETags, encodings and `body`.
    pub(crate) entry: ManifestEntry,
    /// The encoding under the file's own name.
    pub(crate) body: Option<Encoding>,
    /// The siblings, in the order of the configuration.
    pub(crate) siblings: Vec<Encoding>,
    /// The entry of the last release, if it has the same bytes under the same name.
    pub(crate) last: Option<&'a ManifestEntry>,
    pub(crate) action: Action,
}

/// What happens to the object of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It stays as it is.
    Keep,
    /// It is copied with other headers, without an upload.
    ReplaceHeaders,
    /// It is uploaded, or compared with what the destination has.
    Place,
}

/// What the drafts are compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Baseline<'a> {
    pub(crate) last: Option<&'a Manifest>,
    pub(crate) found: &'a Listing,
    /// Whether names with a hash may have other headers than those of the last release. Then each
    /// is compared with the object itself.
    pub(crate) may_have_other_headers: bool,
}

/// Returns the keys that concern a site: those that it may get, and those of the last release.
pub(crate) fn wanted_keys(site: &Site, last: Option<&Manifest>) -> HashSet<String> {
    let mut wanted = HashSet::new();
    for asset in &site.assets {
        for encoding in Encoding::ALL {
            wanted.insert(format!("{}{}", asset.name, encoding.suffix()));
        }
        wanted.insert(asset.name.clone());
    }
    if let Some(last) = last {
        wanted.extend(last.owned_objects().map(|(key, ..)| key.to_owned()));
        wanted.extend(last.fixed().map(|entry| entry.name.clone()));
    }
    wanted
}

/// Checks the paths and names of a site.
///
/// # Errors
/// `InvalidInput` for a name twice or below the reserved prefix, `InvalidKey` for one that is no
/// key.
pub(crate) fn check_site(site: &Site) -> Result<()> {
    let (mut paths, mut names) = (HashSet::new(), HashSet::new());
    let invalid = |message: String| Err(Error::new(ErrorKind::InvalidInput, message));
    for asset in &site.assets {
        Key::new(asset.name.as_str())?;
        if asset.name.starts_with(RESERVED_PREFIX) {
            return invalid(format!(
                "the file {:?} would be published below {RESERVED_PREFIX}, which is reserved: \
                 rename or exclude it",
                asset.path
            ));
        }
        if !paths.insert(asset.path.as_str()) || !names.insert(asset.name.as_str()) {
            return invalid(format!(
                "the site has two files with the path {:?} or the name {:?}: rename or exclude one",
                asset.path, asset.name
            ));
        }
    }
    Ok(())
}

/// Decides what becomes of each file. Sends no request; reads the beginning of files whose content
/// type the name does not determine.
pub(crate) async fn drafts<'a>(
    site: &'a Site,
    release: &str,
    baseline: Baseline<'a>,
    options: &PublishOptions,
) -> Result<Vec<Draft<'a>>> {
    let names: HashSet<&str> = site.assets.iter().map(|asset| asset.name.as_str()).collect();
    let now = internal::floor_to_second(options.now());
    let names = &names;
    // By number: a closure that takes a reference would make the future of a publish not `Send`.
    stream::iter(0..site.assets.len())
        .map(move |index| draft(&site.assets[index], release, names, baseline, options, now))
        .buffered(CONCURRENT_READS)
        .try_collect()
        .await
}

async fn draft<'a>(
    asset: &'a Asset,
    release: &str,
    names: &HashSet<&str>,
    baseline: Baseline<'a>,
    options: &PublishOptions,
    now: SystemTime,
) -> Result<Draft<'a>> {
    let decision = options.rules.decide(&asset.path, asset.naming);
    let mut metadata = decision.metadata;
    if metadata.content_type.is_none() {
        metadata.content_type = Some(guess_content_type(asset).await?);
    }
    let is_encoded = is_worth_trying(asset, &metadata);
    let is_free = |encoding: &Encoding| {
        let sibling = format!("{}{}", asset.name, encoding.suffix());
        !names.contains(sibling.as_str())
    };
    let siblings = decision.encodings.into_iter().filter(|_| is_encoded).filter(is_free);
    let mut draft = Draft {
        asset,
        entry: new_entry(asset, release, metadata, decision.expires)?,
        body: decision.encoding.filter(|_| is_encoded),
        siblings: siblings.collect(),
        last: None,
        action: Action::Place,
    };
    draft.compare(baseline, now);
    Ok(draft)
}

fn new_entry(
    asset: &Asset,
    release: &str,
    metadata: Metadata,
    expires: Option<Duration>,
) -> Result<ManifestEntry> {
    let stored = match asset.naming {
        Naming::Fixed => Some(page_key(release, &asset.name)?),
        Naming::Hashed | Naming::Bundled => None,
    };
    Ok(ManifestEntry {
        name: asset.name.clone(),
        naming: asset.naming,
        size: asset.size,
        sha256: Sha256(asset.sha256),
        etag: None,
        stored,
        metadata,
        expires_after: expires.map(|time| time.as_secs()),
        body: None,
        encodings: BTreeMap::new(),
        without_gain: BTreeSet::new(),
    })
}

impl<'a> Draft<'a> {
    /// Compares with the last release and the destination.
    fn compare(&mut self, baseline: Baseline<'a>, now: SystemTime) {
        let last = baseline.last.and_then(|last| last.entries.get(&self.asset.path));
        let is_certain = !baseline.may_have_other_headers || self.asset.naming == Naming::Fixed;
        self.last = last.filter(|last| is_certain && self.has_same_bytes(last));
        self.entry.metadata.expires =
            self.entry.expires_after.and_then(|after| expires(after, last, now));
        let Some(last) = self.last else { return };
        if !baseline.found.has(last.object_key(), last.object_size(), last.etag.as_ref()) {
            return;
        }
        self.action = match last.metadata == self.entry.metadata {
            true => Action::Keep,
            false => Action::ReplaceHeaders,
        };
    }

    fn has_same_bytes(&self, last: &ManifestEntry) -> bool {
        let same_body = match (self.body, &last.body) {
            (None, None) => true,
            (Some(wanted), Some(body)) => wanted == body.encoding,
            (Some(wanted), None) => last.without_gain.contains(&wanted),
            (None, Some(_)) => false,
        };
        let entry = &self.entry;
        same_body
            && (&last.name, last.naming, last.size, last.sha256)
                == (&entry.name, entry.naming, entry.size, entry.sha256)
    }

    /// Returns the key of a sibling.
    pub(crate) fn sibling_key(&self, encoding: Encoding) -> String {
        format!("{}{}", self.entry.object_key(), encoding.suffix())
    }

    /// Returns what happens to a sibling. `None` if the last release found it without gain.
    pub(crate) fn sibling_action(&self, encoding: Encoding, found: &Listing) -> Option<Action> {
        let Some(last) = self.last else { return Some(Action::Place) };
        if last.without_gain.contains(&encoding) {
            return None;
        }
        let sibling = last
            .encodings
            .get(&encoding)
            .filter(|sibling| found.has(&sibling.name, sibling.size, sibling.etag.as_ref()));
        Some(match sibling {
            None => Action::Place,
            // The siblings of a page stand beside its stored copy.
            Some(_) if last.metadata == self.entry.metadata => Action::Keep,
            Some(_) => Action::ReplaceHeaders,
        })
    }

    /// Returns the entry with the stored copies and siblings that the file keeps.
    pub(crate) fn kept_entry(&self) -> ManifestEntry {
        let mut entry = self.entry.clone();
        if let Some(last) = self.last.filter(|_| self.action == Action::Keep) {
            entry.stored.clone_from(&last.stored);
            entry.encodings.clone_from(&last.encodings);
            entry.encodings.retain(|encoding, _| self.siblings.contains(encoding));
        }
        entry
    }

    /// Returns whether the file needs no request before the pages.
    pub(crate) fn is_unchanged(&self, found: &Listing) -> bool {
        let Some(last) = self.last.filter(|_| self.action == Action::Keep) else { return false };
        let wanted: BTreeSet<_> = self.siblings.iter().copied().collect();
        let siblings_are_unchanged = wanted.iter().all(|encoding| {
            !matches!(
                self.sibling_action(*encoding, found),
                Some(Action::Place | Action::ReplaceHeaders)
            )
        });
        siblings_are_unchanged
            && last.encodings.keys().all(|encoding| wanted.contains(encoding))
            && last.expires_after == self.entry.expires_after
    }

    /// Returns whether the destination has this file under its fixed name already.
    pub(crate) fn is_shown(&self, found: &Listing) -> bool {
        self.action == Action::Keep
            && self.last.is_some_and(|last| found.has(&last.name, last.object_size(), None))
    }
}

/// Returns the time of `Expires`. Keeps that of the last release while at least half of the rule's
/// time is left, so that not every publish changes the headers of all files.
fn expires(after: u64, last: Option<&ManifestEntry>, now: SystemTime) -> Option<SystemTime> {
    let same_rule = last.filter(|last| last.expires_after == Some(after));
    let kept = same_rule.and_then(|last| last.metadata.expires);
    let half = now.checked_add(Duration::from_secs(after / 2));
    match (kept, half) {
        (Some(kept), Some(half)) if kept >= half => Some(kept),
        _ => now.checked_add(Duration::from_secs(after)),
    }
}

fn is_worth_trying(asset: &Asset, metadata: &Metadata) -> bool {
    asset.size > 0
        && asset.size <= MAX_ENCODED_FILE
        && metadata.content_type.as_deref().is_some_and(is_compressible)
}

async fn guess_content_type(asset: &Asset) -> Result<String> {
    let key = Key::new(asset.path.as_str())?;
    if content_type::is_determined_by_key(&key) {
        return Ok(content_type::of_key(&key));
    }
    let start = match &asset.content {
        Content::Rewritten(bytes) => {
            bytes.slice(..bytes.len().min(content_type::SNIFF_BYTES)).to_vec()
        }
        Content::File(path) => read_start(path.clone()).await?,
        Content::Spooled(file) => read_start(file.path().to_owned()).await?,
    };
    Ok(content_type::of_bytes(&key, &start))
}

async fn read_start(path: std::path::PathBuf) -> Result<Vec<u8>> {
    let read = |path: &Path| -> std::io::Result<Vec<u8>> {
        let mut start = Vec::new();
        File::open(path)?.take(content_type::SNIFF_BYTES as u64).read_to_end(&mut start)?;
        Ok(start)
    };
    let in_path = path.clone();
    let start = tokio::task::spawn_blocking(move || read(&path)).await;
    let start = start.map_err(|join| Error::unexpected("reading a file did not finish", join))?;
    start.map_err(|error| Error::from(error).with_context(&in_path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_relative_expires_is_renewed_only_when_less_than_half_of_its_time_is_left() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let mut last = new_entry(
            &Asset {
                path: "a".to_owned(),
                name: "a".to_owned(),
                naming: Naming::Hashed,
                sha256: [0; 32],
                size: 0,
                content: Content::Rewritten(bytes::Bytes::new()),
                level: 0,
            },
            "r1",
            Metadata::new().expires(at(1_100)),
            Some(Duration::from_secs(100)),
        )
        .unwrap();
        assert_eq!(expires(100, Some(&last), at(1_050)), Some(at(1_100)));
        assert_eq!(expires(100, Some(&last), at(1_051)), Some(at(1_151)));
        assert_eq!(expires(100, None, at(1_000)), Some(at(1_100)));
        last.expires_after = Some(50);
        assert_eq!(expires(100, Some(&last), at(1_000)), Some(at(1_100)));
    }
}
