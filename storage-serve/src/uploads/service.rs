//! [`Uploads`] and its options.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderValue, Request, Response, Uri};
use storage_core::signed_url::SigningKey;
use storage_core::{Error, ErrorKind, Result, Storage};
use tower_service::Service;

use super::completed::CompletedUpload;
use super::engine::{Engine, Failure, OnComplete};
use super::grant::{Grant, Refusal, UploadRequest};
use super::handle;
use super::settings::Settings;
use crate::body::ResponseBody;
use crate::cors::Cors;
use crate::request_body::RequestBody;

/// The budget for parts in memory: 64 MiB, in KiB.
const MEMORY_KIB: u32 = 64 << 10;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Receives resumable uploads with tus 1.0, with the IETF draft and by Uppy's S3 plugin, and whole
/// files in one POST or PUT or in an HTML form.
///
/// A `tower` service. Mount it at [`mount_path`](Self::mount_path), which defaults to `/uploads`.
/// Cheap to clone. A restart of the server loses no acknowledged byte, and any number of servers
/// may receive the uploads of one storage, because everything about an upload is in the storage.
///
/// ```
/// use http::{Request, StatusCode};
/// use http_body_util::Full;
/// use storage_core::signed_url::SigningKey;
/// use storage_core::keys;
/// use storage_serve::uploads::{Grant, Refusal, UploadRequest, Uploads};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = storage_core::Memory::storage();
/// let key = SigningKey::new("a secret of many bytes")?;
/// let uploads = Uploads::new(storage, key, |head, file: UploadRequest| async move {
///     if !head.headers.contains_key("cookie") {
///         return Err(Refusal::new(StatusCode::UNAUTHORIZED, "Sign in first.\n"));
///     }
///     let name = file.file_name.as_deref().unwrap_or("file");
///     Ok(Grant::new(keys::unique("videos", name)?)?.max_size(1 << 30).types(["video/*"]))
/// })?;
///
/// let request = Request::post("/uploads")
///     .header("tus-resumable", "1.0.0")
///     .header("upload-length", "5")
///     .body(Full::<bytes::Bytes>::default())?;
/// assert_eq!(uploads.handle(request).await.status(), StatusCode::UNAUTHORIZED);
/// # Ok(()) }
/// ```
///
/// # The URL of an upload
///
/// The response to the beginning contains the URL of the upload. It is signed, and contains only a
/// random id and an expiry. Its holder needs nothing else to continue or to remove the upload, so
/// that the upload survives the end of the user's session. `authorize` is called once for each
/// upload, at its beginning. A URL that has expired gets 410, and one with another signature 404.
///
/// # Guarantees
///
/// - A response contains an offset that equals the length only after the object is visible. If the
///   completion failed or its response was lost, the next HEAD or PATCH completes the upload.
/// - An upload whose parts vanished is lost: 410. It never counts as finished.
/// - An acknowledged byte is always in an object that the state of the upload names. A tail that is
///   shorter than a part is stored before the state that names it, and deleted after the state that
///   does not.
/// - All parts but the last have one size, however often the client is interrupted.
/// - Of two requests on one upload in one process, the newer one takes over: the older one stores
///   what arrived and gets 409. Of requests in several processes, the first to commit its bytes
///   wins, and the other one gets 409. Its client continues from the new offset.
/// - A body that breaks off leaves what arrived, unless it has a checksum that cannot be verified
///   then. If the client closes the connection, the rest of the work goes on in a task of its own.
///
/// # Memory
///
/// Bytes that are not stored yet are counted in the [budget](Self::memory). If it is used up, a
/// request stores what it has, and waits. A request that receives slowly gives its memory back in
/// the same way while others wait. Parts of Uppy's S3 plugin that go through this service do not
/// count: with S3, each is in memory until it is stored.
#[derive(Clone)]
pub struct Uploads {
    settings: Arc<Settings>,
}

