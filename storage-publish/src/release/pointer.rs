//! [`Pointer`]: the document that names the current release, and how it is changed on conditions.

use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use storage_core::{ETag, Error, ErrorKind, Metadata, Result, SaveMode, SaveOptions, Storage};

use super::layout::{POINTER_KEY, check_release_id};
use super::times;

/// The format that this version reads and writes.
const FORMAT: u32 = 1;

/// Upper bound for the size of the pointer in bytes.
const MAX_POINTER: u64 = 4 * 1024 * 1024;

/// The document `current.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pointer {
    format: u32,
    /// Grows with each change, so that two versions never have the same bytes.
    pub(crate) seq: u64,
    pub(crate) current: Option<Current>,
    /// The releases that are not current and whose files may still be there. The one that ended
    /// last comes first.
    #[serde(default)]
    pub(crate) previous: Vec<Previous>,
    /// The release whose pages are being written under their plain names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) switching: Option<String>,
    /// Whether mirrors may have pages of an earlier release.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) purge_pending: bool,
    /// Whether a publish that did not complete may have changed headers of names with a hash.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) check_headers: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) claim: Option<ClaimRecord>,
}

/// The current release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Current {
    pub(crate) release: String,
    #[serde(with = "times")]
    pub(crate) since: SystemTime,
}

/// A release that is not current.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Previous {
    pub(crate) release: String,
    /// When it stopped being current. The grace counts from here.
    #[serde(with = "times")]
    pub(crate) ended: SystemTime,
    /// Whether its publish ended before it became current.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) abandoned: bool,
    /// Whether fixed names of it may exist that the release after it does not have.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) leaves_pages: bool,
}

/// The right of one publisher to change the destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClaimRecord {
    pub(crate) publisher: String,
    /// Differs for each run.
    pub(crate) token: String,
    /// The release that is being published. `None` for a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) release: Option<String>,
    #[serde(with = "times")]
    pub(crate) expires: SystemTime,
}

/// The pointer, and the version that was read. `None` if there is none yet.
#[derive(Clone, Debug)]
pub(crate) struct Versioned {
    pub(crate) pointer: Pointer,
    pub(crate) etag: Option<ETag>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Default for Pointer {
    fn default() -> Self {
        Self {
            format: FORMAT,
            seq: 0,
            current: None,
            previous: Vec::new(),
            switching: None,
            purge_pending: false,
            check_headers: false,
            claim: None,
        }
    }
}

impl Pointer {
    pub(crate) fn current_release(&self) -> Option<&str> {
        self.current.as_ref().map(|current| current.release.as_str())
    }

    /// Returns the claim, unless it has expired.
    pub(crate) fn valid_claim(&self, now: SystemTime) -> Option<&ClaimRecord> {
        self.claim.as_ref().filter(|claim| claim.expires > now)
    }

    /// Returns whether the headers of names with a hash may differ from those of the current
    /// release, because another publish or a rollback did not complete.
    pub(crate) fn may_have_other_headers(&self) -> bool {
        let has_claimed = self.claim.as_ref().is_some_and(|claim| claim.release.is_some());
        self.check_headers || self.switching.is_some() || has_claimed
    }

    /// Adds a release that did not become current, unless it is known.
    pub(crate) fn abandon(&mut self, release: &str, now: SystemTime) {
        self.check_headers = true;
        let leaves_pages = self.switching.as_deref() == Some(release);
        let is_known = self.current_release() == Some(release)
            || self.previous.iter().any(|previous| previous.release == release);
        if !is_known {
            self.previous.push(Previous {
                release: release.to_owned(),
                ended: now,
                abandoned: true,
                leaves_pages,
            });
        }
    }

    /// Makes a release current.
    pub(crate) fn switch(&mut self, release: &str, now: SystemTime, leaves_pages: bool) {
        self.switching = None;
        self.check_headers = false;
        if self.current_release() == Some(release) {
            return;
        }
        self.previous.retain(|previous| previous.release != release);
        let next = Current { release: release.to_owned(), since: now };
        if let Some(ended) = self.current.replace(next) {
            let ended =
                Previous { release: ended.release, ended: now, abandoned: false, leaves_pages };
            self.previous.insert(0, ended);
        }
    }

    fn check(&self) -> Result<()> {
        let previous = self.previous.iter().map(|previous| previous.release.as_str());
        let claimed = self.claim.iter().filter_map(|claim| claim.release.as_deref());
        let mut all =
            previous.chain(self.current_release()).chain(self.switching.as_deref()).chain(claimed);
        all.try_for_each(check_release_id)
    }
}

/// Reads the pointer. Works on every storage.
///
/// # Errors
/// `NotFound` if there is none, `NotModified` if it is still the known version, `Unsupported` for
/// another format, `Integrity` if it is damaged.
pub(crate) async fn read(destination: &Storage, known: Option<&ETag>) -> Result<Versioned> {
    let mut open = destination.open(POINTER_KEY);
    if let Some(known) = known {
        open = open.if_none_match(known.clone());
    }
    let object = open.await?;
    let etag = object.meta().etag.clone();
    let json = object.bytes_up_to(MAX_POINTER).await?;
    let pointer = parse(&json).map_err(|error| error.with_key(POINTER_KEY))?;
    Ok(Versioned { pointer, etag })
}

fn parse(json: &[u8]) -> Result<Pointer> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let damaged = |error: storage_core::BoxError| {
        let message = "the pointer of the releases is damaged: delete it, then publish again";
        Error::new(ErrorKind::Integrity, message).with_source(error)
    };
    let Format { format } = serde_json::from_slice(json).map_err(|error| damaged(error.into()))?;
    if format != FORMAT {
        return Err(Error::unsupported(format!(
            "the pointer of the releases has format {format}, but this version of anystorage works \
             with format {FORMAT}: use the version that wrote it"
        )));
    }
    let pointer: Pointer = serde_json::from_slice(json).map_err(|error| damaged(error.into()))?;
    pointer.check().map_err(|error| damaged(error.into()))?;
    Ok(pointer)
}

