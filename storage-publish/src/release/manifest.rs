//! [`Manifest`]: the files of a release, as `releases/<id>/manifest.json` states them. Format 1.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use storage_core::{ETag, Error, ErrorKind, Key, Metadata, Result, Storage};

use super::digest::Sha256;
use super::encodings::Encoding;
use super::layout::{RESERVED_PREFIX, check_release_id, manifest_key};
use super::rules::PLAIN_SHA256;
use super::times;
use crate::site::Naming;

/// The format that this version reads and writes.
const FORMAT: u32 = 1;

/// Upper bound for the size of a manifest in bytes.
pub(crate) const MAX_MANIFEST: u64 = 64 * 1024 * 1024;

/// The files of a release. Never changed once it is stored.
///
/// ```
/// use storage_publish::Manifest;
///
/// let json = br#"{
///   "format": 1,
///   "release": "20261128T081500Z-k3f9x2ma",
///   "created": "2026-11-28T08:15:00Z",
///   "entries": {
///     "app.css": {
///       "name": "app.2cf24dba5fb0a30e.css",
///       "naming": "hashed",
///       "size": 5,
///       "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
///       "metadata": { "content_type": "text/css" }
///     }
///   }
/// }"#;
/// let manifest = Manifest::from_json(json)?;
/// assert_eq!(manifest.entries["app.css"].name, "app.2cf24dba5fb0a30e.css");
/// # Ok::<(), storage_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    format: u32,
    /// The id of the release.
    pub release: String,
    /// When the publish began.
    #[serde(with = "times")]
    pub created: SystemTime,
    /// The files by their paths in the directory.
    pub entries: BTreeMap<String, ManifestEntry>,
}

/// One file of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ManifestEntry {
    /// The key below the destination.
    pub name: String,
    /// How the name came about.
    #[serde(with = "naming")]
    pub naming: Naming,
    /// The number of plain bytes.
    pub size: u64,
    /// The SHA-256 of the plain bytes.
    pub sha256: Sha256,
    /// The ETag of the object, for names with a hash, if the storage returns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
    /// For a fixed name: the key of the copy that belongs to this release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<String>,
    /// The headers of the plain form, and the user metadata.
    pub metadata: Metadata,
    /// The rule's time until `Expires`, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_after: Option<u64>,
    /// The bytes of the object, if it is stored in one encoding under its own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<EncodedBody>,
    /// The precompressed siblings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub encodings: BTreeMap<Encoding, Sibling>,
    /// The encodings that did not make the file smaller than 95 %.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub without_gain: BTreeSet<Encoding>,
}

/// The bytes of an object that is stored in one encoding under its own name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EncodedBody {
    /// The encoding.
    pub encoding: Encoding,
    /// The number of encoded bytes.
    pub size: u64,
    /// The SHA-256 of the encoded bytes.
    pub sha256: Sha256,
}

/// A precompressed sibling. Its user metadata `plain-sha256` is the SHA-256 of the plain
/// bytes, so that a server can refuse a sibling of other bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sibling {
    /// The key below the destination.
    pub name: String,
    /// The number of encoded bytes.
    pub size: u64,
    /// The SHA-256 of the encoded bytes.
    pub sha256: Sha256,
    /// The ETag of the object, if the storage returns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<ETag>,
}

impl Manifest {
    pub(crate) fn new(
        release: &str,
        created: SystemTime,
        entries: BTreeMap<String, ManifestEntry>,
    ) -> Self {
        Self { format: FORMAT, release: release.to_owned(), created, entries }
    }

    /// Reads the manifest of a release below a destination.
    ///
    /// # Errors
    /// `NotFound` if there is none, `Unsupported` for another format, `Integrity` if it is damaged
    /// or of another release, `TooLarge` above 64 MiB, and errors of the storage.
    pub async fn read(destination: &Storage, release: &str) -> Result<Self> {
        let key = manifest_key(release)?;
        let json = destination.open(&key).await?.bytes_up_to(MAX_MANIFEST).await?;
        let manifest = Self::from_json(&json).map_err(|error| error.with_key(key.as_str()))?;
        if manifest.release != release {
            return Err(damaged("it is the manifest of another release").with_key(key.as_str()));
        }
        Ok(manifest)
    }

