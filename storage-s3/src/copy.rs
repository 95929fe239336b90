//! `copy`: copies an object of up to 5 GiB by one request, and a larger one by a multipart upload
//! whose parts are ranges of the source. The source is an object of the same bucket, or of another
//! bucket of the service.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use storage_client::{content_length, header_value};
use storage_core::{
    Checksums, CopyMode, CopyOptions, ETag, Error, ErrorKind, Key, Metadata, MetadataDirective,
    ObjectMeta, OpenOptions, Payload, Result, SaveMode, SaveOptions,
};

use crate::checksums::{ChecksumMode, ChecksumPolicy};
use crate::client::FailedRequest;
use crate::condition::{Condition, version_mismatch};
use crate::errors::ErrorResponse;
use crate::headers;
use crate::multipart::{MAX_PARTS, SentPart, Upload, part_error};
use crate::request::Request;
use crate::shared::Shared;
use crate::tag_set::{TAGGING, Tags};
use crate::{object_options, stat, tagging, xml};

/// The largest object that one request copies, in bytes ("CopyObject").
pub(crate) const MAX_SINGLE_COPY: u64 = 5 * 1024 * 1024 * 1024;
/// The size of the ranges of a larger copy, in bytes. It grows if there would be too many ranges.
const COPY_RANGE: u64 = 512 * 1024 * 1024;
/// How often a copy is tried if the source is replaced during each attempt.
pub(crate) const MAX_ATTEMPTS: usize = 5;

const SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");
const SOURCE_IF_MATCH: HeaderName = HeaderName::from_static("x-amz-copy-source-if-match");
/// The name of the same condition at Ceph, which does not evaluate the name of S3.
const CEPH_SOURCE_IF_MATCH: HeaderName = HeaderName::from_static("x-amz-copy-if-match");
const SOURCE_RANGE: HeaderName = HeaderName::from_static("x-amz-copy-source-range");
const DIRECTIVE: HeaderName = HeaderName::from_static("x-amz-metadata-directive");
/// The number of an object's tags. Absent if it has none.
const TAG_COUNT: HeaderName = HeaderName::from_static("x-amz-tagging-count");

/// The object to copy.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// The driver of the source's bucket. Its credentials read metadata and tags. The service reads
    /// the bytes with the credentials of the copy.
    s3: &'a Shared,
    key: &'a Key,
}

impl<'a> Source<'a> {
    pub(crate) fn new(s3: &'a Shared, key: &'a Key) -> Self {
        Self { s3, key }
    }

    /// Whether a copy under this key of this driver is a copy of the object onto itself.
    fn is(self, s3: &Shared, key: &Key) -> bool {
        self.key == key && self.s3.client.bucket().is_same_as(s3.client.bucket())
    }

    /// Returns the value of `x-amz-copy-source`.
    fn header(self) -> Result<HeaderValue> {
        header_value(&self.s3.client.bucket().copy_source(self.key.as_str()))
    }

    async fn stat(self) -> Result<ObjectMeta> {
        stat::stat(self.s3, self.key).await
    }

    async fn tags(self) -> Result<Tags> {
        tagging::of(self.s3, self.key).await
    }
}

/// Copies an object. `s3` is the driver of the destination.
pub(crate) async fn copy(
    s3: &Shared,
    from: Source<'_>,
    to: &Key,
    options: &CopyOptions,
) -> Result<()> {
    let is_in_place = from.is(s3, to);
    if is_in_place
        && (options.metadata == MetadataDirective::Keep || options.mode == CopyMode::CreateNew)
    {
        // S3 refuses a copy that changes nothing, so only check the source.
        options.check_source(&from.stat().await?)?;
        return match options.mode {
            CopyMode::CreateNew => Err(already_exists()),
            _ => Ok(()),
        };
    }
    if is_done_by_service(s3, options) {
        return copy_at_service(s3, from, to, options).await;
    }
    if is_in_place || (options.mode == CopyMode::CreateNew && !s3.features.conditional_put) {
        return Err(s3.features.conditions_unsupported());
    }
    // Every service evaluates the condition of a GET.
    copy_through_client(s3, from, to, options).await
}

