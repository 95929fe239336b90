//! Credentials of an EC2 instance, from its metadata service (IMDSv2).

use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue, Method, StatusCode};
use object_store::client::{HttpConnector, HttpRequest, HttpRequestBody};
use storage_core::{Error, Result};
use url::Url;

use super::document;
use super::environment::Environment;
use super::error::CredentialError;
use super::http_source::{HttpSource, Response};
use super::provider::{Fetched, Source};

/// The timeout of one request. The service runs on the same host. Outside of EC2 there is no
/// response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// How long expired credentials of the service are used. AWS extends their validity if it cannot
/// renew them.
const EXPIRED_GRACE: Duration = Duration::from_secs(10 * 60);
const TOKEN_PATH: &str = "/latest/api/token";
const ROLE_PATH: &str = "/latest/meta-data/iam/security-credentials/";
const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TOKEN_TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");

/// Fetches credentials from the metadata service.
pub(super) struct Instance {
    http: HttpSource,
    /// Without a slash at the end.
    endpoint: String,
}

impl Instance {
    /// Returns the metadata service that the environment names, or the default one. Returns `None`
    /// if the environment disables it.
    ///
    /// # Errors
    /// `InvalidConfig` if the name is not a URL.
    pub(super) fn from_environment(
        env: &Environment,
        http: &dyn HttpConnector,
    ) -> Result<Option<Self>> {
        const ENDPOINT: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
        if env.is_on("AWS_EC2_METADATA_DISABLED")? {
            return Ok(None);
        }
        let mode = env.text("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE")?;
        let usual = match mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6")) {
            true => "http://[fd00:ec2::254]",
            false => "http://169.254.169.254",
        };
        let endpoint = env.text(ENDPOINT)?.unwrap_or_else(|| usual.to_owned());
        let url = Url::parse(&endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| {
            Error::config(format!("{ENDPOINT} is not an http:// or https:// URL"))
        })?;
        let endpoint = url.as_str().trim_end_matches('/').to_owned();
        Ok(Some(Self { http: HttpSource::new(http, &url, REQUEST_TIMEOUT)?, endpoint }))
    }

    async fn get(
        &self,
        method: Method,
        path: &str,
        header: (HeaderName, HeaderValue),
    ) -> Result<Response, CredentialError> {
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{path}", self.endpoint).parse().map_err(|_| {
            CredentialError::config("the address of the metadata service is not a valid URL")
        })?;
        request.headers_mut().insert(header.0, header.1);
        self.http.send(request).await
    }

    async fn token(&self) -> Result<HeaderValue, CredentialError> {
        let ttl = (TOKEN_TTL, HeaderValue::from_static("21600"));
        let response = self.get(Method::PUT, TOKEN_PATH, ttl).await.map_err(|error| {
            // No response usually means that this is not an instance, so the error is permanent.
            CredentialError::new(format!(
                "{error}; is this an EC2 instance, and may this container reach its metadata?"
            ))
        })?;
        if !response.status.is_success() {
            return Err(self.http.rejection(&response, "the metadata service returned no token"));
        }
        let mut token = HeaderValue::from_bytes(response.body.trim_ascii()).map_err(|_| {
            CredentialError::new(format!("{} returned an invalid token", self.http.place()))
        })?;
        token.set_sensitive(true);
        Ok(token)
    }

    async fn role(&self, token: &HeaderValue) -> Result<String, CredentialError> {
        let response = self.get(Method::GET, ROLE_PATH, (TOKEN, token.clone())).await?;
        if response.status == StatusCode::NOT_FOUND {
            return Err(CredentialError::new(
                "the instance has no IAM role: attach an instance profile",
            ));
        }
        if !response.status.is_success() {
            return Err(self.http.rejection(&response, ""));
        }
        let text = std::str::from_utf8(&response.body).unwrap_or_default();
        let role = text.lines().next().unwrap_or_default().trim();
        if role.is_empty()
            || !role.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@-_".contains(&byte))
        {
            return Err(CredentialError::new(format!(
                "{} returned an invalid role name",
                self.http.place()
            )));
        }
        Ok(role.to_owned())
    }
}

impl Source for Instance {
    const TIMEOUT: Duration = Duration::from_secs(3);

    async fn fetch(&self) -> Result<Fetched, CredentialError> {
        let token = self.token().await?;
        let role = self.role(&token).await?;
        let response =
            self.get(Method::GET, &format!("{ROLE_PATH}{role}"), (TOKEN, token.clone())).await?;
        let secret = token.to_str().unwrap_or_default();
        let mut fetched = document::parse(&self.http, &response, secret)?;
        let now = SystemTime::now();
        if fetched.expires.is_some_and(|expires| expires <= now) {
            tracing::warn!(
                "the metadata service returned expired credentials; they are used for 10 minutes"
            );
            fetched.expires = Some(now + EXPIRED_GRACE);
        }
        Ok(fetched)
    }
}
