//! [`Http`]: the HTTP clients for requests to S3 and for requests for credentials.

use std::iter::successors;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use storage_client::{ClientConfig, MAX_HEADERS, Route};
use storage_core::{Result, async_trait};

/// How long establishing a connection may take, including TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The HTTP clients for requests by each route, each built when the first request needs it.
/// Requests to this machine, and to the metadata services of instances and containers, use no
/// proxy. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Http(Arc<Clients>);

#[derive(Debug, Default)]
struct Clients {
    proxied: OnceLock<reqwest::Client>,
    direct: OnceLock<reqwest::Client>,
    plain: OnceLock<reqwest::Client>,
}

impl Http {
    /// Returns the client for requests with this scheme to this host.
    ///
    /// # Errors
    /// `Unexpected` if TLS cannot be set up, for example because the system has no root
    /// certificates.
    pub(crate) fn client_for(&self, scheme: &str, host: &str) -> Result<reqwest::Client> {
        let route = Route::of(scheme, host);
        let client = match route {
            Route::Proxied => &self.0.proxied,
            Route::Direct => &self.0.direct,
            Route::Plain => &self.0.plain,
        };
        if let Some(client) = client.get() {
            return Ok(client.clone());
        }
        let built = ClientConfig::new(CONNECT_TIMEOUT).max_headers(MAX_HEADERS).build(route)?;
        Ok(client.get_or_init(|| built).clone())
    }
}

/// Sends the requests of the sources of credentials.
impl HttpConnector for Http {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Http {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // Credentials of containers and instances must not pass through a proxy.
        let (scheme, host) = (request.uri().scheme_str(), request.uri().host());
        let client = self.client_for(scheme.unwrap_or_default(), host.unwrap_or_default());
        let client = client.map_err(|cause| HttpError::new(HttpErrorKind::Unknown, cause))?;
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string().parse::<reqwest::Url>();
        let url = url.map_err(|cause| HttpError::new(HttpErrorKind::Request, cause))?;
        // The requests for credentials have one piece of body or none.
        let body = body.as_bytes().cloned().unwrap_or_default();
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(body.into());
        let response = client.execute(request).await.map_err(http_error)?;
        let (parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body.map_err(http_error))))
    }
}

/// Converts an error to the type of `object_store`, without the URL, which may contain a secret.
fn http_error(error: reqwest::Error) -> HttpError {
    let mut causes = successors(Some(&error as &dyn std::error::Error), |cause| cause.source());
    let is_timeout = error.is_timeout()
        || causes.any(|cause| {
            cause
                .downcast_ref::<std::io::Error>()
                .is_some_and(|cause| cause.kind() == std::io::ErrorKind::TimedOut)
        });
    let kind = if is_timeout {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else {
        HttpErrorKind::Unknown
    };
    HttpError::new(kind, error.without_url())
}