/// Whether the service evaluates the conditions of a copy. Otherwise the driver reads and saves.
pub(crate) fn is_done_by_service(s3: &Shared, options: &CopyOptions) -> bool {
    (options.mode != CopyMode::CreateNew || s3.features.conditional_copy)
        && (options.if_source_match.is_none() || s3.features.conditional_source)
}

/// Copies by requests to the service, which must evaluate the conditions of the options.
pub(crate) async fn copy_at_service(
    s3: &Shared,
    from: Source<'_>,
    to: &Key,
    options: &CopyOptions,
) -> Result<()> {
    if options.if_source_match.as_ref().is_some_and(ETag::is_weak) {
        options.check_source(&from.stat().await?)?;
    }
    for _ in 0..MAX_ATTEMPTS {
        if let Some(done) = copy_once(s3, from, to, options).await? {
            return Ok(done);
        }
    }
    Err(Error::new(ErrorKind::Conflict, "the source was replaced during every attempt")
        .with_retryable(true))
}

pub(crate) fn already_exists() -> Error {
    Error::new(ErrorKind::AlreadyExists, "the object exists already")
}

/// Copies once. Returns `None` if the source was replaced between the HEAD and the copy.
async fn copy_once(
    s3: &Shared,
    from: Source<'_>,
    to: &Key,
    options: &CopyOptions,
) -> Result<Option<()>> {
    let source = match &options.metadata {
        // Checksums are stored as metadata, so that new metadata must repeat them.
        MetadataDirective::Replace(_) => Some(SourceObject::load(s3, from, to, options).await?),
        _ => None,
    };
    let request = request(s3, from, to, options, source.as_ref())?;
    if let Some(source) = source.as_ref().filter(|source| source.meta.size > s3.largest_copy) {
        return copy_by_ranges(s3, from, to, options, source).await;
    }
    // Read before the copy, because some services drop the tags with the old metadata.
    let tags = match &source {
        Some(source) if source.has_tags && tagging::may_be_dropped(s3) => Some(from.tags().await?),
        _ => None,
    };
    let response = s3.client.document(&request).await;
    let copied = response.and_then(|response| {
        let _: xml::Stored = xml::read_success("CopyObjectResult", &response.body)
            .map_err(|error| error.with_context("the copy may have been made"))?;
        Ok(response.headers)
    });
    match copied {
        Ok(headers) => {
            object_options::check_encryption_of_saved(&request.headers, &headers)?;
            object_options::check_storage_class(s3, to).await?;
            if let Some(tags) = &tags {
                tagging::ensure(s3, to, tags).await?;
            }
            Ok(Some(()))
        }
        Err(failed) if failed.error.kind() == ErrorKind::PreconditionFailed => {
            resolve_failed_condition(s3, to, options, failed).await
        }
        Err(failed)
            if failed.error_response.as_deref().is_some_and(ErrorResponse::may_be_too_large) =>
        {
            let source = SourceObject::load(s3, from, to, options).await?;
            if source.meta.size <= s3.largest_copy {
                return Err(failed.error);
            }
            copy_by_ranges(s3, from, to, options, &source).await
        }
        Err(failed) => Err(condition(options).interpret(failed)),
    }
}

/// Finds out which condition failed: that there is no destination, or that the source is unchanged.
async fn resolve_failed_condition(
    s3: &Shared,
    to: &Key,
    options: &CopyOptions,
    failed: FailedRequest,
) -> Result<Option<()>> {
    if options.mode == CopyMode::CreateNew && stat::exists(s3, to).await? {
        return Err(already_exists());
    }
    match (&options.metadata, &options.if_source_match) {
        (MetadataDirective::Replace(_), _) => Ok(None),
        (_, Some(etag)) => Err(version_mismatch(etag)),
        _ => Err(failed.error),
    }
}

/// The metadata of a source.
struct SourceObject {
    meta: ObjectMeta,
    checksums: Checksums,
    /// The headers that a copy must repeat if it is a copy of the object onto itself. Empty for
    /// every other copy.
    in_place: HeaderMap,
    has_tags: bool,
}