impl Uploads {
    /// Creates a service that receives uploads into a storage. The state of unfinished uploads is
    /// in the same storage, below `.uploads/`.
    ///
    /// `authorize` decides about each new upload. It receives the head of the request and what the
    /// client wants, and returns a [`Grant`] or a [`Refusal`].
    ///
    /// # Errors
    /// - `Unsupported` if the storage has no multipart uploads, or no conditional saves:
    ///   `create_new` and `if_match`. In the second case use [`with_state`](Self::with_state).
    /// - `PermissionDenied` if the storage is read-only.
    pub fn new<F, Fut>(storage: Storage, signing_key: SigningKey, authorize: F) -> Result<Self>
    where
        F: Fn(Parts, UploadRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Grant, Refusal>> + Send + 'static,
    {
        Self::with_state(storage.clone(), storage, signing_key, authorize)
    }

    /// Creates a service as [`new`](Self::new) does, with the state of unfinished uploads in
    /// another storage, below `.uploads/`. All servers of these uploads need the same two storages.
    ///
    /// # Errors
    /// - `Unsupported` if `storage` has no multipart uploads, or if `state` has no conditional
    ///   saves or is read-only.
    /// - `PermissionDenied` if `storage` is read-only.
    pub fn with_state<F, Fut>(
        storage: Storage,
        state: Storage,
        signing_key: SigningKey,
        authorize: F,
    ) -> Result<Self>
    where
        F: Fn(Parts, UploadRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Grant, Refusal>> + Send + 'static,
    {
        storage.multipart_limits()?;
        let capabilities = &state.info().capabilities;
        if !capabilities.write || !capabilities.create_new || !capabilities.save_if_match {
            return Err(Error::unsupported(
                "the state of uploads needs a storage with conditional saves (create_new and \
                 if_match): pass another storage to Uploads::with_state",
            ));
        }
        let mut engine = Engine::new(storage, MEMORY_KIB, IDLE_TIMEOUT);
        engine.states.storage = state;
        Ok(Self {
            settings: Arc::new(Settings {
                engine,
                signing_key,
                authorize: Arc::new(move |head, wanted| authorize(head, wanted).boxed()),
                mount_path: "/uploads".to_owned(),
                max_size: None,
                cors: None,
                s3: super::s3::Settings::default(),
                form_redirect: None,
            }),
        })
    }

    /// Sets the path at which the service is mounted, as clients see it. Defaults to `/uploads`.
    /// The URLs of uploads begin with it. The service accepts requests with and without it, because
    /// routers such as axum's `nest_service` remove it.
    #[must_use]
    pub fn mounted_at(self, path: impl Into<String>) -> Self {
        let path = path.into();
        self.set(|settings| {
            let path = path.trim_matches('/');
            settings.mount_path = if path.is_empty() { String::new() } else { format!("/{path}") };
        })
    }

    /// Returns the path at which this service must be mounted, without a slash at its end.
    #[must_use]
    pub fn mount_path(&self) -> &str {
        match self.settings.mount_path.as_str() {
            "" => "/",
            path => path,
        }
    }

    /// Sets the upper bound for every upload, in bytes. Defaults to no bound. A grant may set a
    /// lower one.
    #[must_use]
    pub fn max_size(self, bytes: u64) -> Self {
        self.set(|settings| settings.max_size = Some(bytes))
    }

    /// Sets the part size in bytes, for uploads that need no larger one. Defaults to what
    /// [`MultipartLimits::part_size`](storage_core::MultipartLimits::part_size) returns.
    #[must_use]
    pub fn part_size(self, bytes: u64) -> Self {
        self.set(|settings| settings.engine.part_size = Some(bytes))
    }

    /// Sets the budget for bytes in memory, in bytes, rounded down to KiB. Defaults to 64 MiB. An
    /// upload that is so large that its parts exceed the budget is refused with 413.
    #[must_use]
    pub fn memory(self, bytes: u64) -> Self {
        // A semaphore has fewer permits on 32-bit systems.
        let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).clamp(1, 1 << 28);
        self.set(|settings| settings.engine.set_memory(kib))
    }

    /// Sets a function that decides about each object before it is visible: it may scan the bytes,
    /// make thumbnails, or record the object in a database. Defaults to none.
    ///
    /// It is called when all bytes are stored and verified. The object is then under a temporary
    /// key. If the function returns `Ok`, exactly that version moves to the final key. A refusal
    /// with a status of 400 to 499 removes the upload, and is the response. After any other
    /// refusal, a panic, or 5 minutes without a result, the next request for the upload calls it
    /// again. `Ok` does not make the object visible yet: with [`Grant::create_new`], the key may be
    /// taken meanwhile.
    ///
    /// It is called at least once for each upload, and never twice at a time, also if several
    /// servers receive the uploads, as long as their clocks differ by less than a minute. If a
    /// server dies during the call, a request after 7 minutes calls the function again; use
    /// [`CompletedUpload::id`] as the idempotency key. After its result is recorded, it is not
    /// called again. The time limit ends the future, and not work that it has given to
    /// `spawn_blocking`.
    ///
    /// Uploads that were begun without the function become visible without it. Those that were
    /// begun with it wait for a process that has it.
    #[must_use]
    pub fn on_complete<F, Fut>(self, function: F) -> Self
    where
        F: Fn(CompletedUpload) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        let function = move |upload| function(upload).boxed();
        self.set(|settings| settings.engine.on_complete = Some(OnComplete(Arc::new(function))))
    }

