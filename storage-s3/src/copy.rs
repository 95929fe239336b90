//! `copy`: the service's own, in one request up to 5 GiB, by ranges above.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use storage_core::{
    Checksums, CopyMode, CopyOptions, Error, ErrorKind, Key, Metadata, MetadataDirective,
    ObjectMeta, OpenOptions, Payload, Result, SaveMode, SaveOptions,
};

use crate::checksums::{Checking, ChecksumMode};
use crate::client::Failed;
use crate::condition::Condition;
use crate::endpoint::in_query;
use crate::errors::Refusal;
use crate::headers;
use crate::multipart::{MAX_PARTS, Sent, Upload, of_part};
use crate::request::Request;
use crate::shared::Shared;
use crate::{stat, stored, xml};

/// The largest object that one request copies ("CopyObject").
pub(crate) const LARGEST: u64 = 5 * 1024 * 1024 * 1024;
/// The ranges that a larger one is copied by; more, if there would be too many.
const RANGE: u64 = 512 * 1024 * 1024;
/// How often a source is looked at anew that is replaced all the time.
const LOOKS: usize = 5;

const SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");
const SOURCE_IF_MATCH: HeaderName = HeaderName::from_static("x-amz-copy-source-if-match");
const SOURCE_RANGE: HeaderName = HeaderName::from_static("x-amz-copy-source-range");
const DIRECTIVE: HeaderName = HeaderName::from_static("x-amz-metadata-directive");
/// How many tags an object has; not there if it has none.
const TAG_COUNT: HeaderName = HeaderName::from_static("x-amz-tagging-count");
const TAGGING: HeaderName = HeaderName::from_static("x-amz-tagging");

pub(crate) async fn copy(s3: &Shared, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
    if from == to
        && (options.metadata == MetadataDirective::Keep || options.mode == CopyMode::CreateNew)
    {
        // S3 refuses a copy that would change nothing.
        stat::head(s3, from.as_str()).await?;
        return match options.mode {
            CopyMode::CreateNew => Err(already_exists()),
            _ => Ok(()),
        };
    }
    if options.mode == CopyMode::CreateNew && !s3.abilities.conditional_copy {
        if !s3.abilities.conditional_put {
            return Err(s3.abilities.no_conditions());
        }
        return through_here(s3, from, to, options).await;
    }
    for _ in 0..LOOKS {
        if let Some(done) = copy_once(s3, from, to, options).await? {
            return Ok(done);
        }
    }
    Err(Error::new(ErrorKind::Conflict, "the source was replaced all the time")
        .with_retryable(true))
}

fn already_exists() -> Error {
    Error::new(ErrorKind::AlreadyExists, "there is an object already")
}

/// `None` if the source was replaced between a look at it and the copy.
async fn copy_once(s3: &Shared, from: &Key, to: &Key, options: &CopyOptions) -> Result<Option<()>> {
    let source = match &options.metadata {
        // The checksums of the bytes are metadata too, and have to be carried along.
        MetadataDirective::Replace(_) => Some(Source::look(s3, from).await?),
        _ => None,
    };
    let request = request(s3, from, to, options, source.as_ref())?;
    if let Some(source) = source.filter(|source| source.meta.size > s3.largest_copy) {
        return by_ranges(s3, from, to, options, &source).await;
    }
    let answer = s3.client.document(&request).await;
    let copied = answer.and_then(|answer| {
        let _: xml::Copied = xml::proof("CopyObjectResult", &answer.body)
            .map_err(|error| error.with_context("the copy may be made"))?;
        Ok(answer.headers)
    });
    match copied {
        Ok(headers) => {
            stored::check_encryption_of_stored(&request.headers, &headers)?;
            stored::check_storage_class(s3, to).await?;
            Ok(Some(()))
        }
        Err(failed) if failed.error.kind() == ErrorKind::PreconditionFailed => {
            settle(s3, to, options, failed).await
        }
        Err(failed) if failed.refusal.as_deref().is_some_and(Refusal::may_be_too_large) => {
            let source = Source::look(s3, from).await?;
            if source.meta.size <= s3.largest_copy {
                return Err(failed.error);
            }
            by_ranges(s3, from, to, options, &source).await
        }
        Err(failed) => Err(condition(options).explain(failed)),
    }
}