impl SourceObject {
    /// Loads the metadata, if the source is the version that the options name.
    async fn load(s3: &Shared, from: Source<'_>, to: &Key, options: &CopyOptions) -> Result<Self> {
        let headers = stat::head(from.s3, from.key.as_str()).await?;
        let size = content_length(&headers).unwrap_or_default();
        let meta = headers::to_object_meta(from.key.clone(), size, &headers);
        options.check_source(&meta)?;
        let in_place = if from.is(s3, to) {
            object_options::headers_kept_in_place(s3, &headers)
        } else {
            HeaderMap::new()
        };
        Ok(Self {
            meta,
            checksums: headers::stored_checksums(&headers),
            in_place,
            has_tags: headers.get(TAG_COUNT).is_some_and(|count| count != "0"),
        })
    }

    /// Returns the headers of the copy. A copy onto itself repeats the storage class, the
    /// encryption and the redirection, because S3 would remove them with the old metadata.
    fn headers(&self, s3: &Shared, metadata: &Metadata) -> Result<HeaderMap> {
        let mut headers =
            headers::from_metadata(metadata, &self.checksums, s3.features.underscores)?;
        headers.extend(self.in_place.clone());
        headers.extend(s3.object_headers.clone());
        Ok(headers)
    }

    fn condition(&self, s3: &Shared) -> Result<HeaderMap> {
        source_condition(s3, self.meta.etag.as_ref())
    }

