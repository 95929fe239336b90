//! [`Reader`]: GET and HEAD of an object of any source.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{FutureExt, StreamExt};
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, IF_RANGE, RETRY_AFTER,
    VARY,
};
use http::{Method, Response, StatusCode};
use storage_core::{
    ByteRange, ETag, Error, ErrorKind, Key, Object, ObjectMeta, OpenOptions, Result, UnknownSize,
};

use crate::body::{Body, OpenRange};
use crate::conditions;
use crate::content::{Overrides, Policy};
use crate::decode::decode;
use crate::encoding::{self, Encoded, Sent};
use crate::errors::plain;
use crate::ranges;
use crate::respond::{self, Decision};
use crate::source::Source;

/// How often an object may change between a look at it and its opening before the client is told to
/// come back.
const ATTEMPTS: usize = 3;

/// Answers GET and HEAD with the objects of any [`Source`]: ranges, conditions, encodings, headers.
///
/// A request for everything, or for one range without conditions, is one `open` of the source, HEAD
/// is one `stat`, other requests are a `stat` and what they need after that. An object of unknown
/// size is sent whole and without a length; where `stat` fails because of the size
/// ([`UnknownSize`]), the object is opened and not read. The answer is of one version, even if the
/// object is replaced between two calls.
///
/// ```
/// use http::{HeaderMap, Method, StatusCode};
/// use storage_core::Key;
/// use storage_serve::{Overrides, Reader};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// let storage = storage_core::Memory::storage();
/// storage.save("a.txt", "hello").await?;
///
/// let (key, reader) = (Key::new("a.txt")?, Reader::default());
/// let answer = reader.answer(&storage, &Method::GET, &HeaderMap::new(), &key, Overrides::default()).await?;
/// assert_eq!(answer.status(), StatusCode::OK);
/// assert_eq!(answer.body().len(), Some(5));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Reader {
    /// The headers of objects.
    pub policy: Policy,
    /// What is done for clients that do not accept the encoding of an object.
    pub encoded: Encoded,
}

impl Reader {
    /// Answers a GET or HEAD for an object. A method that is neither is answered as GET. Dropping
    /// the future stops whatever the source does for it.
    ///
    /// # Errors
    /// Those of the source, `NotFound` among them: [`failure`](crate::failure) makes answers of
    /// them. Conditions that do not hold and ranges that are not there are answers.
    pub async fn answer<S: Source>(
        &self,
        source: &S,
        method: &Method,
        headers: &HeaderMap,
        key: &Key,
        overrides: Overrides,
    ) -> Result<Response<Body>> {
        Read { reader: self, source, method, headers, key, overrides }.answer().await
    }
}

/// A GET or HEAD, as far as the answer depends on it.
struct Read<'a, S> {
    reader: &'a Reader,
    source: &'a S,
    method: &'a Method,
    headers: &'a HeaderMap,
    key: &'a Key,
    overrides: Overrides,
}