    /// Reads a manifest. Returns `None` if it is missing or damaged, for callers that can do
    /// without: a new release replaces what a damaged one says.
    pub(crate) async fn read_if_whole(
        destination: &Storage,
        release: &str,
    ) -> Result<Option<Self>> {
        match Self::read(destination, release).await {
            Ok(manifest) => Ok(Some(manifest)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) if error.kind() == ErrorKind::Integrity => {
                tracing::warn!(%error, release, "a manifest is damaged");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads a manifest from JSON, for example one that is embedded in a program.
    ///
    /// # Errors
    /// `Unsupported` for another format, `Integrity` if it is damaged.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let parse = |error| damaged("it is not the JSON of a manifest").with_source(error);
        let Format { format } = serde_json::from_slice(json).map_err(parse)?;
        if format != FORMAT {
            return Err(Error::unsupported(format!(
                "the manifest has format {format}, but this version of anystorage reads format \
                 {FORMAT}: use a newer version"
            )));
        }
        let manifest: Self = serde_json::from_slice(json).map_err(parse)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Returns the JSON, which is equal for equal manifests.
    pub(crate) fn to_json(&self) -> Result<Bytes> {
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::unexpected("cannot write JSON", error))?;
        if json.len() as u64 > MAX_MANIFEST {
            let message = "the manifest of the release would have more than 64 MiB: publish fewer \
                           files";
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        Ok(Bytes::from(json))
    }

    /// Checks the names, so that a damaged manifest never leads to other objects.
    fn check(&self) -> Result<()> {
        check_release_id(&self.release)?;
        for (path, entry) in &self.entries {
            let is_reserved = |name: &str| name.starts_with(RESERVED_PREFIX);
            let is_fixed = entry.naming == Naming::Fixed;
            let stored = entry.stored.as_deref();
            let siblings_are_valid = entry.encodings.values().all(|sibling| {
                Key::new(sibling.name.as_str()).is_ok() && is_reserved(&sibling.name) == is_fixed
            });
            let is_valid = Key::new(entry.name.as_str()).is_ok()
                && !is_reserved(&entry.name)
                && stored.is_some() == is_fixed
                && stored.is_none_or(|key| is_reserved(key) && Key::new(key).is_ok())
                && siblings_are_valid
                && entry.metadata.clone().validated().is_ok();
            if !is_valid {
                return Err(damaged(&format!("the entry {path:?} is invalid")));
            }
        }
        Ok(())
    }

    /// Returns the entries with fixed names.
    pub(crate) fn fixed(&self) -> impl Iterator<Item = &ManifestEntry> {
        self.entries.values().filter(|entry| entry.naming == Naming::Fixed)
    }

    /// Returns the keys that the release needs beside the plain forms of fixed names: names with a
    /// hash, siblings, and the stored copies of fixed names. Each with the size and the ETag.
    pub(crate) fn owned_objects(&self) -> impl Iterator<Item = (&str, u64, Option<&ETag>)> {
        self.entries.values().flat_map(|entry| {
            let siblings = entry.encodings.values();
            let siblings = siblings
                .map(|sibling| (sibling.name.as_str(), sibling.size, sibling.etag.as_ref()));
            std::iter::once((entry.object_key(), entry.object_size(), entry.etag.as_ref()))
                .chain(siblings)
        })
    }
}

impl ManifestEntry {
    /// Returns the key of the object that belongs to this release alone: the stored copy of a fixed
    /// name, or the name with a hash.
    #[must_use]
    pub fn object_key(&self) -> &str {
        self.stored.as_deref().unwrap_or(&self.name)
    }

    /// Returns the number of bytes of the object.
    #[must_use]
    pub fn object_size(&self) -> u64 {
        self.body.as_ref().map_or(self.size, |body| body.size)
    }

    /// Returns the SHA-256 of the object's bytes.
    pub(crate) fn object_sha256(&self) -> Sha256 {
        self.body.as_ref().map_or(self.sha256, |body| body.sha256)
    }

    /// Returns the metadata of the object.
    pub(crate) fn object_metadata(&self) -> Metadata {
        match &self.body {
            Some(body) => encoded_metadata(&self.metadata, body.encoding, self.sha256),
            None => self.metadata.clone(),
        }
    }
}

/// Returns the metadata of an encoded object, from that of the plain form.
pub(crate) fn encoded_metadata(plain: &Metadata, encoding: Encoding, sha256: Sha256) -> Metadata {
    encoded_by(plain, encoding.as_str(), sha256)
}

/// Returns the metadata of an object in an encoding with this name.
pub(crate) fn encoded_by(plain: &Metadata, encoding: &str, sha256: Sha256) -> Metadata {
    plain.clone().content_encoding(encoding).user(PLAIN_SHA256, sha256.to_string())
}

fn damaged(reason: &str) -> Error {
    let message = format!("the manifest is damaged: {reason}; publish again or roll back");
    Error::new(ErrorKind::Integrity, message)
}

/// [`Naming`] as text.
mod naming {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::site::Naming;

    pub(super) fn serialize<S: Serializer>(
        naming: &Naming,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match naming {
            Naming::Hashed => "hashed",
            Naming::Bundled => "bundled",
            Naming::Fixed => "fixed",
        })
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Naming, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "hashed" => Ok(Naming::Hashed),
            "bundled" => Ok(Naming::Bundled),
            "fixed" => Ok(Naming::Fixed),
            other => Err(de::Error::unknown_variant(other, &["hashed", "bundled", "fixed"])),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// The names of all keys are a promise.
    #[test]
    fn the_example_of_the_manual_is_written_as_it_is_read() {
        let page = include_str!("../../../docs/publish.md");
        let example = page.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
        let example: serde_json::Value = serde_json::from_str(example).unwrap();
        let read: Manifest = serde_json::from_value(example.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), example);
    }

    fn entry(name: &str, naming: Naming) -> ManifestEntry {
        ManifestEntry {
            name: name.to_owned(),
            naming,
            size: 5,
            sha256: Sha256::of(b"hello"),
            etag: None,
            stored: None,
            metadata: Metadata::new().content_type("text/css"),
            expires_after: None,
            body: None,
            encodings: BTreeMap::new(),
            without_gain: BTreeSet::new(),
        }
    }

    fn manifest(entries: Vec<ManifestEntry>) -> Manifest {
        let entries = entries.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
        Manifest::new("r1", UNIX_EPOCH + Duration::from_secs(1), entries)
    }

    fn sibling(name: &str) -> Sibling {
        Sibling { name: name.to_owned(), size: 3, sha256: Sha256::of(b"abc"), etag: None }
    }

    #[test]
    fn a_manifest_that_was_written_is_read_again() {
        let mut page = entry("index.html", Naming::Fixed);
        page.stored = Some(".anystorage-publish/releases/r1/pages/index.html".to_owned());
        page.expires_after = Some(60);
        let mut style = entry("a.1.css", Naming::Hashed);
        style.encodings.insert(Encoding::Gzip, sibling("a.1.css.gz"));
        style.without_gain.insert(Encoding::Brotli);
        style.etag = Some(ETag::strong("x").unwrap());
        let manifest = manifest(vec![page, style, entry("b.2.js", Naming::Bundled)]);
        let json = manifest.to_json().unwrap();
        assert_eq!(Manifest::from_json(&json).unwrap(), manifest);
    }

    #[test]
    fn entries_are_sorted_so_that_equal_releases_have_equal_manifests() {
        let (a, b) = (entry("a", Naming::Hashed), entry("b", Naming::Hashed));
        let json = manifest(vec![b.clone(), a.clone()]).to_json().unwrap();
        assert_eq!(json, manifest(vec![a, b]).to_json().unwrap());
    }

    #[test]
    fn a_manifest_of_an_unknown_format_is_refused_whatever_else_it_has() {
        let error = Manifest::from_json(br#"{"format": 2, "files": []}"#).unwrap_err();
        assert!(error.is_unsupported() && error.message().contains("format 2"), "{error}");
    }

    #[test]
    fn a_manifest_that_names_reserved_or_invalid_keys_is_refused() {
        let with = |change: fn(&mut ManifestEntry)| {
            let mut changed = entry("a.1.css", Naming::Hashed);
            change(&mut changed);
            manifest(vec![changed])
        };
        let hostile = [
            with(|entry| entry.name = "../a".to_owned()),
            with(|entry| entry.name = ".anystorage-publish/current.json".to_owned()),
            with(|entry| entry.stored = Some("other.html".to_owned())),
            with(|entry| entry.naming = Naming::Fixed),
            with(|entry| entry.metadata.cache_control = Some("a\r\nb: c".to_owned())),
            with(|entry| {
                let current = sibling(".anystorage-publish/current.json");
                entry.encodings.insert(Encoding::Gzip, current);
            }),
        ];
        for manifest in hostile {
            let error = Manifest::from_json(&manifest.to_json().unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
        }
    }

    #[tokio::test]
    async fn the_manifest_of_another_release_is_refused() {
        let storage = storage_core::Memory::storage();
        let json = manifest(vec![]).to_json().unwrap();
        storage.save(manifest_key("r2").unwrap(), json).await.unwrap();
        let error = Manifest::read(&storage, "r2").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
        assert!(Manifest::read_if_whole(&storage, "r3").await.unwrap().is_none());
    }
}