    /// Whether the source is still the version of this metadata. For services that do not evaluate
    /// the condition of a part.
    async fn is_unchanged(&self, from: Source<'_>) -> Result<bool> {
        match from.stat().await {
            Ok(now) => Ok(now.etag.is_some()
                && (now.etag, now.last_modified, now.size)
                    == (self.meta.etag.clone(), self.meta.last_modified, self.meta.size)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn request<'a>(
    s3: &Shared,
    from: Source<'_>,
    to: &'a Key,
    options: &CopyOptions,
    source: Option<&SourceObject>,
) -> Result<Request<'a>> {
    let mut request =
        Request::new(Method::PUT, to.as_str()).header(SOURCE, from.header()?).allow_slow_response();
    request = match (&options.metadata, source) {
        (MetadataDirective::Replace(metadata), Some(source)) => request
            .header(DIRECTIVE, HeaderValue::from_static("REPLACE"))
            .headers(source.headers(s3, metadata)?)
            .headers(source.condition(s3)?),
        _ => request
            .headers(s3.object_headers.clone())
            .headers(source_condition(s3, options.if_source_match.as_ref())?),
    };
    condition(options).apply_to(request, s3.features.quoted_etags)
}

/// Returns the header that requires this version of the source.
fn source_condition(s3: &Shared, etag: Option<&ETag>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Some(etag) = etag {
        let etag = header_value(&etag.to_string())?;
        if s3.features.ceph_source_condition {
            headers.insert(CEPH_SOURCE_IF_MATCH, etag.clone());
        }
        headers.insert(SOURCE_IF_MATCH, etag);
    }
    Ok(headers)
}

fn condition(options: &CopyOptions) -> Condition {
    if options.mode == CopyMode::CreateNew { Condition::IfAbsent } else { Condition::None }
}

/// Copies by ranges even if the object is small, to probe the service.
pub(crate) async fn force_by_ranges(s3: &Shared, from: Source<'_>, to: &Key) -> Result<()> {
    let options = CopyOptions::default();
    let source = SourceObject::load(s3, from, to, &options).await?;
    copy_by_ranges(s3, from, to, &options, &source).await.map(|_| ())
}

/// Copies by a multipart upload whose parts are ranges of the source.
async fn copy_by_ranges(
    s3: &Shared,
    from: Source<'_>,
    to: &Key,
    options: &CopyOptions,
    source: &SourceObject,
) -> Result<Option<()>> {
    if !s3.features.part_copy {
        return Err(Error::unsupported(
            "this service cannot copy an object of more than 5 GiB in this way: read it and save it",
        ));
    }
    let metadata = match &options.metadata {
        MetadataDirective::Replace(metadata) => metadata,
        _ => &source.meta.metadata,
    };
    let unchecked = ChecksumPolicy { mode: ChecksumMode::None, headers: false };
    let mut headers = source.headers(s3, metadata)?;
    let tags = if source.has_tags { Some(from.tags().await?) } else { None };
    if let Some(tags) = &tags {
        headers.insert(TAGGING, tags.header.clone());
    }
    let mut upload = Upload::create(&s3.client, to, headers, unchecked).await?;
    match copy_and_complete(s3, from, options, source, &mut upload).await {
        Ok(()) => {
            object_options::check_storage_class(s3, to).await?;
            if let Some(tags) = &tags {
                tagging::ensure(s3, to, tags).await?;
            }
            Ok(Some(()))
        }
        Err(error) => {
            upload.abort().await;
            if error.kind() == ErrorKind::PreconditionFailed { Ok(None) } else { Err(error) }
        }
    }
}

/// Copies all ranges and completes the upload.
///
/// # Errors
/// `PreconditionFailed` if the source was replaced meanwhile.
async fn copy_and_complete(
    s3: &Shared,
    from: Source<'_>,
    options: &CopyOptions,
    source: &SourceObject,
    upload: &mut Upload,
) -> Result<()> {
    let copies = range_copies(s3, from, source, upload)?.into_iter();
    upload.run_copies(copies, s3.concurrency).await?;
    if !s3.features.has_conditional_part_source() && !source.is_unchanged(from).await? {
        return Err(Error::new(ErrorKind::PreconditionFailed, "the source was replaced"));
    }
    upload.complete(&condition(options), s3.features.quoted_etags).await.map(|_| ())
}

fn range_copies(
    s3: &Shared,
    from: Source<'_>,
    source: &SourceObject,
    upload: &Upload,
) -> Result<Vec<impl Future<Output = Result<SentPart>> + Send + 'static + use<>>> {
    let size = source.meta.size;
    let step = COPY_RANGE.min(s3.largest_copy).max(size.div_ceil(MAX_PARTS));
    let copy_source = from.header()?;
    let starts = (0..size).step_by(usize::try_from(step).unwrap_or(usize::MAX));
    starts
        .zip(1..)
        .map(|(start, number): (u64, usize)| {
            let end = start.saturating_add(step).min(size);
            let mut headers = source.condition(s3)?;
            headers.insert(SOURCE, copy_source.clone());
            headers.insert(SOURCE_RANGE, header_value(&format!("bytes={start}-{}", end - 1))?);
            let remote = upload.remote().clone();
            Ok(async move {
                let text = number.to_string();
                let request = Request::new(Method::PUT, remote.key.as_str())
                    .query("partNumber", &text)
                    .query("uploadId", &remote.id)
                    .headers(headers)
                    .allow_slow_response();
                let response = remote.client.document(&request).await.map_err(part_error)?;
                let copied: xml::Stored = xml::read_success("CopyPartResult", &response.body)?;
                Ok(SentPart { number, len: end - start, etag: copied.etag, checksum: None })
            })
        })
        .collect()
}

/// Reads the source and saves it as another object, for a service that does not evaluate a
/// condition of a copy.
async fn copy_through_client(
    s3: &Shared,
    from: Source<'_>,
    to: &Key,
    options: &CopyOptions,
) -> Result<()> {
    let source = SourceObject::load(s3, from, to, options).await?;
    let tags = if source.has_tags { Some(from.tags().await?) } else { None };
    let mut open = OpenOptions::default();
    open.if_match.clone_from(&options.if_source_match);
    let object = crate::open::open(from.s3, from.key, &open).await?;
    let meta = object.meta().clone();
    let mut save = SaveOptions::default();
    save.mode = match options.mode {
        CopyMode::CreateNew => SaveMode::CreateNew,
        _ => SaveMode::Overwrite,
    };
    save.metadata = match &options.metadata {
        MetadataDirective::Replace(metadata) => metadata.clone(),
        _ => meta.metadata,
    };
    let mut payload = Payload::from(object);
    for checksum in meta.checksums.iter() {
        payload = payload.with_expected_checksum(checksum.clone());
    }
    // As a copy by the service, it gets the tags of the source and not those of this driver.
    let s3 = Arc::new(s3.with_tags(tags));
    crate::save::save(&s3, to, payload, &save).await.map(|_| ())
}
