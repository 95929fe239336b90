//! Credentials of an EC2 instance, from its metadata service (IMDSv2).

use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue, Method, StatusCode};
use object_store::client::{HttpConnector, HttpRequest, HttpRequestBody};
use storage_core::{Error, Result};
use url::Url;

use super::answer;
use super::ask::{Answer, Asker};
use super::environment::Environment;
use super::failure::Failure;
use super::provider::{Fetched, Source};

/// The longest that one answer may take. The service is on the same machine; where there is none,
/// nobody may answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// For how long credentials are used that the service gives though they have expired: AWS extends
/// them where it cannot renew them.
const EXTENSION: Duration = Duration::from_secs(10 * 60);
const TOKEN_PATH: &str = "/latest/api/token";
const ROLE_PATH: &str = "/latest/meta-data/iam/security-credentials/";
const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TOKEN_LIFE: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");

/// Asks the metadata service.
pub(super) struct Instance {
    asker: Asker,
    /// Without a slash at the end.
    endpoint: String,
}

impl Instance {
    /// The service that the environment names, or the usual one; `None` if it says not to ask.
    ///
    /// # Errors
    /// `InvalidConfig` if what it names is no URL.
    pub(super) fn of_environment(
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
        let url = url.ok_or_else(|| Error::config(format!("{ENDPOINT} is no http:// URL")))?;
        let endpoint = url.as_str().trim_end_matches('/').to_owned();
        Ok(Some(Self { asker: Asker::new(http, &url, PATIENCE)?, endpoint }))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        header: (HeaderName, HeaderValue),
    ) -> Result<Answer, Failure> {
        let mut question = HttpRequest::new(HttpRequestBody::empty());
        *question.method_mut() = method;
        *question.uri_mut() = format!("{}{path}", self.endpoint)
            .parse()
            .map_err(|_| Failure::config("the address of the metadata service is no valid URL"))?;
        question.headers_mut().insert(header.0, header.1);
        self.asker.ask(question).await
    }

    async fn token(&self) -> Result<HeaderValue, Failure> {
        let life = (TOKEN_LIFE, HeaderValue::from_static("21600"));
        let answer = self.ask(Method::PUT, TOKEN_PATH, life).await.map_err(|failure| {
            // Said by nobody at all, it means that this is no instance; trying again would only
            // take time.
            Failure::new(format!(
                "{failure}; is this an EC2 instance, and may this container reach its metadata?"
            ))
        })?;
        if !answer.status.is_success() {
            return Err(self.asker.refused(&answer, "the metadata service gives no token"));
        }
        let mut token = HeaderValue::from_bytes(answer.body.trim_ascii()).map_err(|_| {
            Failure::new(format!("{} answers a token that is none", self.asker.place()))
        })?;
        token.set_sensitive(true);
        Ok(token)
    }

    async fn role(&self, token: &HeaderValue) -> Result<String, Failure> {
        let answer = self.ask(Method::GET, ROLE_PATH, (TOKEN, token.clone())).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(Failure::new("the instance has no IAM role: attach an instance profile"));
        }
        if !answer.status.is_success() {
            return Err(self.asker.refused(&answer, ""));
        }
        let text = std::str::from_utf8(&answer.body).unwrap_or_default();
        let role = text.lines().next().unwrap_or_default().trim();
        if role.is_empty()
            || !role.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@-_".contains(&byte))
        {
            return Err(Failure::new(format!(
                "{} answers a name of a role that is none",
                self.asker.place()
            )));
        }
        Ok(role.to_owned())
    }
}

impl Source for Instance {
    const LIMIT: Duration = Duration::from_secs(3);

    async fn fetch(&self) -> Result<Fetched, Failure> {
        let token = self.token().await?;
        let role = self.role(&token).await?;
        let answer =
            self.ask(Method::GET, &format!("{ROLE_PATH}{role}"), (TOKEN, token.clone())).await?;
        let secret = token.to_str().unwrap_or_default();
        let mut fetched = answer::read(&self.asker, &answer, secret)?;
        let now = SystemTime::now();
        if fetched.expires.is_some_and(|expires| expires <= now) {
            tracing::warn!(
                "the metadata service gives credentials that have expired; they are used for a while"
            );
            fetched.expires = Some(now + EXTENSION);
        }
        Ok(fetched)
    }
}
