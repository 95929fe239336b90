//! [`State`]: the object that describes an upload.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use storage_core::{Checksum, ETag, Error, ErrorKind, Key, Part, Result, UploadId};

use super::failure::Failure;

/// The format of states that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;

/// An upload, as the storage has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::uploads) struct State {
    format: u32,
    /// Differs in every version of the state, so that a commit whose response was lost is
    /// recognised.
    pub(super) commit: String,
    /// The final key of the object.
    pub(in crate::uploads) key: Key,
    /// How the object gets to its final key, if it is completed under a temporary one.
    pub(super) staging: Option<Staging>,
    /// The role of the upload in the extension `concatenation` of tus, if it has one.
    pub(in crate::uploads) concat: Option<Concat>,
    /// The multipart upload.
    pub(super) upload: UploadId,
    pub(super) part_size: u64,
    /// The size of the object in bytes, unless it is deferred.
    pub(in crate::uploads) length: Option<u64>,
    /// The size that the client announces, in a protocol in which reaching it does not end the
    /// upload.
    #[serde(default)]
    pub(super) announced: Option<u64>,
    pub(in crate::uploads) max_size: Option<u64>,
    /// The type of the object, as the client declares it or as its key shows.
    pub(super) content_type: Option<String>,
    /// The group whose open uploads are counted, if they are.
    pub(super) group: Option<String>,
    /// The parts that are acknowledged, from number 1 on without a gap.
    pub(super) parts: Vec<Part>,
    /// The bytes after these parts, together at most a part.
    pub(super) rest: Vec<Segment>,
    /// The metadata as the client sent it, for the application.
    pub(in crate::uploads) metadata: BTreeMap<String, String>,
    /// The same as the text of a header, for the protocol.
    pub(in crate::uploads) sent_metadata: Option<String>,
    pub(super) status: Status,
}

/// The role of an upload whose object consists of several uploads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::uploads) enum Concat {
    /// Its bytes become a part of another object. It stays under its temporary key.
    Partial,
    /// Its bytes are those of others. Contains the text of the header that names them.
    Final(String),
}

/// What happens between the completion of an object and its visibility under the final key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Staging {
    /// The temporary key.
    pub(super) key: Key,
    pub(super) create_new: bool,
    /// Whether the function of `on_complete` decides.
    #[serde(alias = "asks")]
    pub(super) calls_on_complete: bool,
    /// The types that the first bytes may have, if they are inspected.
    pub(super) sniff: Option<Vec<String>>,
}

/// Acknowledged bytes after the last whole part, which are an object of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segment {
    /// The end of its key.
    pub(super) name: String,
    pub(super) size: u64,
}

/// How far an upload is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// It accepts bytes, or all are stored and the object is not known to be complete.
    Open,
    /// The object is complete under its temporary key.
    Stored {
        /// The version that is inspected and promoted.
        etag: ETag,
        /// Until when one process may run the function of the application, in Unix time.
        claimed_until: Option<u64>,
    },
    /// The type and the application's function have accepted this version.
    Accepted {
        etag: ETag,
        /// The type that the bytes have, if it differs from that of the object.
        content_type: Option<String>,
        /// What shows whether the promotion has happened.
        before: BeforePromotion,
        /// Until when one process may promote the object, in Unix time.
        claimed_until: Option<u64>,
    },
    /// The object is visible under its final key.
    Done,
    /// The upload was rejected for good, with this status and text.
    Refused { status: u16, text: String },
    /// The multipart upload vanished before its object was visible.
    Lost,
}

/// What was under the two keys before a promotion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BeforePromotion {
    /// The version under the final key.
    pub(super) replaces: Option<ETag>,
    /// The checksums of the object under the temporary key.
    pub(super) checksums: Vec<Checksum>,
}

impl State {
    pub(super) fn new(key: Key, upload: UploadId, part_size: u64) -> Self {
        Self {
            format: FORMAT,
            commit: String::new(),
            key,
            staging: None,
            concat: None,
            upload,
            part_size,
            length: None,
            announced: None,
            max_size: None,
            content_type: None,
            group: None,
            parts: Vec::new(),
            rest: Vec::new(),
            metadata: BTreeMap::new(),
            sent_metadata: None,
            status: Status::Open,
        }
    }