/// Finds out which of two conditions did not hold: that there is no destination, or that the source
/// is what it was.
async fn settle(
    s3: &Shared,
    to: &Key,
    options: &CopyOptions,
    failed: Failed,
) -> Result<Option<()>> {
    if options.mode == CopyMode::CreateNew && stat::exists(s3, to).await? {
        return Err(already_exists());
    }
    match options.metadata {
        MetadataDirective::Replace(_) => Ok(None),
        _ => Err(failed.error),
    }
}

/// What is known of a source.
struct Source {
    meta: ObjectMeta,
    kept: Checksums,
    /// What a copy onto itself keeps beside the metadata.
    in_place: HeaderMap,
    has_tags: bool,
}

impl Source {
    async fn look(s3: &Shared, key: &Key) -> Result<Self> {
        let headers = stat::head(s3, key.as_str()).await?;
        let size = headers::content_length(&headers).unwrap_or_default();
        Ok(Self {
            meta: headers::to_meta(key.clone(), size, &headers),
            kept: headers::kept_checksums(&headers),
            in_place: stored::kept_in_place(s3, &headers),
            has_tags: headers.get(TAG_COUNT).is_some_and(|count| count != "0"),
        })
    }

    /// The copy's headers. A copy onto itself keeps what the caller did not name: S3 would take
    /// away the storage class, the encryption and the redirection with the old metadata.
    fn headers(&self, s3: &Shared, to: &Key, metadata: &Metadata) -> Result<HeaderMap> {
        let mut headers = headers::of_metadata(metadata, &self.kept, s3.abilities.underscores)?;
        if self.meta.key == *to {
            headers.extend(self.in_place.clone());
        }
        headers.extend(s3.object_headers.clone());
        Ok(headers)
    }

    fn condition(&self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        if let Some(etag) = &self.meta.etag {
            headers.insert(SOURCE_IF_MATCH, headers::header_value(&etag.to_string())?);
        }
        Ok(headers)
    }
}

fn request<'a>(
    s3: &Shared,
    from: &Key,
    to: &'a Key,
    options: &CopyOptions,
    source: Option<&Source>,
) -> Result<Request<'a>> {
    let copy_source = headers::header_value(&s3.client.bucket().copy_source(from.as_str()))?;
    let mut request =
        Request::new(Method::PUT, to.as_str()).header(SOURCE, copy_source).patiently();
    request = match (&options.metadata, source) {
        (MetadataDirective::Replace(metadata), Some(source)) => request
            .header(DIRECTIVE, HeaderValue::from_static("REPLACE"))
            .headers(source.headers(s3, to, metadata)?)
            .headers(source.condition()?),
        _ => request.headers(s3.object_headers.clone()),
    };
    condition(options).put_on(request, s3.abilities.quoted_etags)
}

fn condition(options: &CopyOptions) -> Condition {
    if options.mode == CopyMode::CreateNew { Condition::Missing } else { Condition::Always }
}

/// Copies by ranges whatever the size is, to see whether the service can.
pub(crate) async fn in_ranges(s3: &Shared, from: &Key, to: &Key) -> Result<()> {
    let source = Source::look(s3, from).await?;
    by_ranges(s3, from, to, &CopyOptions::default(), &source).await.map(|_| ())
}

