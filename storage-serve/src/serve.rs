//! [`Serve`] and its options.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderValue;
use storage_core::signed_url::SigningKey;
use storage_core::{ErrorKind, LinkVerifier, Result, Storage};

use crate::active_content::ActiveContent;
use crate::cors::Cors;
use crate::encoding::EncodingPolicy;
use crate::responder::Responder;
use crate::settings::{Redirect, Settings};

const UPLOAD_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves the objects of a storage over HTTP.
///
/// A `tower` service for GET and HEAD of `/<key>`, and with a signing key for PUT. See the [crate's
/// documentation](crate) for an example and its guarantees. Cheap to clone.
///
/// A GET of the whole object or of one range, without conditions, is one `open` of the storage. A
/// HEAD is one `stat`. A GET with conditions or several ranges is one `stat`, followed by an `open`
/// for each part that is sent.
///
/// Of the headers of an upload, only `Content-Type` is stored, because a link binds no other.
/// `Content-Encoding` is rejected with 415, `Content-Disposition` and `Content-Language` with 403,
/// and `Cache-Control` is ignored. To set them for all uploads, add the layer
/// [`DefaultMetadata`](storage_core::layers::DefaultMetadata) to the storage.
///
/// A response to a request that needs a link has `Cache-Control: private` or `no-store`, regardless
/// of the object's metadata.
#[derive(Clone)]
pub struct Serve {
    pub(crate) settings: Arc<Settings>,
}

impl Serve {
    /// Returns a service that sends every object to every client and accepts no uploads.
    ///
    /// Use a layer to serve less: `storage.prefixed("public/")`.
    #[must_use]
    pub fn new(storage: Storage) -> Self {
        Self {
            settings: Arc::new(Settings {
                storage,
                responder: Responder::default(),
                redirect: None,
                links: None,
                strips_base_path: false,
                public_reads: false,
                max_upload_size: None,
                upload_idle_timeout: UPLOAD_IDLE_TIMEOUT,
                cors: None,
            }),
        }
    }

    /// Returns a service for the links of a storage. It accepts the signed links that
    /// [`Storage::url`] returns and refuses all other requests.
    ///
    /// The signing key, the URL of the service and the prefixes of keys come from the storage's
    /// driver, through all layers. The secret is therefore configured in one place, the options
    /// `public_url` and `signing_key` of the storage. The service serves exactly the objects of
    /// this storage: objects outside of its prefix are 404, and a read-only storage accepts no
    /// upload.
    ///
    /// The path of a request is the part of the URL after `public_url`; it begins with the prefix
    /// of the storage. Mount the service at [`mount_path`](Self::mount_path), or use
    /// [`strip_mount_path`](Self::strip_mount_path).
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::{Request, StatusCode};
    /// use http_body_util::Empty;
    /// use storage_core::Registry;
    /// use storage_core::config::{Options, StorageConfig};
    /// use storage_serve::Serve;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // The options are usually in a configuration file.
    /// let options = Options::new()
    ///     .with("prefix", "avatars")
    ///     .with("public_url", "/media/")
    ///     .with("signing_key", "a secret of many bytes");
    /// let storage =
    ///     Registry::with_memory().open_config(&StorageConfig::new("memory", options)?)?;
    /// storage.save("ada.txt", "hello").await?;
    ///
    /// // In axum: Router::new().nest_service(serve.mount_path(), serve.clone())
    /// let serve = Serve::for_storage(&storage)?.strip_mount_path();
    /// assert_eq!(serve.mount_path(), "/media");
    ///
    /// let link = storage.url("ada.txt").expires_in(Duration::from_secs(60)).await?;
    /// assert_eq!(link.without_query(), "/media/avatars/ada.txt");
    /// let request = Request::get(link.as_str()).body(Empty::<bytes::Bytes>::new())?;
    /// assert_eq!(serve.handle(request).await.status(), StatusCode::OK);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// - `InvalidConfig` if the storage has no `public_url` or no `signing_key`.
    /// - `Unsupported` if another server verifies its links, as S3 does: see
    ///   [`for_own_links`](Self::for_own_links).
    pub fn for_storage(storage: &Storage) -> Result<Self> {
        let links = storage.link_verifier()?;
        Ok(Self::new(storage.clone()).set(|settings| settings.links = Some(links)))
    }

    /// Serves a storage to the holders of its signed links, as [`for_storage`](Self::for_storage)
    /// does, or returns `None` if another server verifies its links, as S3 does.
    ///
    /// For an application that uses a disk in development and S3 in production:
    ///
    /// ```
    /// use storage_core::{Result, Storage};
    /// use storage_serve::Serve;
    ///
    /// # struct Router;
    /// # impl Router { fn nest_service(self, _: &str, _: Serve) -> Self { self } }
    /// fn with_links(mut router: Router, storage: &Storage) -> Result<Router> {
    ///     if let Some(serve) = Serve::for_own_links(storage)? {
    ///         router = router.nest_service(serve.mount_path(), serve.clone());
    ///     }
    ///     Ok(router)
    /// }
    /// ```
    ///
    /// # Errors
    /// `InvalidConfig` if the storage has no `public_url` or no `signing_key`.
    pub fn for_own_links(storage: &Storage) -> Result<Option<Self>> {
        match Self::for_storage(storage) {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
            serve => serve.map(Some),
        }
    }

