//! The methods of [`S3`] for tags, which S3 has in addition to metadata.

use std::collections::BTreeMap;

use storage_core::{Key, Result};

use crate::driver::S3;
use crate::tag_set::{Tags, checked};
use crate::tagging;

impl S3 {
    /// Returns a driver for the same bucket that gives these tags to each object that it saves, in
    /// the request of the save. Links for PUT contain them too; forms for POST are unsupported.
    /// Copies have the tags of their source.
    ///
    /// Some services ignore the tags of a save, or those of a save in several parts. Therefore, a
    /// save at a service other than AWS reads the tags of the object, and sets them if they differ.
    ///
    /// Lifecycle rules, policies and billing of a bucket can refer to tags. Unlike user metadata,
    /// [`set_tags`](Self::set_tags) changes them without writing the object. Not all services have
    /// tags. At a service without tags, a save fails with `Unsupported` after the object is stored.
    ///
    /// ```no_run
    /// # async fn example(storage: storage_core::Storage) -> storage_core::Result<()> {
    /// use storage_core::Storage;
    /// use storage_s3::S3;
    ///
    /// let s3 = storage.driver_as::<S3>()?;
    /// let drafts = Storage::new(s3.with_tags([("state", "draft")])?);
    /// // The layers of `storage` do not apply here, so the key gets their prefix.
    /// drafts.save(s3.key("reports/june.pdf")?, "...").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for more than 10 tags, a name of more than 128 or a value of more than 256
    /// characters, an empty name, a name that occurs twice, or a control character.
    pub fn with_tags<K, V>(&self, tags: impl IntoIterator<Item = (K, V)>) -> Result<Self>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let tags = checked(tags)?;
        let tags = if tags.is_empty() { None } else { Some(Tags::new(tags)?) };
        Ok(Self::new(self.shared().with_tags(tags)))
    }

    /// Returns the tags of an object.
    ///
    /// # Errors
    /// `NotFound` if there is no object. Errors of the service, such as `Unsupported`.
    pub async fn tags(&self, key: &Key) -> Result<BTreeMap<String, String>> {
        let tags = tagging::of(self.shared(), key).await.map(|tags| tags.pairs);
        tags.map_err(|error| error.with_key(key.as_str()))
    }

    /// Replaces the tags of an object. Its bytes, its metadata and its ETag stay.
    ///
    /// If the future is dropped, the object has the old or the new tags.
    ///
    /// # Errors
    /// `InvalidInput` as [`with_tags`](Self::with_tags). `NotFound` if there is no object. Errors
    /// of the service, such as `Unsupported`.
    pub async fn set_tags<K, V>(
        &self,
        key: &Key,
        tags: impl IntoIterator<Item = (K, V)>,
    ) -> Result<()>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let tags = checked(tags)?;
        let set = tagging::set(self.shared(), key, tags).await;
        set.map_err(|error| error.with_key(key.as_str()))
    }
}
