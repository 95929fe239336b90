//! Credentials of a container: ECS tasks, EKS pods, and tools that imitate them.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderValue, header};
use object_store::client::{HttpConnector, HttpRequest, HttpRequestBody};
use storage_core::config::Secret;
use storage_core::{Error, Result};
use url::{Host, Url};

use super::document;
use super::environment::Environment;
use super::error::CredentialError;
use super::http_source::HttpSource;
use super::provider::{Fetched, Source};
use super::token_file;
use super::web_identity::is_this_machine;

const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
/// The address at which ECS serves the path in `RELATIVE`.
const ECS_ENDPOINT: &str = "http://169.254.170.2";
/// The timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// Fetches credentials from the agent of the container.
pub(super) struct Container {
    http: HttpSource,
    url: Url,
    token: Token,
}

enum Token {
    None,
    Given(Secret),
    /// Read for each request, because another process renews it.
    File(PathBuf),
}

impl Container {
    /// Returns the container that the environment names, if it names one.
    ///
    /// # Errors
    /// `InvalidConfig` for an address that credentials must not be fetched from.
    pub(super) fn from_environment(
        env: &Environment,
        http: &dyn HttpConnector,
    ) -> Result<Option<Self>> {
        let url = match (env.text(RELATIVE)?, env.text(FULL)?) {
            (Some(path), _) if path.starts_with('/') => Url::parse(&format!("{ECS_ENDPOINT}{path}")).ok(),
            (Some(_), _) => return Err(Error::config(format!("{RELATIVE} does not begin with /"))),
            (None, Some(url)) => Some(Url::parse(&url).ok().filter(is_allowed).ok_or_else(|| {
                Error::config(format!(
                    "{FULL} must be an https:// URL, or an http:// URL of localhost or of the agents of ECS and EKS"
                ))
            })?),
            (None, None) => return Ok(None),
        };
        let url =
            url.ok_or_else(|| Error::config(format!("{RELATIVE} is not the path of a URL")))?;
        let token = match (env.path(TOKEN_FILE), env.text(TOKEN)?) {
            (Some(path), _) => Token::File(path),
            (None, Some(token)) => Token::Given(Secret::new(token)),
            (None, None) => Token::None,
        };
        Ok(Some(Self { http: HttpSource::new(http, &url, REQUEST_TIMEOUT)?, url, token }))
    }
}

/// Applies the rule of the AWS SDKs: an unencrypted request stays on this machine or goes to an
/// agent.
fn is_allowed(url: &Url) -> bool {
    let is_agent = match url.host() {
        Some(Host::Ipv4(address)) => matches!(address.octets(), [169, 254, 170, 2 | 23]),
        Some(Host::Ipv6(address)) => address.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23],
        _ => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && (is_agent || is_this_machine(url)))
}

impl Source for Container {
    const TIMEOUT: Duration = Duration::from_secs(8);

    async fn fetch(&self) -> Result<Fetched, CredentialError> {
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = self.url.as_str().parse().map_err(|_| {
            CredentialError::config("the address of the container's agent is not a valid URL")
        })?;
        let token = match &self.token {
            Token::None => None,
            Token::Given(token) => Some(token.expose().to_owned()),
            Token::File(path) => Some(token_file::read(path).await?),
        };
        if let Some(token) = &token {
            let mut value = HeaderValue::from_str(token).map_err(|_| {
                CredentialError::config(format!(
                    "the token of {TOKEN} or {TOKEN_FILE} contains a line break or another character that a header cannot contain"
                ))
            })?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let response = self.http.send(request).await?;
        document::parse(&self.http, &response, token.as_deref().unwrap_or_default())
    }
}
