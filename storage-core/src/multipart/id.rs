//! [`UploadId`]: the storable id of a multipart upload.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, ErrorKind, Result};
use crate::multipart::UploadPlan;

/// The longest id, in bytes.
const MAX_BYTES: usize = 4096;

/// The id of a multipart upload. Store it as text together with the key, and continue in any
/// process with [`Storage::resume_multipart`](crate::Storage::resume_multipart).
///
/// It contains the backend's own id and the plan of the upload: part size, mode, size and checksum.
/// Its characters are ASCII letters, digits, `-`, `_`, `~` and `.`, at most 4,096 of them, so it
/// can be part of a URL and of a file name.
///
/// A client that has the id and access to the key can write parts, and can complete the upload with
/// another plan. An application that sends the id to clients signs it.
///
/// ```
/// use storage_core::UploadId;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// # let storage = storage_core::Memory::storage();
/// let upload = storage.multipart("video.mp4").part_size(4).await?;
/// let stored = upload.id().to_string();
///
/// let id: UploadId = stored.parse()?;
/// let resumed = storage.resume_multipart("video.mp4", id)?;
/// resumed.put_part(1, "last").await?;
/// assert_eq!(resumed.complete().await?.size, 4);
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct UploadId {
    upload: Box<str>,
    plan: Option<Box<UploadPlan>>,
}

impl UploadId {
    /// Creates an id of the backend's own id and the plan of the upload. For drivers.
    ///
    /// # Errors
    /// `InvalidInput` if the backend's id is empty, has other characters than ASCII letters,
    /// digits, `-`, `_` and `~`, or is too long, or if the nonce of the plan is empty or has other
    /// characters than ASCII letters, digits and `-`.
    pub fn new(upload: impl Into<String>, plan: Option<UploadPlan>) -> Result<Self> {
        let id = Self { upload: upload.into().into(), plan: plan.map(Box::new) };
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
        let is_valid = !id.upload.is_empty() && id.upload.bytes().all(is_allowed);
        let is_valid = is_valid && id.plan().is_none_or(UploadPlan::is_valid);
        if !is_valid || id.to_string().len() > MAX_BYTES {
            let message = "an upload's id has 1 to 4096 letters, digits, '-', '_' and '~'";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(id)
    }

    /// Returns the backend's own id, without the plan. For drivers.
    #[must_use]
    pub fn upload(&self) -> &str {
        &self.upload
    }

    /// Returns the plan. The id that the beginning returns has one; an id from a listing may lack
    /// it.
    #[must_use]
    pub fn plan(&self) -> Option<&UploadPlan> {
        self.plan.as_deref()
    }

    /// Returns the plan, for a verb that needs it. For drivers that keep no plan themselves.
    ///
    /// # Errors
    /// `InvalidInput` if the id has none.
    pub fn required_plan(&self) -> Result<&UploadPlan> {
        self.plan().ok_or_else(|| {
            let message = "this id comes from a listing and has no plan: use the id that the \
                           beginning of the upload returned";
            Error::new(ErrorKind::InvalidInput, message)
        })
    }

    /// Returns whether two ids denote the same upload of a key, whether or not they have plans.
    #[must_use]
    pub fn is_same_upload(&self, other: &Self) -> bool {
        self.upload == other.upload
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.upload)?;
        match &self.plan {
            Some(plan) => write!(f, ".{plan}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadId({self})")
    }
}

impl FromStr for UploadId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() > MAX_BYTES {
            return Self::new("", None);
        }
        match text.split_once('.') {
            Some((upload, plan)) => Self::new(upload, Some(UploadPlan::parse(plan)?)),
            None => Self::new(text, None),
        }
    }
}

impl Serialize for UploadId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UploadId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_id_is_refused() {
        for text in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "é",
            "a\n",
            ".p1",
            "a.",
            "a.x",
            "a.p1.u\n",
            "a.p1.u/",
            &"a".repeat(4097),
        ] {
            let error = text.parse::<UploadId>().expect_err(text);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text:?}");
        }
    }

    #[test]
    fn a_nonce_that_an_id_cannot_contain_is_refused() {
        let plan: UploadId = "a.p5".parse().unwrap();
        for nonce in ["", "a.b", "a/b", "a\n"] {
            let plan = plan.plan().cloned().map(|plan| plan.with_nonce(nonce));
            let error = UploadId::new("a", plan).expect_err(nonce);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{nonce:?}");
        }
    }

    #[test]
    fn an_id_with_and_without_its_plan_denotes_the_same_upload() {
        let with: UploadId = "2~aB_-.p5.n".parse().unwrap();
        let without: UploadId = "2~aB_-".parse().unwrap();
        assert!(with.is_same_upload(&without));
        assert_eq!(without.required_plan().unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(with.to_string(), "2~aB_-.p5.n");
    }
}
