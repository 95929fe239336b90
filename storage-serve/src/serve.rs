//! [`Serve`]: a storage as an HTTP service.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use http::header::{ALLOW, CACHE_CONTROL, HeaderValue, LOCATION, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode};
use storage_core::signed_url::SigningKey;
use storage_core::{Key, Result, Storage, UrlMethod};
use tower_service::Service;

use crate::access::Admitted;
use crate::body::Body;
use crate::content::{Active, Overrides};
use crate::encoding::Encoded;
use crate::errors::{failure, method_not_allowed, plain};
use crate::get::Reader;
use crate::key::key_of;
use crate::settings::Redirect;
use crate::settings::Settings;
use crate::{malformed, put, respond};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long an upload may be silent.
const UPLOAD_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The bodies of requests that [`Serve`] takes: those of hyper and axum are such. There is nothing
/// to implement.
pub trait RequestBody:
    http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static
{
}

impl<B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static> RequestBody for B {}

/// Serves the objects of a storage: a `tower` service for GET and HEAD of `/<key>`, and with a
/// signing key for PUT.
///
/// What it keeps to:
/// - Ranges (one or several), If-None-Match, If-Modified-Since, If-Match, If-Unmodified-Since and
///   If-Range as RFC 9110 has them; a plain GET and a single range are one `open` of the storage,
///   HEAD is one `stat`, a request with conditions both.
/// - Bodies stream, in memory that does not grow with them. One that cannot be finished ends the
///   connection, so that nobody takes it for whole. Dropping the future or the body stops reading.
/// - Files that users upload do no harm to those who open them: types are as stored (`nosniff`),
///   and what can act is downloaded ([`Active`]).
/// - Signed links of drivers that sign with the same key ([`storage_core::signed_url`]) are
///   verified: a download link is no upload link, and an upload has the length and the type that
///   its link binds. Of the headers of an upload only `Content-Type` is stored: `Content-Encoding`
///   is 415, `Content-Disposition` and `Content-Language` are 403, and `Cache-Control` is ignored.
///   Set them for all uploads with the layer `DefaultMetadata` on the storage.
/// - A response that is given because of a link is `Cache-Control: private` or `no-store`, whatever
///   is stored.
/// - Clients learn of failures only what kind they are; the log learns the rest (`tracing`).
///
/// It does not: list keys, delete, speak TLS, or limit connections. Those are for the server around
/// it.
///
/// ```
/// use http::{Request, StatusCode};
/// use http_body_util::{BodyExt, Empty};
/// use storage_serve::Serve;
/// use tower_service::Service;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = storage_core::Memory::storage();
/// storage.save("notes/a.txt", "hello").await?;
///
/// let mut serve = Serve::new(storage);
/// let request = Request::get("/notes/a.txt").header("range", "bytes=1-2").body(Empty::<bytes::Bytes>::new())?;
/// let answer = serve.call(request).await?;
/// assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
/// assert_eq!(answer.headers()["content-range"], "bytes 1-2/5");
/// assert_eq!(answer.into_body().collect().await?.to_bytes(), "el");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Serve {
    settings: Arc<Settings>,
}

