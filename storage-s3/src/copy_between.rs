//! Copies between two buckets of one service: [`S3::copy_from`], and [`copy_between`] for two
//! storages.

use futures_core::future::BoxFuture;
use storage_core::{
    CopyOptions, Error, ErrorKind, Key, MetadataDirective, Operation, Result, Storage, content_type,
};

use crate::copy::{self, Source};
use crate::driver::S3;

impl S3 {
    /// Returns whether [`copy_from`](Self::copy_from) can copy from another driver's bucket: both
    /// have the same endpoint (scheme, host and port) and the same region. Sends no request.
    ///
    /// The access keys may differ. Whether those of this driver may read the source is known only
    /// to the service, so that a copy may still fail with `PermissionDenied`.
    #[must_use]
    pub fn can_copy_from(&self, source: &Self) -> bool {
        let (target, source) = (&self.shared().client, &source.shared().client);
        target.bucket().has_endpoint_of(source.bucket()) && target.region() == source.region()
    }

    /// Copies an object from the bucket of another driver to this one. The service copies the
    /// bytes, as it does for [`Storage::copy`] within one bucket.
    ///
    /// The options of this driver apply to the copy: encryption, storage class, ACL. Metadata,
    /// checksums and tags are those of the source. `source` may be another configuration of the
    /// same bucket.
    ///
    /// The requests are signed with the credentials of this driver, which need read access to the
    /// source. The metadata of the source, if it is needed, is read with the credentials of
    /// `source`.
    ///
    /// If the service does not evaluate a condition of the options (see [`Quirks`](crate::Quirks)),
    /// the driver reads the object and saves it, as it does within one bucket.
    ///
    /// # Guarantees
    /// Those of [`Driver::copy`](storage_core::Driver::copy). A large object is copied by ranges
    /// of one version. At services that do not evaluate a condition of each range, the driver
    /// compares the version of the source before the copy becomes visible.
    ///
    /// # Time
    /// No layer of a storage applies, so that no [`Timeout`](storage_core::layers::Timeout) does.
    /// The driver waits 600 s for the response to each request, and sends a request at most six
    /// times.
    ///
    /// If the future is dropped, the copy has happened or not, and its upload is aborted in the
    /// background, unless the service may be completing it.
    ///
    /// ```no_run
    /// # async fn example() -> storage_core::Result<()> {
    /// use storage_core::{CopyOptions, Key};
    /// use storage_s3::S3;
    ///
    /// let media = S3::builder("example-media").region("eu-west-1").build()?;
    /// let backup = S3::builder("example-backup").region("eu-west-1").build()?;
    /// let key = Key::new("avatars/ada.png")?;
    /// backup.copy_from(&media, &key, &key, &CopyOptions::new().create_new()).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`Storage::copy`]. In addition:
    /// - `Unsupported` if [`can_copy_from`](Self::can_copy_from) returns `false`.
    /// - `Unsupported` if the access keys differ at a service where each tenant may have its own
    ///   names of buckets: Ceph, Garage, and unknown hosts without a profile or with `none`.
    /// - `PermissionDenied`, or `InvalidConfig` at some services, if the credentials of this driver
    ///   cannot read the source.
    ///
    /// After these, copy with [`Storage::copy_to`], which reads and saves, unless the copy was made
    /// all the same ([`Error::took_effect`]).
    pub async fn copy_from(
        &self,
        source: &Self,
        from: &Key,
        to: &Key,
        options: &CopyOptions,
    ) -> Result<()> {
        if !self.can_copy_from(source) {
            return Err(Error::unsupported(
                "the two buckets have different endpoints or regions, so the service cannot copy between them: \
                 read the object and save it",
            ));
        }
        self.check_names_of_buckets(source).await?;
        copy::copy(self.shared(), Source::new(source.shared(), from), to, options).await
    }

