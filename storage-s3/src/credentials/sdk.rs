//! Profiles with single sign-on, roles or processes, through the AWS SDK.
//!
//! The SDK sends its requests with this crate's HTTP client, so that there is one TLS stack and one
//! set of proxies. Its log is discarded, because it contains key ids at INFO and command lines at
//! TRACE.

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

use super::error::CredentialError;
use super::http_source::{self, excerpt};
use super::keys;
use super::profile::Paths;
use super::provider::{Fetched, Source};

/// The timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// A profile that the SDK reads.
pub(super) struct Profile {
    name: String,
    /// The property that requires the SDK.
    property: &'static str,
    files: Paths,
    region: String,
    client: HttpClient,
}

impl Profile {
    /// Creates a source. Sends no request yet.
    ///
    /// # Errors
    /// `InvalidConfig` if the HTTP client cannot be created.
    pub(super) fn new(
        name: &str,
        property: &'static str,
        files: Paths,
        region: Option<String>,
        http: &dyn HttpConnector,
    ) -> Result<Self> {
        // Containers, instances, and some configured endpoints use no TLS.
        let options = ClientOptions::new().with_allow_http(true).with_timeout(REQUEST_TIMEOUT);
        let client = http.connect(&options).map_err(|_| {
            Error::config(
                "the HTTP client for credentials could not be built: are the system's root certificates installed?",
            )
        })?;
        // STS in this region serves all regions.
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        Ok(Self { name: name.to_owned(), property, files, region, client })
    }

    /// Creates a provider for each fetch, because the SDK caches the files, and returns an error
    /// only once.
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

    fn error(&self, error: &CredentialsError) -> CredentialError {
        let name = &self.name;
        let text = message_chain(error);
        let message = if self.property.starts_with("sso_") {
            format!(
                "profile {name:?}: {text}; aws sso login --profile {name} renews a login that has ended"
            )
        } else {
            format!("profile {name:?}: {text}")
        };
        match error {
            CredentialsError::InvalidConfiguration(_) => CredentialError::config(message),
            CredentialsError::ProviderTimedOut(_) => CredentialError::new(message).retryable(),
            _ => CredentialError::new(message),
        }
    }
}

impl Source for Profile {
    /// A process may wait for its user.
    const TIMEOUT: Duration = Duration::from_secs(60);

    async fn fetch(&self) -> Result<Fetched, CredentialError> {
        let provider = self.provider();
        let provided =
            async { provider.provide_credentials().await }.with_subscriber(NoSubscriber::default());
        let given = provided.await.map_err(|error| self.error(&error))?;
        let credential = keys::credential(
            given.access_key_id(),
            given.secret_access_key(),
            given.session_token(),
        )
        .map_err(|what| {
            CredentialError::new(format!(
                "profile {:?} returned invalid credentials: {what}",
                self.name
            ))
        })?;
        Ok(Fetched { credential, expires: given.expiry() })
    }
}

/// Returns the messages of an error and its causes, each once.
pub(super) fn message_chain(error: &(dyn StdError + 'static)) -> String {
    let mut messages = message_of(error);
    let mut cause = error.source();
    while let Some(next) = cause {
        let message = message_of(next);
        if !messages.ends_with(&message) {
            messages = format!("{messages}: {message}");
        }
        cause = next.source();
    }
    messages
}

/// Returns the message of one error. The message of a service is shown. Any other quoted text is
/// replaced, because it may be a piece of an unreadable document, and so a token.
fn message_of(error: &(dyn StdError + 'static)) -> String {
    if let Some(service) = error.downcast_ref::<ErrorMetadata>() {
        let (code, message) = (service.code(), service.message());
        return excerpt(
            &format!("{} {}", code.unwrap_or_default(), message.unwrap_or_default()),
            "",
        );
    }
    let text = error.to_string();
    let parts: Vec<_> = text
        .split('"')
        .enumerate()
        .map(|(n, part)| if n % 2 == 0 { part } else { "..." })
        .collect();
    excerpt(&parts.join("\""), "")
}

/// This crate's HTTP client for the SDK.
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
            let (parts, body) = client
                .execute(request)
                .await
                .map_err(|error| connector_error(&error))?
                .into_parts();
            let body = http_source::read_body(body)
                .await
                .map_err(|error| connector_error(&error))?
                .ok_or_else(|| user("a response that is too large"))?;
            SdkResponse::try_from(http::Response::from_parts(parts, body.into()))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

fn user(what: &'static str) -> ConnectorError {
    ConnectorError::user(BoxError::from(what))
}

fn connector_error(error: &HttpError) -> ConnectorError {
    let is_timeout = error.kind() == HttpErrorKind::Timeout;
    let cause = BoxError::from(root_cause(error));
    if is_timeout { ConnectorError::timeout(cause) } else { ConnectorError::io(cause) }
}
