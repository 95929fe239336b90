//! Profiles that say how to get credentials: single sign-on, roles, processes. The AWS SDK knows
//! how.
//!
//! It sends its requests by our HTTP client, so that there is one TLS stack and one set of proxies,
//! and its log is not shown: at INFO it tells key ids, at TRACE whole command lines.

use std::error::Error as StdError;
use std::time::Duration;

use aws_config::Region;
use aws_config::profile::ProfileFileCredentialsProvider;
#[expect(
    deprecated,
    reason = "the new names are those of another crate, which would be one more to depend on"
)]
use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::http::{
    HttpConnector as SdkConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{
    HttpRequest as SdkRequest, HttpResponse as SdkResponse,
};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::error::ErrorMetadata;
use bytes::Bytes;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequestBody};
use storage_client::root_cause;
use storage_core::{BoxError, Error, Result};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::ask::{self, shown};
use super::failure::Failure;
use super::keys;
use super::profile::Paths;
use super::provider::{Fetched, Source};

/// The longest that one request may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// A profile that the SDK reads and follows.
pub(super) struct Profile {
    name: String,
    /// The property because of which it is the SDK's.
    property: &'static str,
    files: Paths,
    region: String,
    client: HttpClient,
}

impl Profile {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// `InvalidConfig` if no client can be made.
    pub(super) fn new(
        name: &str,
        property: &'static str,
        files: Paths,
        region: Option<String>,
        http: &dyn HttpConnector,
    ) -> Result<Self> {
        // Without TLS it asks containers, instances, and endpoints that the user names so.
        let options = ClientOptions::new().with_allow_http(true).with_timeout(PATIENCE);
        let client = http.connect(&options).map_err(|_| {
            Error::config(
                "no HTTP client could be made to ask for credentials: check the TLS settings",
            )
        })?;
        // STS answers for all regions from this one.
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        Ok(Self { name: name.to_owned(), property, files, region, client })
    }

    /// Made anew for each question, for the SDK keeps what it read of the files, and an error only
    /// once.
    fn provider(&self) -> ProfileFileCredentialsProvider {
        let connector = SharedHttpConnector::new(Connector(self.client.clone()));
        let config = ProviderConfig::without_region()
            .with_region(Some(Region::new(self.region.clone())))
            .with_http_client(http_client_fn(move |_, _| connector.clone()));
        ProfileFileCredentialsProvider::builder()
            .configure(&config)
            .profile_name(&self.name)
            .profile_files(self.profile_files())
            .build()
    }

    #[expect(deprecated, reason = "as for the import")]
    fn profile_files(&self) -> ProfileFiles {
        let mut files = ProfileFiles::builder();
        if let Some(path) = &self.files.config {
            files = files.with_file(ProfileFileKind::Config, path);
        }
        if let Some(path) = &self.files.credentials {
            files = files.with_file(ProfileFileKind::Credentials, path);
        }
        files.build()
    }

    fn failure(&self, error: &CredentialsError) -> Failure {
        let name = &self.name;
        let said = chain(error);
        let message = if self.property.starts_with("sso_") {
            format!(
                "profile {name:?}: {said}; aws sso login --profile {name} renews a login that has ended"
            )
        } else {
            format!("profile {name:?}: {said}")
        };
        match error {
            CredentialsError::InvalidConfiguration(_) => Failure::config(message),
            CredentialsError::ProviderTimedOut(_) => Failure::new(message).passing(),
            _ => Failure::new(message),
        }
    }
}

impl Source for Profile {
    /// A process may ask its user something.
    const LIMIT: Duration = Duration::from_secs(60);

    async fn fetch(&self) -> Result<Fetched, Failure> {
        let provider = self.provider();
        let asked =
            async { provider.provide_credentials().await }.with_subscriber(NoSubscriber::default());
        let given = asked.await.map_err(|error| self.failure(&error))?;
        let credential = keys::credential(
            given.access_key_id(),
            given.secret_access_key(),
            given.session_token(),
        )
        .map_err(|what| {
            Failure::new(format!("profile {:?} gives credentials that are none: {what}", self.name))
        })?;
        Ok(Fetched { credential, expires: given.expiry() })
    }
}

/// Everything that an error and its causes say, once.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut said = link(error);
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = link(next);
        if !said.ends_with(&text) {
            said = format!("{said}: {text}");
        }
        cause = next.source();
    }
    said
}

/// What one error says. What a service says is shown; what else stands between quotation marks may
/// be a piece of a document that could not be read, and so a token.
fn link(error: &(dyn StdError + 'static)) -> String {
    if let Some(said) = error.downcast_ref::<ErrorMetadata>() {
        return shown(
            &format!("{} {}", said.code().unwrap_or_default(), said.message().unwrap_or_default()),
            "",
        );
    }
    let text = error.to_string();
    let parts: Vec<_> = text
        .split('"')
        .enumerate()
        .map(|(n, part)| if n % 2 == 0 { part } else { "..." })
        .collect();
    shown(&parts.join("\""), "")
}

/// Our HTTP client, as the SDK wants it.
#[derive(Debug)]
struct Connector(HttpClient);

impl SdkConnector for Connector {
    fn call(&self, request: SdkRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request =
                request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            let (parts, body) = request.into_parts();
            let body = body
                .bytes()
                .map(Bytes::copy_from_slice)
                .ok_or_else(|| user("a body that streams"))?;
            let request = http::Request::from_parts(parts, HttpRequestBody::from(body));
            let (parts, body) =
                client.execute(request).await.map_err(|error| not_answered(&error))?.into_parts();
            let body = ask::read(body)
                .await
                .map_err(|error| not_answered(&error))?
                .ok_or_else(|| user("an answer that is too large"))?;
            SdkResponse::try_from(http::Response::from_parts(parts, body.into()))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

fn user(what: &'static str) -> ConnectorError {
    ConnectorError::user(BoxError::from(what))
}

fn not_answered(error: &HttpError) -> ConnectorError {
    let is_timeout = error.kind() == HttpErrorKind::Timeout;
    let told = BoxError::from(root_cause(error));
    if is_timeout { ConnectorError::timeout(told) } else { ConnectorError::io(told) }
}