impl Serve {
    /// Every object of the storage, to everybody; no uploads. Layers choose less:
    /// `storage.prefixed("public/")`.
    #[must_use]
    pub fn new(storage: Storage) -> Self {
        Self {
            settings: Arc::new(Settings {
                storage,
                reader: Reader::default(),
                redirect: None,
                signing_key: None,
                public_reads: false,
                max_upload_size: None,
                upload_idle_timeout: UPLOAD_IDLE_TIMEOUT,
            }),
        }
    }

    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    /// From here on nothing is answered without a link that was signed with this key, and a link
    /// for PUT uploads.
    ///
    /// Give the storage's driver the same key, and the URL of this service as its `public_url`;
    /// then its signed links work here. What is missing, expired, forged or for something else is
    /// 403, whether the object is there or not.
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::{Request, StatusCode};
    /// use http_body_util::Empty;
    /// use storage_core::signed_url::SigningKey;
    /// use storage_core::{Key, UrlOptions};
    /// use storage_serve::Serve;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let storage = storage_core::Memory::storage();
    /// storage.save("a.txt", "hello").await?;
    /// let key = SigningKey::new("a secret of many bytes")?;
    /// let serve = Serve::new(storage).signing_key(key.clone());
    ///
    /// // A driver does this in `storage.url("a.txt").expires_in(..)`.
    /// let mut options = UrlOptions::default();
    /// options.expires_in = Some(Duration::from_secs(60));
    /// let link = key.sign(&"https://files.example.com/".parse()?, &Key::new("a.txt")?, &options)?;
    ///
    /// let signed = Request::get(link.as_str()).body(Empty::<bytes::Bytes>::new())?;
    /// assert_eq!(serve.answer(signed).await.status(), StatusCode::OK);
    /// let unsigned = Request::get("/a.txt").body(Empty::<bytes::Bytes>::new())?;
    /// assert_eq!(serve.answer(unsigned).await.status(), StatusCode::FORBIDDEN);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn signing_key(self, key: SigningKey) -> Self {
        self.set(|settings| settings.signing_key = Some(key))
    }

    /// With a signing key: reading needs no link, only uploading does. A link for reading is
    /// verified all the same, since what it says changes the answer.
    #[must_use]
    pub fn public_reads(self) -> Self {
        self.set(|settings| settings.public_reads = true)
    }

    /// What becomes of content that can act in a browser. The default is [`Active::Attachment`].
    #[must_use]
    pub fn active_content(self, active: Active) -> Self {
        self.set(|settings| settings.reader.policy.active = active)
    }

    /// The `Cache-Control` of objects that have none. The default is none; behind signed links it
    /// is `private`.
    #[must_use]
    pub fn cache_control(self, value: HeaderValue) -> Self {
        self.set(|settings| settings.reader.policy.cache_control = Some(value))
    }

    /// Shows user metadata, as headers `X-Storage-Meta-<name>`. The default is not to: it may not
    /// be for everybody.
    #[must_use]
    pub fn user_metadata(self, show: bool) -> Self {
        self.set(|settings| settings.reader.policy.user_metadata = show)
    }

    /// What is done for clients that do not accept the encoding an object is stored in. The default
    /// is [`Encoded::Decode`].
    #[must_use]
    pub fn encoded(self, encoded: Encoded) -> Self {
        self.set(|settings| settings.reader.encoded = encoded)
    }

    /// Sends clients to the storage instead of sending them objects. Whether an object is there
    /// they find out there, and what keeps browsers from harm is up to the server there.
    ///
    /// A storage that cannot make such links answers 501. What a signed link to here says of the
    /// answer's type and disposition a public URL cannot say: such a request is answered from here.
    #[must_use]
    pub fn redirect(self, to: Redirect) -> Self {
        self.set(|settings| settings.redirect = Some(to))
    }

    /// The most bytes an upload may have, whatever its link says. The default is no limit.
    #[must_use]
    pub fn max_upload_size(self, bytes: u64) -> Self {
        self.set(|settings| settings.max_upload_size = Some(bytes))
    }

    /// How long an upload may be silent before it is given up. The default is 30 seconds.
    #[must_use]
    pub fn upload_idle_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.upload_idle_timeout = timeout)
    }

    /// Answers a request: what the service does, for those who have no need of services.
    ///
    /// Every failure is an answer. An upload whose future is dropped has not happened, or, in its
    /// last moment, completely.
    ///
    /// | answer | when |
    /// |---|---|
    /// | 200, 206, 304 | GET and HEAD |
    /// | 201 | an upload is stored; its `ETag` is in the answer where the storage tells it |
    /// | 204 | OPTIONS |
    /// | 302 | [`redirect`](Self::redirect) |
    /// | 400, 408 | a request that is malformed ([`malformed`]); an upload that cannot be understood, broke off or stalled |
    /// | 403, 415 | there is no valid link, or the upload is not what its link is for |
    /// | 404 | there is no such object, nor can there be |
    /// | 405 | another method |
    /// | 406 | [`encoded`](Self::encoded) |
    /// | 409, 422 | the storage cannot hold the key beside others; the upload's bytes are not as many as was said |
    /// | 412 | a condition does not hold |
    /// | 413, 507 | an upload is too large, or there is no room for it |
    /// | 416 | no byte of those asked for is there |
    /// | 500, 501, 503, 504 | the storage failed, cannot do it, is busy, does not answer |
    pub async fn answer<B: RequestBody>(&self, request: Request<B>) -> Response<Body> {
        let method = request.method().clone();
        let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
        let response =
            self.try_answer(request).await.unwrap_or_else(|error| failure(&method, &error));
        let mut response = respond::finish(&method, response);
        malformed::close_if_chunked(is_chunked, &mut response);
        response
    }

    async fn try_answer<B: RequestBody>(&self, request: Request<B>) -> Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let settings = &*self.settings;
        if let Some(refusal) = malformed::ambiguous(&head, head.method == Method::PUT) {
            return Ok(refusal);
        }
        let method = match head.method {
            Method::GET => UrlMethod::Get,
            Method::HEAD => UrlMethod::Head,
            Method::PUT if settings.signing_key.is_some() => UrlMethod::Put,
            Method::OPTIONS => return Ok(self.options()),
            _ => return Ok(method_not_allowed(self.allowed())),
        };
        let key = key_of(head.uri.path())?;
        let Some(admitted) = settings.admit(method, &key, head.uri.query().unwrap_or_default())
        else {
            return Ok(plain(
                StatusCode::FORBIDDEN,
                "This needs a signed link, and one that has not expired.\n",
            ));
        };
        if method == UrlMethod::Put {
            return put::put(settings, &key, &admitted.grant, &head.headers, body).await;
        }
        if let Some(redirect) =
            settings.redirect.filter(|redirect| redirect.can_say(&admitted.grant))
        {
            return self.redirected(redirect, method, &key, &admitted).await;
        }
        let (reader, overrides) = (&settings.reader, Overrides::from(admitted.grant));
        let mut response =
            reader.answer(&settings.storage, &head.method, &head.headers, &key, overrides).await?;
        if admitted.by_link {
            respond::make_private(response.headers_mut());
        }
        Ok(response)
    }

    fn allowed(&self) -> &'static str {
        if self.settings.signing_key.is_some() {
            "GET, HEAD, PUT, OPTIONS"
        } else {
            "GET, HEAD, OPTIONS"
        }
    }

    fn options(&self) -> Response<Body> {
        let mut response = Response::new(Body::none());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(self.allowed()));
        response
    }

    async fn redirected(
        &self,
        redirect: Redirect,
        method: UrlMethod,
        key: &Key,
        admitted: &Admitted,
    ) -> Result<Response<Body>> {
        let mut link = self.settings.storage.url(key);
        if let Redirect::Signed(lifetime) = redirect {
            link = link.expires_in(admitted.at_most(lifetime)).method(method);
            if let Some(disposition) = &admitted.grant.content_disposition {
                link = link.response_content_disposition(disposition);
            }
            if let Some(content_type) = &admitted.grant.content_type {
                link = link.response_content_type(content_type);
            }
        }
        let link = link.await?;
        let location = HeaderValue::from_str(link.as_str())
            .map_err(|cause| storage_core::Error::unexpected("the link is no header", cause))?;
        let mut response = plain(StatusCode::FOUND, "");
        response.headers_mut().insert(LOCATION, location);
        if redirect == Redirect::Public && !admitted.by_link {
            response.headers_mut().remove(CACHE_CONTROL);
        }
        Ok(response)
    }
}

impl<B: RequestBody> Service<Request<B>> for Serve {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let serve = self.clone();
        async move { Ok(serve.answer(request).await) }.boxed()
    }
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("storage", &self.settings.storage).finish_non_exhaustive()
    }
}