/// The pointer below a destination, for programs that change it.
#[derive(Clone, Debug)]
pub(crate) struct PointerStore {
    destination: Storage,
}

impl PointerStore {
    /// # Errors
    /// `Unsupported` if the storage has no conditional saves or cannot list.
    pub(crate) fn new(destination: &Storage) -> Result<Self> {
        let info = destination.info();
        let capabilities = info.capabilities;
        let can_publish = capabilities.write
            && capabilities.list
            && capabilities.create_new
            && capabilities.save_if_match;
        if can_publish {
            return Ok(Self { destination: destination.clone() });
        }
        let message = "publishing needs a storage that lists its objects and has conditional saves \
                       (create_new and if_match), such as fs or s3, so that two publishers cannot \
                       mix their releases";
        Err(Error::unsupported(message).with_driver(info.name.clone()))
    }

    /// Reads the pointer, or returns an empty one that is not stored yet.
    pub(crate) async fn read(&self) -> Result<Versioned> {
        match read(&self.destination, None).await {
            Ok(Versioned { etag: Some(etag), pointer }) if !etag.is_weak() => {
                Ok(Versioned { pointer, etag: Some(etag) })
            }
            Ok(_) => {
                let message = "the storage returns no strong ETag of the pointer, on which a \
                               publish depends: if another program copied the file here, save it \
                               again, as with `anystorage put`; else use a storage such as fs or s3";
                Err(Error::unsupported(message).with_key(POINTER_KEY))
            }
            Err(error) if error.is_not_found() => {
                Ok(Versioned { pointer: Pointer::default(), etag: None })
            }
            Err(error) => Err(error),
        }
    }

    /// Replaces the version that was read. Returns `None` if there is another one now, which may be
    /// this one if the response to an earlier attempt was lost.
    pub(crate) async fn replace(
        &self,
        pointer: &Pointer,
        etag: Option<&ETag>,
    ) -> Result<Option<Versioned>> {
        let json = serde_json::to_vec_pretty(pointer)
            .map_err(|error| Error::unexpected("cannot write JSON", error))?;
        let mode = etag.map_or(SaveMode::CreateNew, |etag| SaveMode::IfMatch(etag.clone()));
        let metadata = Metadata::new().content_type("application/json").cache_control("no-cache");
        let options = SaveOptions::new().mode(mode).metadata(metadata);
        match self.destination.save_with(POINTER_KEY, Bytes::from(json), options).await {
            Ok(meta) => Ok(Some(Versioned { pointer: pointer.clone(), etag: meta.etag })),
            Err(error) if is_condition(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn is_condition(error: &Error) -> bool {
    error.is_precondition_failed() || error.is_already_exists() || error.is_not_found()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// The names of all keys are a promise.
    #[test]
    fn the_example_of_the_manual_is_written_as_it_is_read() {
        let page = include_str!("../../../docs/publish.md");
        let example = page.split("```json\n").nth(2).unwrap().split("```").next().unwrap();
        let example: serde_json::Value = serde_json::from_str(example).unwrap();
        let read: Pointer = serde_json::from_value(example.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), example);
    }

    #[test]
    fn a_release_that_becomes_current_again_is_no_longer_a_previous_one() {
        let mut pointer = Pointer::default();
        pointer.switch("r1", at(1), false);
        pointer.switch("r2", at(2), true);
        pointer.switch("r1", at(3), false);
        assert_eq!(pointer.current, Some(Current { release: "r1".to_owned(), since: at(3) }));
        let ended: Vec<_> =
            pointer.previous.iter().map(|previous| (&*previous.release, previous.ended)).collect();
        assert_eq!(ended, [("r2", at(3))]);
    }

    #[test]
    fn a_pointer_of_an_unknown_format_or_with_an_invalid_id_is_refused() {
        assert!(parse(br#"{"format": 2}"#).unwrap_err().is_unsupported());
        for json in [
            r#"{"format": 1, "seq": 1, "current": {"release": "../x", "since": "2026-01-01T00:00:00Z"}}"#,
            r#"{"format": 1, "seq": 1, "current": null, "switching": "a/b"}"#,
            "not JSON",
        ] {
            assert_eq!(parse(json.as_bytes()).unwrap_err().kind(), ErrorKind::Integrity, "{json}");
        }
    }

    #[test]
    fn a_storage_without_conditional_saves_is_refused() {
        let storage = storage_core::Memory::storage().read_only();
        let error = PointerStore::new(&storage).unwrap_err();
        assert!(error.is_unsupported() && error.message().contains("if_match"), "{error}");
    }
}
