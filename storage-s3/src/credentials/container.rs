//! Credentials of a container: ECS tasks, EKS pods, and tools that imitate them.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderValue, header};
use object_store::client::{HttpConnector, HttpRequest, HttpRequestBody};
use storage_core::config::Secret;
use storage_core::{Error, Result};
use url::{Host, Url};

use super::answer;
use super::ask::Asker;
use super::environment::Environment;
use super::failure::Failure;
use super::provider::{Fetched, Source};
use super::token_file;
use super::web_identity::is_this_machine;

const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
/// Where ECS answers what `RELATIVE` names.
const ECS: &str = "http://169.254.170.2";
/// The longest that one answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks the agent of the container.
pub(super) struct Container {
    asker: Asker,
    url: Url,
    token: Token,
}

enum Token {
    None,
    Given(Secret),
    /// Read for each question: whoever wrote it renews it.
    In(PathBuf),
}

impl Container {
    /// What the environment says, if it says something of a container.
    ///
    /// # Errors
    /// `InvalidConfig` for an address that credentials are not taken from.
    pub(super) fn of_environment(
        env: &Environment,
        http: &dyn HttpConnector,
    ) -> Result<Option<Self>> {
        let url = match (env.text(RELATIVE)?, env.text(FULL)?) {
            (Some(path), _) if path.starts_with('/') => Url::parse(&format!("{ECS}{path}")).ok(),
            (Some(_), _) => return Err(Error::config(format!("{RELATIVE} does not begin with /"))),
            (None, Some(url)) => Some(Url::parse(&url).ok().filter(is_allowed).ok_or_else(|| {
                Error::config(format!(
                    "{FULL} has to be an https:// URL, or an http:// one of localhost or of the agents of ECS and EKS"
                ))
            })?),
            (None, None) => return Ok(None),
        };
        let url = url.ok_or_else(|| Error::config(format!("{RELATIVE} is no path of a URL")))?;
        let token = match (env.path(TOKEN_FILE), env.text(TOKEN)?) {
            (Some(path), _) => Token::In(path),
            (None, Some(token)) => Token::Given(Secret::new(token)),
            (None, None) => Token::None,
        };
        Ok(Some(Self { asker: Asker::new(http, &url, PATIENCE)?, url, token }))
    }
}

/// The rule of the AWS SDKs: what is not encrypted does not leave the machine, or goes to the
/// agents.
fn is_allowed(url: &Url) -> bool {
    let is_agent = match url.host() {
        Some(Host::Ipv4(address)) => matches!(address.octets(), [169, 254, 170, 2 | 23]),
        Some(Host::Ipv6(address)) => address.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23],
        _ => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && (is_agent || is_this_machine(url)))
}

impl Source for Container {
    const LIMIT: Duration = Duration::from_secs(8);

    async fn fetch(&self) -> Result<Fetched, Failure> {
        let mut question = HttpRequest::new(HttpRequestBody::empty());
        *question.uri_mut() =
            self.url.as_str().parse().map_err(|_| {
                Failure::config("the address of the container's agent is no valid URL")
            })?;
        let token = match &self.token {
            Token::None => None,
            Token::Given(token) => Some(token.expose().to_owned()),
            Token::In(path) => Some(token_file::read(path).await?),
        };
        if let Some(token) = &token {
            let mut value = HeaderValue::from_str(token).map_err(|_| {
                Failure::config(format!(
                    "the token of {TOKEN} or {TOKEN_FILE} does not fit in a header"
                ))
            })?;
            value.set_sensitive(true);
            question.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let answer = self.asker.ask(question).await?;
        answer::read(&self.asker, &answer, token.as_deref().unwrap_or_default())
    }
}