    /// Returns the path at which this service must be mounted: the path of the storage's
    /// `public_url`, without a slash at its end. Returns `/` if that path is empty, and for a
    /// service that was not created with [`for_storage`](Self::for_storage). axum's `nest_service`
    /// panics for `/`: use `fallback_service` if `public_url` has no path.
    #[must_use]
    pub fn mount_path(&self) -> &str {
        match self.settings.base_path() {
            "" => "/",
            path => path,
        }
    }

    /// Removes [`mount_path`](Self::mount_path) from the path of each request, and responds with
    /// 404 to requests for other paths. Defaults to off, because routers such as axum's
    /// `nest_service` remove it, as many proxies do.
    #[must_use]
    pub fn strip_mount_path(self) -> Self {
        self.set(|settings| settings.strips_base_path = true)
    }

    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    /// Requires that each request has a link that was signed with this key. A link for PUT allows
    /// an upload. Defaults to no key.
    ///
    /// Use this method for links that another program signs. The path of such a link contains the
    /// object's key in this storage, without the prefixes of its layers. For links of the storage
    /// itself, use [`for_storage`](Self::for_storage), which takes the key from the driver. A
    /// request whose link is missing, expired, forged or signed for another key or method gets 403,
    /// whether or not the object exists.
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::{Request, StatusCode};
    /// use http_body_util::Empty;
    /// use storage_core::signed_url::SigningKey;
    /// use storage_core::{Key, UrlOptions};
    /// use storage_serve::Serve;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
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
    /// assert_eq!(serve.handle(signed).await.status(), StatusCode::OK);
    /// let unsigned = Request::get("/a.txt").body(Empty::<bytes::Bytes>::new())?;
    /// assert_eq!(serve.handle(unsigned).await.status(), StatusCode::FORBIDDEN);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn signing_key(self, key: SigningKey) -> Self {
        let links = LinkVerifier::new(key);
        self.set(|settings| {
            let is_writable = settings.storage.info().capabilities.write;
            settings.links = Some(if is_writable { links } else { links.read_only() });
        })
    }

    /// Allows reading without a link, if a signing key is set. Uploads still need one.
    ///
    /// A link for reading is still verified, because it may set headers of the response.
    #[must_use]
    pub fn public_reads(self) -> Self {
        self.set(|settings| settings.public_reads = true)
    }

    /// Sets how content that can execute scripts is sent. Defaults to
    /// [`ActiveContent::Attachment`].
    #[must_use]
    pub fn active_content(self, active: ActiveContent) -> Self {
        self.set(|settings| settings.responder.headers.active_content = active)
    }

    /// Sets the `Cache-Control` of objects that have none. Defaults to no header. Responses to
    /// requests that need a link always contain `private` or `no-store`.
    #[must_use]
    pub fn cache_control(self, value: HeaderValue) -> Self {
        self.set(|settings| settings.responder.headers.cache_control = Some(value))
    }

    /// Sets whether user metadata is sent, as headers `X-Storage-Meta-<name>`. Defaults to `false`,
    /// because user metadata may be confidential.
    #[must_use]
    pub fn user_metadata(self, send: bool) -> Self {
        self.set(|settings| settings.responder.headers.user_metadata = send)
    }

    /// Sets how an object is sent to clients that do not accept its encoding. Defaults to
    /// [`EncodingPolicy::Decode`].
    #[must_use]
    pub fn encoding_policy(self, policy: EncodingPolicy) -> Self {
        self.set(|settings| settings.responder.encoding_policy = policy)
    }

    /// Redirects clients to the storage instead of sending objects. Defaults to sending them.
    ///
    /// The redirect does not check that the object exists, and the server of the storage decides
    /// which headers protect browsers. The response is 501 if the storage cannot create such links.
    /// With [`Redirect::Public`], the object is sent without a redirect if the signed link sets the
    /// type or the disposition of the response, because a public URL cannot contain them.
    #[must_use]
    pub fn redirect(self, to: Redirect) -> Self {
        self.set(|settings| settings.redirect = Some(to))
    }

    /// Sets the upper bound for uploads, in bytes. It applies in addition to the length of a link.
    /// Defaults to no bound.
    #[must_use]
    pub fn max_upload_size(self, bytes: u64) -> Self {
        self.set(|settings| settings.max_upload_size = Some(bytes))
    }

    /// Sets the time without data after which an upload fails with 408. Defaults to `30s`.
    #[must_use]
    pub fn upload_idle_timeout(self, timeout: Duration) -> Self {
        self.set(|settings| settings.upload_idle_timeout = timeout)
    }

    /// Lets pages of other origins read objects, and upload them with links. Defaults to none.
    ///
    /// With [`redirect`](Self::redirect), the server of the storage must allow the pages too.
    #[must_use]
    pub fn cors(self, cors: Cors) -> Self {
        self.set(|settings| settings.cors = Some(cors))
    }
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("storage", &self.settings.storage).finish_non_exhaustive()
    }
}
