//! Credentials of a role, in exchange for a token in a file: Kubernetes service accounts, CI
//! systems.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderValue, Method, header};
use object_store::client::{HttpConnector, HttpRequest, HttpRequestBody};
use serde::Deserialize;
use storage_core::{Error, Result};
use url::{Url, form_urlencoded};

use super::answer::Raw;
use super::ask::{Answer, Asker, shown};
use super::environment::Environment;
use super::failure::Failure;
use super::provider::{Fetched, Source};
use super::token_file;

/// The longest that STS may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A role, and the token that it is given for.
pub(super) struct WebIdentity {
    pub(super) token_file: PathBuf,
    pub(super) role_arn: String,
    pub(super) session_name: Option<String>,
}

impl WebIdentity {
    /// What the environment says, if it names a token.
    ///
    /// # Errors
    /// `InvalidConfig` if it names no role.
    pub(super) fn of_environment(env: &Environment) -> Result<Option<Self>> {
        let Some(token_file) = env.path("AWS_WEB_IDENTITY_TOKEN_FILE") else { return Ok(None) };
        let role_arn = env.text("AWS_ROLE_ARN")?.ok_or_else(|| {
            Error::config(
                "AWS_WEB_IDENTITY_TOKEN_FILE is set, but not AWS_ROLE_ARN: set it to the role that the token is for",
            )
        })?;
        Ok(Some(Self { token_file, role_arn, session_name: env.text("AWS_ROLE_SESSION_NAME")? }))
    }

    /// The source that asks STS at `endpoint`.
    ///
    /// # Errors
    /// `InvalidConfig` for an endpoint that would show the token to the network.
    pub(super) fn at(self, endpoint: &str, http: &dyn HttpConnector) -> Result<Sts> {
        let url =
            Url::parse(endpoint).ok().filter(|url| url.scheme() == "https" || is_this_machine(url));
        let url = url.ok_or_else(|| {
            Error::config(
                "the endpoint of STS has to be an https:// URL, for the token is sent to it: see AWS_ENDPOINT_URL_STS, \
                 AWS_ENDPOINT_URL and the profile's endpoint_url",
            )
        })?;
        Ok(Sts { asker: Asker::new(http, &url, PATIENCE)?, url, identity: self })
    }
}

/// Whether what is sent there stays on this machine.
pub(super) fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The endpoint of STS in a region.
pub(super) fn regional_endpoint(region: Option<&str>) -> String {
    match region {
        Some(region) if region.starts_with("cn-") => {
            format!("https://sts.{region}.amazonaws.com.cn")
        }
        Some(region) => format!("https://sts.{region}.amazonaws.com"),
        None => "https://sts.amazonaws.com".to_owned(),
    }
}

/// Asks STS for credentials with the token that the file has at that moment: whoever wrote it
/// renews it.
pub(super) struct Sts {
    asker: Asker,
    url: Url,
    identity: WebIdentity,
}

impl Source for Sts {
    const LIMIT: Duration = Duration::from_secs(25);

    async fn fetch(&self) -> Result<Fetched, Failure> {
        let token = token_file::read(&self.identity.token_file).await?;
        let answer = self.asker.ask(self.question(&token)?).await?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer, &token));
        }
        // A parser's own message may quote what it read.
        let document: Document =
            quick_xml::de::from_reader(answer.body.as_ref()).map_err(|_| {
                Failure::new(format!(
                    "{} answers something that is no credentials document",
                    self.asker.place()
                ))
            })?;
        let Credentials { access_key_id, secret_access_key, session_token, expiration } =
            document.result.credentials;
        let raw = Raw {
            key_id: &access_key_id,
            secret: &secret_access_key,
            token: Some(&session_token),
            expiration: Some(&expiration),
        };
        raw.fetched(&self.asker, answer.server_time)
    }
}

impl Sts {
    fn question(&self, token: &str) -> Result<HttpRequest, Failure> {
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
        let mut question = HttpRequest::new(HttpRequestBody::from(form));
        *question.method_mut() = Method::POST;
        *question.uri_mut() = self
            .url
            .as_str()
            .parse()
            .map_err(|_| Failure::config("the endpoint of STS is no valid URL"))?;
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        question.headers_mut().insert(header::CONTENT_TYPE, form_type);
        Ok(question)
    }

    fn refused(&self, answer: &Answer, token: &str) -> Failure {
        let refusal: Refusal = quick_xml::de::from_reader(answer.body.as_ref()).unwrap_or_default();
        let Reason { code, message } = refusal.error;
        let mut said = shown(&format!("{code} {message}"), token).trim().to_owned();
        if code.starts_with("ExpiredToken") {
            said = format!(
                "{said}; the token in {} has to be renewed",
                self.identity.token_file.display()
            );
        }
        self.asker.refused(answer, &said)
    }
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "AssumeRoleWithWebIdentityResult")]
    result: RoleResult,
}

#[derive(Deserialize)]
struct RoleResult {
    #[serde(rename = "Credentials")]
    credentials: Credentials,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Refusal {
    #[serde(rename = "Error")]
    error: Reason,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Reason {
    code: String,
    message: String,
}