    /// Removes the uploads whose URL expired more than an hour ago, with everything that is stored
    /// of them. Returns their number. Call it now and then, from one server or from several.
    ///
    /// An upload whose bytes are all stored is finished first, because its client may not have
    /// received a response. If that fails, it stays for a week. The objects of finished uploads
    /// stay. A process that ends while an upload begins can leave a multipart upload that nothing
    /// names: [`Storage::abort_stale`] removes it.
    ///
    /// If the future is dropped, some uploads may remain. Call it again.
    ///
    /// # Errors
    /// If an upload cannot be removed, the last error; the other uploads are removed nevertheless.
    /// An error of a listing ends the call. Call it again.
    pub async fn sweep(&self) -> Result<u64> {
        self.settings.engine.sweep().await.map_err(|failure| match failure {
            Failure::Storage(error) | Failure::Rejected(error) => error,
            failure => {
                let message = format!("an upload could not be removed: {failure:?}");
                Error::new(ErrorKind::Unexpected, message)
            }
        })
    }

    /// Sets the time without data after which a request ends with 503. What arrived before is
    /// stored. Defaults to `30s`.
    #[must_use]
    pub fn idle_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.engine.idle_timeout = timeout)
    }

    /// Lets pages of other origins upload, with all protocols of this service. Defaults to none:
    /// only pages of the service's own origin can use it in a browser.
    ///
    /// If `authorize` relies on cookies, the pages need [`Cors::credentials`].
    #[must_use]
    pub fn cors(self, cors: Cors) -> Self {
        self.set(|settings| settings.cors = Some(cors))
    }

    /// Sets the page to which a client goes after a form whose files are all stored, such as
    /// `/thanks`. The response is then 303. Defaults to none: the response is 201 with a list of
    /// the files.
    #[must_use]
    pub fn form_redirect(self, location: &Uri) -> Self {
        // Every URI is a valid header.
        let location = HeaderValue::try_from(location.to_string()).ok();
        self.set(|settings| settings.form_redirect = location)
    }

    pub(super) fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    /// Handles a request, as the `tower` service does. Every failure is a response.
    ///
    /// | status | reason |
    /// |-|-|
    /// | 200, 201, 204 | success |
    /// | 303 | a form is stored, and [`form_redirect`](Self::form_redirect) is set |
    /// | 400 | a header is malformed, contradicts the upload, or is missing |
    /// | 403 | a plain GET or POST of a page of another origin; a link for a part that has expired |
    /// | 403 | the upload consists of others and accepts no bytes |
    /// | 404 | the path is no URL of an upload that this key signed |
    /// | 405 | the method is not supported |
    /// | 409 | the request does not begin at the offset, or another request changed the upload |
    /// | 410 | the upload has expired, was removed, or is lost |
    /// | 411 | a part of the S3 protocol without `Content-Length` |
    /// | 412 | the client uses another version of tus |
    /// | 413, 415 | the upload is too large, or its type is not allowed |
    /// | 422 | the object cannot be created, for example because its key is taken |
    /// | 423 | another request is at work on the upload, or HEAD cannot finish it yet |
    /// | 429 | the user has too many unfinished uploads |
    /// | 460 | the body has another checksum |
    /// | 500, 503, 504, 507 | the storage failed, a stalled body, a timeout, a full storage |
    ///
    /// A refusal by `authorize` or [`on_complete`](Self::on_complete) has the status and the text
    /// that it contains. If the future is dropped, the request may have an effect.
    pub async fn handle<B: RequestBody>(&self, request: Request<B>) -> Response<ResponseBody> {
        handle::handle(&self.settings, request).await
    }
}

impl<B: RequestBody> Service<Request<B>> for Uploads {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<ResponseBody>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let uploads = self.clone();
        async move { Ok(uploads.handle(request).await) }.boxed()
    }
}

impl fmt::Debug for Uploads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uploads")
            .field("storage", &self.settings.engine.storage)
            .field("mount_path", &self.settings.mount_path)
            .finish_non_exhaustive()
    }
}