impl<S: Source> Read<'_, S> {
    /// A request for everything, or for one range without conditions, is one `open`. Others look at
    /// the object first.
    async fn answer(&self) -> Result<Response<Body>> {
        if self.method == Method::HEAD {
            return match self.source.stat(self.key).await {
                Ok(meta) => Ok(self.head(&meta)),
                // Its headers are known without its size. The body is not read.
                Err(error) => Ok(self.head(self.open_without_size(error).await?.meta())),
            };
        }
        let asked = ranges::asked(self.headers).unwrap_or_default();
        if self.needs_a_look(&asked) {
            return self.look_and_get().await;
        }
        let range = asked.first().copied();
        let mut options = options(None, range);
        options.allow_unknown_size = true;
        match self.source.open(self.key, &options).await {
            // A range of the stored bytes is none of the decoded ones.
            Ok(object)
                if range.is_some() && has_size(object.meta()) && self.is_decoded(object.meta()) =>
            {
                self.look_and_get().await
            }
            Ok(object) => Ok(self.send(object, range.is_some())),
            Err(error) if error.kind() == ErrorKind::RangeNotSatisfiable => {
                self.look_and_get().await
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the answer is not known before the object's metadata is.
    fn needs_a_look(&self, asked: &[ByteRange]) -> bool {
        // Storages refuse a range that is in no object, whatever its size, as a mistake of the
        // program.
        let is_nowhere = |range: &ByteRange| range.validated().is_err();
        conditions::is_conditional(self.headers)
            || asked.len() > 1
            || (!asked.is_empty() && self.headers.contains_key(IF_RANGE))
            || asked.iter().any(is_nowhere)
    }

    fn sent(&self, meta: &ObjectMeta) -> Sent {
        self.reader.encoded.sent(meta.metadata.content_encoding.as_deref(), self.headers)
    }

    fn is_decoded(&self, meta: &ObjectMeta) -> bool {
        matches!(self.sent(meta), Sent::Decoded(_))
    }

    fn content_headers(&self, meta: &ObjectMeta, sent: Sent) -> HeaderMap {
        let mut headers = self.reader.policy.headers(&shown(meta, sent), &self.overrides);
        if is_encoded(meta) && self.reader.encoded != Encoded::AsStored {
            headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
        if matches!(sent, Sent::Decoded(_)) {
            headers.remove(CONTENT_ENCODING);
        }
        if matches!(sent, Sent::Decoded(_)) || !has_size(meta) {
            headers.remove(ACCEPT_RANGES);
        }
        headers
    }

    fn decide(&self, meta: &ObjectMeta, sent: Sent) -> Decision {
        let decision = respond::decide(self.method, self.headers, &shown(meta, sent));
        match decision {
            // Without a size, a range has no positions.
            Decision::Part(_) | Decision::Parts(_) | Decision::NotSatisfiable
                if !has_size(meta) =>
            {
                Decision::Whole
            }
            // What is not sent as it is stored has no ranges.
            Decision::Part(_) | Decision::Parts(_) | Decision::NotSatisfiable
                if sent != Sent::AsStored =>
            {
                Decision::Whole
            }
            // Parts of several versions cannot be told apart without a strong ETag; and the
            // encoding of an object would seem to be that of the document that its parts are in.
            Decision::Parts(_) if meta.strong_etag().is_none() || is_encoded(meta) => {
                Decision::Whole
            }
            decision => decision,
        }
    }

    fn head(&self, meta: &ObjectMeta) -> Response<Body> {
        let sent = self.sent(meta);
        let mut headers = self.content_headers(meta, sent);
        match (self.decide(meta, sent), sent) {
            (Decision::NotModified, _) => respond::not_modified(headers),
            (Decision::PreconditionFailed, _) => respond::precondition_failed(),
            (_, Sent::NotAcceptable) => not_acceptable(),
            (_, Sent::Decoded(_)) => respond::whole(headers, Body::none()),
            (_, Sent::AsStored) => {
                if let Some(size) = meta.known_size() {
                    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
                }
                respond::whole(headers, Body::none())
            }
        }
    }

    /// Looks at the object, decides, and sends the version that was looked at; if it has changed
    /// meanwhile, once more.
    async fn look_and_get(&self) -> Result<Response<Body>> {
        for _ in 0..ATTEMPTS {
            if let Some(response) = self.try_look_and_get().await? {
                return Ok(response);
            }
        }
        Ok(changing())
    }

    /// `None` if the object is not what it was any more.
    async fn try_look_and_get(&self) -> Result<Option<Response<Body>>> {
        let meta = match self.source.stat(self.key).await {
            Ok(meta) => meta,
            Err(error) => return self.get_without_size(error).await.map(Some),
        };
        let sent = self.sent(&meta);
        let range = match self.decide(&meta, sent) {
            Decision::NotModified => {
                return Ok(Some(respond::not_modified(self.content_headers(&meta, sent))));
            }
            Decision::PreconditionFailed => return Ok(Some(respond::precondition_failed())),
            Decision::NotSatisfiable => return Ok(Some(respond::not_satisfiable(meta.size))),
            _ if sent == Sent::NotAcceptable => return Ok(Some(not_acceptable())),
            Decision::Whole => None,
            Decision::Part(range) => Some(range),
            Decision::Parts(ranges) => return self.get_parts(&meta, ranges).await,
        };
        let is_part = range.is_some();
        let object = self.open_version(&meta, range).await?;
        // A copy onto itself may have given the same version another encoding.
        let object = object.filter(|object| !is_part || !self.is_decoded(object.meta()));
        Ok(object.map(|object| self.send(object, is_part)))
    }

    /// Decides about an object whose size cannot be looked up, by the metadata that comes with its
    /// bytes.
    async fn get_without_size(&self, error: Error) -> Result<Response<Body>> {
        let object = self.open_without_size(error).await?;
        let sent = self.sent(object.meta());
        Ok(match self.decide(object.meta(), sent) {
            Decision::NotModified => {
                respond::not_modified(self.content_headers(object.meta(), sent))
            }
            Decision::PreconditionFailed => respond::precondition_failed(),
            _ => self.send(object, false),
        })
    }

    /// Opens an object whose `stat` failed because its size is not known before its last byte.
    /// Returns the error of `stat` if that is not the cause.
    async fn open_without_size(&self, error: Error) -> Result<Object> {
        if !UnknownSize::is_cause_of(&error) {
            return Err(error);
        }
        let mut options = OpenOptions::default();
        options.allow_unknown_size = true;
        self.source.open(self.key, &options).await
    }

    /// Opens the first part at once: while there is no answer yet, failures have a status.
    async fn get_parts(
        &self,
        meta: &ObjectMeta,
        ranges: Vec<Range<u64>>,
    ) -> Result<Option<Response<Body>>> {
        let Some(first) = self.open_version(meta, ranges.first().cloned()).await? else {
            return Ok(None);
        };
        let headers = self.content_headers(meta, Sent::AsStored);
        respond::parts(headers, ranges, meta.size, self.opener(meta, first)).map(Some)
    }

    /// Sends an object that was opened, all of it or a part.
    fn send(&self, object: Object, is_part: bool) -> Response<Body> {
        let sent = self.sent(object.meta());
        let headers = self.content_headers(object.meta(), sent);
        match sent {
            Sent::NotAcceptable => not_acceptable(),
            Sent::Decoded(coding) => respond::whole(headers, decode(coding, object)),
            Sent::AsStored if is_part && has_size(object.meta()) => {
                let (range, size) = (object.range(), object.meta().size);
                respond::part(headers, &range, size, Body::object(object))
            }
            Sent::AsStored => respond::whole(headers, Body::object(object)),
        }
    }

    /// Opens the version that was looked at; `None` if it is gone.
    async fn open_version(
        &self,
        meta: &ObjectMeta,
        range: Option<Range<u64>>,
    ) -> Result<Option<Object>> {
        match open(self.source, self.key, meta.strong_etag(), range.map(Into::into)).await {
            Ok(object) => Ok(is_same(meta, object.meta()).then_some(object)),
            Err(error) => match error.kind() {
                ErrorKind::PreconditionFailed | ErrorKind::RangeNotSatisfiable => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Opens the parts after the first: of the same version, or not at all.
    fn opener(&self, meta: &ObjectMeta, first: Object) -> OpenRange {
        let (source, key, etag) =
            (self.source.clone(), self.key.clone(), meta.strong_etag().cloned());
        let first = Mutex::new(Some(first));
        Arc::new(move |range| {
            let opened = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            let (source, key, etag) = (source.clone(), key.clone(), etag.clone());
            async move {
                let object = match opened {
                    Some(object) => object,
                    None => open(&source, &key, etag.as_ref(), Some(range.into())).await?,
                };
                Ok(object.into_stream().boxed())
            }
            .boxed()
        })
    }
}

async fn open<S: Source>(
    source: &S,
    key: &Key,
    version: Option<&ETag>,
    range: Option<ByteRange>,
) -> Result<Object> {
    source.open(key, &options(version, range)).await
}

fn options(version: Option<&ETag>, range: Option<ByteRange>) -> OpenOptions {
    let mut options = OpenOptions::default();
    options.if_match = version.cloned();
    options.range = range;
    options
}

fn has_size(meta: &ObjectMeta) -> bool {
    meta.known_size().is_some()
}

fn is_encoded(meta: &ObjectMeta) -> bool {
    encoding::is_encoded(meta.metadata.content_encoding.as_deref())
}

/// Whether two looks saw one version, as far as the storage tells. Not every storage tells the same
/// at both.
fn is_same(before: &ObjectMeta, after: &ObjectMeta) -> bool {
    fn agree<T: PartialEq>(before: Option<T>, after: Option<T>) -> bool {
        before.zip(after).is_none_or(|(before, after)| before == after)
    }
    before.size == after.size
        && agree(before.etag.as_ref(), after.etag.as_ref())
        && agree(
            before.last_modified.map(conditions::seconds),
            after.last_modified.map(conditions::seconds),
        )
}

/// The object as the client sees it. Decoded, it is another representation, which needs an ETag of
/// its own (RFC 9110, section 8.8.3.3): one by which no cache confuses the two, and a weak one,
/// since nobody knows that it is decoded to the same bytes everywhere.
fn shown(meta: &ObjectMeta, sent: Sent) -> Cow<'_, ObjectMeta> {
    if !matches!(sent, Sent::Decoded(_)) {
        return Cow::Borrowed(meta);
    }
    let mut decoded = meta.clone();
    decoded.etag =
        meta.etag.as_ref().and_then(|etag| ETag::weak(format!("{}-decoded", etag.opaque())).ok());
    Cow::Owned(decoded)
}

fn not_acceptable() -> Response<Body> {
    let mut response = plain(
        StatusCode::NOT_ACCEPTABLE,
        "The file is stored in an encoding that the client does not accept.\n",
    );
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    response
}

/// Each look saw another version than was there a moment later.
fn changing() -> Response<Body> {
    let mut response =
        plain(StatusCode::SERVICE_UNAVAILABLE, "The file is being replaced all the time.\n");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
