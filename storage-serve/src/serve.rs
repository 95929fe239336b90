//! [`Serve`] and its options.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderValue;
use storage_core::Storage;
use storage_core::signed_url::SigningKey;

use crate::active_content::ActiveContent;
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

    /// Requires that each request has a link that was signed with this key. A link for PUT allows
    /// an upload. Defaults to no key.
    ///
    /// Give the storage's driver the same key, and the URL of this service as its `public_url`.
    /// Then its signed links work here. A request whose link is missing, expired, forged or signed
    /// for another key or method gets 403, whether or not the object exists.
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
        self.set(|settings| settings.signing_key = Some(key))
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
    /// With [`Redirect::Public`], the object is sent after all if the signed link sets the type or
    /// the disposition of the response, because a public URL cannot pass them on.
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
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("storage", &self.settings.storage).finish_non_exhaustive()
    }
}