/// An upload whose parts are ranges of the source.
async fn by_ranges(
    s3: &Shared,
    from: &Key,
    to: &Key,
    options: &CopyOptions,
    source: &Source,
) -> Result<Option<()>> {
    if !s3.abilities.part_copy {
        return Err(Error::unsupported(
            "this service copies no objects above 5 GiB: read and save it",
        ));
    }
    let metadata = match &options.metadata {
        MetadataDirective::Replace(metadata) => metadata,
        _ => &source.meta.metadata,
    };
    let unchecked = Checking { mode: ChecksumMode::None, headers: false };
    let mut headers = source.headers(s3, to, metadata)?;
    if source.has_tags {
        headers.insert(TAGGING, tags(s3, from).await?);
    }
    let mut upload = Upload::create(&s3.client, to, headers, unchecked).await?;
    let copied =
        upload.run_all(ranges(s3, from, source, &upload)?.into_iter(), s3.concurrency).await;
    let completed = match copied {
        Ok(()) => upload.complete(&condition(options), s3.abilities.quoted_etags).await,
        Err(error) => Err(error),
    };
    match completed {
        Ok(_) => {
            stored::check_storage_class(s3, to).await?;
            Ok(Some(()))
        }
        Err(error) => {
            upload.abort().await;
            if error.kind() == ErrorKind::PreconditionFailed { Ok(None) } else { Err(error) }
        }
    }
}

/// The tags of an object, as the header `x-amz-tagging` of an upload has them. A copy in one
/// request carries them along by itself.
async fn tags(s3: &Shared, key: &Key) -> Result<HeaderValue> {
    let request = Request::new(Method::GET, key.as_str()).query("tagging", "");
    let document = s3.client.document(&request).await?;
    let tagging: xml::Tagging = xml::answer("Tagging", &document.body)?;
    let pair = |tag: &xml::Tag| format!("{}={}", in_query(&tag.key), in_query(&tag.value));
    let pairs: Vec<_> = tagging.tag_set.tags.iter().map(pair).collect();
    headers::header_value(&pairs.join("&"))
}

fn ranges(
    s3: &Shared,
    from: &Key,
    source: &Source,
    upload: &Upload,
) -> Result<Vec<impl Future<Output = Result<Sent>> + Send + 'static + use<>>> {
    let size = source.meta.size;
    let step = RANGE.min(s3.largest_copy).max(size.div_ceil(MAX_PARTS));
    let copy_source = headers::header_value(&s3.client.bucket().copy_source(from.as_str()))?;
    let starts = (0..size).step_by(usize::try_from(step).unwrap_or(usize::MAX));
    starts
        .zip(1..)
        .map(|(start, number): (u64, usize)| {
            let end = start.saturating_add(step).min(size);
            let mut headers = source.condition()?;
            headers.insert(SOURCE, copy_source.clone());
            headers.insert(
                SOURCE_RANGE,
                headers::header_value(&format!("bytes={start}-{}", end - 1))?,
            );
            let (client, key, id) =
                (upload.client().clone(), upload.key().clone(), upload.id().to_owned());
            Ok(async move {
                let text = number.to_string();
                let request = Request::new(Method::PUT, key.as_str())
                    .query("partNumber", &text)
                    .query("uploadId", &id)
                    .headers(headers)
                    .patiently();
                let answer = client.document(&request).await.map_err(of_part)?;
                let copied: xml::Copied = xml::proof("CopyPartResult", &answer.body)?;
                Ok(Sent { number, len: end - start, etag: copied.etag, checksum: None })
            })
        })
        .collect()
}

/// Reads the source and saves it under a condition, where the service's own copy knows none.
async fn through_here(s3: &Shared, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
    let object = crate::open::open(s3, from, &OpenOptions::default()).await?;
    let meta = object.meta().clone();
    let mut save = SaveOptions::default();
    save.mode = SaveMode::CreateNew;
    save.metadata = match &options.metadata {
        MetadataDirective::Replace(metadata) => metadata.clone(),
        _ => meta.metadata,
    };
    let mut payload = Payload::from(object);
    for checksum in meta.checksums.iter() {
        payload = payload.with_expected_checksum(checksum.clone());
    }
    crate::save::save(s3, to, payload, &save).await.map(|_| ())
}
