//! Credentials of a role in exchange for a token in a file: Kubernetes service accounts, CI
//! systems.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderValue, Method, header};
use object_store::client::{HttpConnector, HttpRequest, HttpRequestBody};
use storage_client::is_loopback;
use storage_core::{Error, Result};
use url::{Url, form_urlencoded};

use super::document::RawCredentials;
use super::environment::Environment;
use super::error::CredentialError;
use super::http_source::{HttpSource, Response, excerpt};
use super::provider::{Fetched, Source};
use super::token_file;
use crate::xml::{self, Element, FromElement};

/// The timeout of one request to STS.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A role, and the token that it is requested with.
pub(super) struct WebIdentity {
    pub(super) token_file: PathBuf,
    pub(super) role_arn: String,
    pub(super) session_name: Option<String>,
}

impl WebIdentity {
    /// Returns the web identity of the environment, if it names a token.
    ///
    /// # Errors
    /// `InvalidConfig` if it names no role.
    pub(super) fn from_environment(env: &Environment) -> Result<Option<Self>> {
        let Some(token_file) = env.path("AWS_WEB_IDENTITY_TOKEN_FILE") else { return Ok(None) };
        let role_arn = env.text("AWS_ROLE_ARN")?.ok_or_else(|| {
            Error::config(
                "AWS_WEB_IDENTITY_TOKEN_FILE is set, but not AWS_ROLE_ARN: set it to the role that the token is for",
            )
        })?;
        Ok(Some(Self { token_file, role_arn, session_name: env.text("AWS_ROLE_SESSION_NAME")? }))
    }

    /// Returns the source that fetches credentials from STS at `endpoint`.
    ///
    /// # Errors
    /// `InvalidConfig` for an endpoint without TLS on another machine, which would expose the
    /// token.
    pub(super) fn into_source(self, endpoint: &str, http: &dyn HttpConnector) -> Result<Sts> {
        let url =
            Url::parse(endpoint).ok().filter(|url| url.scheme() == "https" || is_this_machine(url));
        let url = url.ok_or_else(|| {
            Error::config(
                "the endpoint of STS must be an https:// URL, because the token is sent to it: see AWS_ENDPOINT_URL_STS, \
                 AWS_ENDPOINT_URL and the profile's endpoint_url",
            )
        })?;
        Ok(Sts { http: HttpSource::new(http, &url, REQUEST_TIMEOUT)?, url, identity: self })
    }
}

/// Whether requests to a URL stay on this machine.
pub(super) fn is_this_machine(url: &Url) -> bool {
    url.host_str().is_some_and(is_loopback)
}

/// Returns the endpoint of STS in a region.
pub(super) fn regional_endpoint(region: Option<&str>) -> String {
    match region {
        Some(region) if region.starts_with("cn-") => {
            format!("https://sts.{region}.amazonaws.com.cn")
        }
        Some(region) => format!("https://sts.{region}.amazonaws.com"),
        None => "https://sts.amazonaws.com".to_owned(),
    }
}

/// Fetches credentials from STS. Reads the token file each time, because another process renews it.
pub(super) struct Sts {
    http: HttpSource,
    url: Url,
    identity: WebIdentity,
}

impl Source for Sts {
    const TIMEOUT: Duration = Duration::from_secs(25);

    async fn fetch(&self) -> Result<Fetched, CredentialError> {
        let token = token_file::read(&self.identity.token_file).await?;
        let response = self.http.send(self.request(&token)?).await?;
        if !response.status.is_success() {
            return Err(self.rejection(&response, &token));
        }
        let found: Credentials = xml::read(&response.body).ok_or_else(|| {
            CredentialError::new(format!(
                "{} returned a document without credentials",
                self.http.place()
            ))
        })?;
        let Credentials { access_key_id, secret_access_key, session_token, expiration } = found;
        let raw = RawCredentials {
            key_id: &access_key_id,
            secret: &secret_access_key,
            token: Some(&session_token),
            expiration: Some(&expiration),
        };
        raw.checked(&self.http, response.server_time)
    }
}

impl Sts {
    fn request(&self, token: &str) -> Result<HttpRequest, CredentialError> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "AssumeRoleWithWebIdentity")
            .append_pair("Version", "2011-06-15")
            .append_pair("RoleArn", &self.identity.role_arn)
            .append_pair(
                "RoleSessionName",
                self.identity.session_name.as_deref().unwrap_or("anystorage"),
            )
            .append_pair("WebIdentityToken", token)
            .finish();
        let mut request = HttpRequest::new(HttpRequestBody::from(form));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self
            .url
            .as_str()
            .parse()
            .map_err(|_| CredentialError::config("the endpoint of STS is not a valid URL"))?;
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(header::CONTENT_TYPE, form_type);
        Ok(request)
    }

    fn rejection(&self, response: &Response, token: &str) -> CredentialError {
        let Rejection { code, message } = xml::read(&response.body).unwrap_or_default();
        let mut text = excerpt(&format!("{code} {message}"), token).trim().to_owned();
        if code.starts_with("ExpiredToken") {
            text = format!("{text}; renew the token in {}", self.identity.token_file.display());
        }
        self.http.rejection(response, &text)
    }
}

/// The response to `AssumeRoleWithWebIdentity`.
struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

impl FromElement for Credentials {
    fn from_element(element: &Element) -> Option<Self> {
        let found = element.child("AssumeRoleWithWebIdentityResult")?.child("Credentials")?;
        Some(Self {
            access_key_id: found.optional("AccessKeyId")?,
            secret_access_key: found.optional("SecretAccessKey")?,
            session_token: found.optional("SessionToken")?,
            expiration: found.optional("Expiration")?,
        })
    }
}

/// An error response of STS.
#[derive(Default)]
struct Rejection {
    code: String,
    message: String,
}

impl FromElement for Rejection {
    fn from_element(element: &Element) -> Option<Self> {
        let error = element.child("Error")?;
        Some(Self { code: error.text("Code"), message: error.text("Message") })
    }
}
