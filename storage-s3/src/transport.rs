//! [`Http`]: the HTTP client for requests to S3 and for requests for credentials.

use std::iter::successors;
use std::net::IpAddr;
use std::time::Duration;

use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use reqwest::redirect::Policy;
use storage_core::{Error, Result, async_trait};

/// How long establishing a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept. S3 closes it a little later.
const IDLE: Duration = Duration::from_secs(15);
/// The largest number of headers of a response. User metadata of 2 KiB can be hundreds.
const MAX_HEADERS: usize = 1024;

/// An HTTP client that follows no redirection, decodes no body and keeps no cookie. Requests to
/// this machine use no proxy. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    /// Uses no proxy, whatever the environment sets.
    direct: reqwest::Client,
}

impl Http {
    pub(crate) fn new() -> Result<Self> {
        let built = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|cause| {
                Error::unexpected(
                    "no HTTP client: are the system's root certificates installed?",
                    cause,
                )
            })
        };
        Ok(Self { client: built(builder())?, direct: built(builder().no_proxy())? })
    }

    /// Returns the client for requests to a host.
    pub(crate) fn client_for(&self, host: &str) -> reqwest::Client {
        if is_of_this_machine(host) { self.direct.clone() } else { self.client.clone() }
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("anystorage/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .referer(false)
        .http1_only()
        .http1_max_headers(MAX_HEADERS)
        .tcp_nodelay(true)
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        // The application may have enabled these features of reqwest for clients of its own.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
}

/// Used by the sources of credentials.
impl HttpConnector for Http {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Http {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // Credentials of containers and instances must not pass through a proxy.
        let client = if is_of_this_machine(request.uri().host().unwrap_or_default()) {
            &self.direct
        } else {
            &self.client
        };
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

/// Whether a host is this machine, or the host that it runs on.
fn is_of_this_machine(host: &str) -> bool {
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        // Over IPv6, the metadata service of instances is fd00:ec2::254, that of containers
        // fd00:ec2::23.
        Ok(IpAddr::V6(address)) => {
            address.is_loopback()
                || address.is_unicast_link_local()
                || address.segments()[..2] == [0xfd00, 0xec2]
        }
        Err(_) => host == "localhost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_tells_goes_through_no_proxy() {
        let is_direct =
            |uri: &str| is_of_this_machine(uri.parse::<http::Uri>().unwrap().host().unwrap());
        for uri in [
            "http://169.254.169.254/latest",
            "http://169.254.170.2/v2",
            "http://[fd00:ec2::254]/",
            "http://localhost:1/",
        ] {
            assert!(is_direct(uri), "{uri}");
        }
        for uri in [
            "https://sts.eu-west-1.amazonaws.com/",
            "http://10.0.0.1/",
            "http://[2600::1]/",
            "https://127.example.com/",
        ] {
            assert!(!is_direct(uri), "{uri}");
        }
    }
}