    /// Refuses a copy whose source may be a bucket of the same name of another tenant.
    async fn check_names_of_buckets(&self, source: &Self) -> Result<()> {
        let (target, source) = (self.shared(), source.shared());
        if target.features.global_buckets {
            return Ok(());
        }
        let target = target.client.credential().await?;
        let source = source.client.credential().await?;
        let [target, source] = [&target, &source]
            .map(|credential| credential.as_ref().map(|credential| &credential.key_id));
        if target == source {
            return Ok(());
        }
        Err(Error::unsupported(
            "the two storages have different access keys, for which one name may denote two buckets at this \
             service: read the object and save it, or use one access key for both",
        ))
    }
}

/// Copies an object between two storages at their service, if both are buckets of one service.
/// Returns `None` otherwise, and nothing has been sent.
///
/// This is [`S3::copy_from`] for storages. It returns `None` if one of these applies:
/// - One of the storages has another driver than [`S3`].
/// - [`S3::can_copy_from`] returns `false`.
/// - The service does not evaluate a condition of the options, so that the bytes would pass through
///   this process.
/// - A layer forbids direct access, as [`Storage::read_only`] does, also around the source:
///   [`Storage::driver_as`] returns no driver that can only read.
/// - A key is too long with the prefix of its storage.
///
/// The keys get the prefixes of the storages. All other layers are bypassed: no timeout, retry,
/// limit or span applies. See [`S3::copy_from`] for the time limits of the driver. A layer that
/// changes the bytes of objects must forbid direct access, because the copy has the stored bytes.
///
/// As in [`Storage::copy`], new metadata is validated, and a content type is guessed from the key
/// of the destination if it has none.
///
/// ```no_run
/// use storage_core::{CopyOptions, IntoKey, Result, Storage};
///
/// async fn copy(source: &Storage, target: &Storage, name: &str) -> Result<()> {
///     let key = name.into_key()?;
///     match storage_s3::copy_between(source, &key, target, &key, CopyOptions::new()) {
///         Some(copied) => copied.await,
///         None => source.copy_to(name, target, name).await.map(|_| ()),
///     }
/// }
/// ```
///
/// # Errors
/// Those of [`S3::copy_from`]. After `Unsupported`, `PermissionDenied` and `InvalidConfig`, the
/// target is unchanged, and [`Storage::copy_to`] may succeed, unless the copy was made all the same
/// ([`Error::took_effect`]).
#[must_use = "nothing is copied until the future is awaited"]
pub fn copy_between(
    source: &Storage,
    from: &Key,
    target: &Storage,
    to: &Key,
    options: CopyOptions,
) -> Option<BoxFuture<'static, Result<()>>> {
    let from_driver = source.driver_as::<S3>().ok()?;
    let to_driver = target.driver_as::<S3>().ok()?;
    let is_possible = to_driver.can_copy_from(&from_driver)
        && copy::is_done_by_service(to_driver.shared(), &options);
    if !is_possible {
        return None;
    }
    let job = CopyJob {
        source: S3::clone(&from_driver),
        target: S3::clone(&to_driver),
        stored_from: from_driver.key(from).ok()?,
        stored_to: to_driver.key(to).ok()?,
        from: from.clone(),
        to: to.clone(),
    };
    Some(Box::pin(job.run(options)))
}

/// A copy between two storages.
struct CopyJob {
    source: S3,
    target: S3,
    /// The keys of the storages, for errors.
    from: Key,
    to: Key,
    /// The keys in the buckets.
    stored_from: Key,
    stored_to: Key,
}

impl CopyJob {
    async fn run(self, options: CopyOptions) -> Result<()> {
        self.copy(options).await.map_err(|error| {
            let key = match error.kind() {
                ErrorKind::AlreadyExists | ErrorKind::Conflict | ErrorKind::StorageFull => &self.to,
                _ => &self.from,
            };
            error.with_operation(Operation::Copy).with_driver("s3").with_key(key.as_str())
        })
    }

    async fn copy(&self, mut options: CopyOptions) -> Result<()> {
        if let MetadataDirective::Replace(metadata) = options.metadata {
            let mut metadata = metadata.validated()?;
            metadata.content_type.get_or_insert_with(|| content_type::of_key(&self.to));
            options.metadata = MetadataDirective::Replace(metadata);
        }
        self.target.copy_from(&self.source, &self.stored_from, &self.stored_to, &options).await
    }
}