    /// Reads a state, and checks what the engine relies on.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let state: Self = serde_json::from_slice(bytes)
            .map_err(|cause| Error::unexpected("the state of the upload is damaged", cause))?;
        if state.format != FORMAT {
            let message = format!(
                "the state of the upload has format {}, and this version reads format {FORMAT}",
                state.format
            );
            return Err(Error::new(ErrorKind::Unexpected, message));
        }
        let is_gapless = state.parts.iter().zip(1..).all(|(part, number)| part.number == number);
        let has_whole_parts = match state.parts.split_last() {
            Some((last, whole)) => {
                let is_whole = last.size == state.part_size;
                whole.iter().all(|part| part.size == state.part_size)
                    && (is_whole || state.length == Some(state.offset()))
            }
            None => true,
        };
        // A part that could not be stored may be whole in its segments.
        let has_short_rest = state.rest_size() <= state.part_size;
        if !is_gapless || !has_whole_parts || !has_short_rest || state.part_size == 0 {
            return Err(Error::new(ErrorKind::Unexpected, "the state of the upload is damaged"));
        }
        Ok(state)
    }

    /// Returns the key of the multipart upload: the temporary one, if there is one.
    pub(super) fn upload_key(&self) -> &Key {
        self.staging.as_ref().map_or(&self.key, |staging| &staging.key)
    }

    /// Returns the number of acknowledged bytes, which is that of the bytes without a gap.
    pub(in crate::uploads) fn offset(&self) -> u64 {
        self.stored_in_parts().saturating_add(self.rest_size())
    }

    pub(super) fn stored_in_parts(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.size))
    }

    pub(super) fn rest_size(&self) -> u64 {
        self.rest.iter().fold(0, |sum, segment| sum.saturating_add(segment.size))
    }

    /// Returns whether all bytes are acknowledged.
    pub(in crate::uploads) fn has_all_bytes(&self) -> bool {
        self.length == Some(self.offset())
    }

    /// Returns whether the bytes of all parts are stored, so that the object can be completed.
    pub(super) fn has_all_parts(&self) -> bool {
        // An empty object has one empty part.
        !self.parts.is_empty() && self.length == Some(self.stored_in_parts())
    }

    /// Returns the offset that clients see. `None` if all bytes are stored and the object is not
    /// visible yet, because clients take an offset that equals the length for success.
    pub(in crate::uploads) fn visible_offset(&self) -> Option<u64> {
        let is_finished = self.status == Status::Done || self.is_stored_partial();
        (is_finished || !self.has_all_bytes()).then(|| self.offset())
    }

    /// Returns whether this is a partial upload with all its bytes.
    pub(super) fn is_stored_partial(&self) -> bool {
        self.concat == Some(Concat::Partial) && matches!(self.status, Status::Stored { .. })
    }

    /// Returns the same upload with another status.
    pub(super) fn with_status(&self, status: Status) -> Self {
        Self { status, ..self.clone() }
    }

    /// Returns the number of the next part.
    pub(super) fn next_part(&self) -> u32 {
        u32::try_from(self.parts.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Returns the size of the object in bytes, if the client has said it in any way.
    pub(in crate::uploads) fn known_length(&self) -> Option<u64> {
        self.length.or(self.announced)
    }

    /// Returns whether the object is visible under its final key.
    pub(in crate::uploads) fn is_done(&self) -> bool {
        self.status == Status::Done
    }

    /// Returns the upper bound for the offset.
    pub(super) fn limit(&self) -> u64 {
        let largest = self.max_size.unwrap_or(u64::MAX);
        self.known_length().map_or(largest, |length| length.min(largest))
    }

    /// Fails if the offset must not become this one.
    pub(super) fn check_end(&self, end: u64) -> Result<(), Failure> {
        let is_beyond = |limit: Option<u64>| limit.is_some_and(|limit| end > limit);
        if is_beyond(self.max_size) || is_beyond(self.length) {
            return Err(Failure::TooLarge);
        }
        // More bytes than the client has announced, and no more than it may send.
        if is_beyond(self.announced) { Err(Failure::WrongLength) } else { Ok(()) }
    }
}
