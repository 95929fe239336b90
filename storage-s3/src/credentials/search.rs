//! [`find`]: the search for credentials, in the order of the AWS tools.

use std::sync::Arc;

use object_store::aws::{AwsCredential, AwsCredentialProvider};
use object_store::client::HttpConnector;
use storage_core::{Error, Result};

use crate::credentials::container::Container;
use crate::credentials::environment::Environment;
use crate::credentials::error::SearchLog;
use crate::credentials::instance::Instance;
use crate::credentials::profile::{Profile, ProfileContent, Profiles, Settings};
use crate::credentials::profile_keys::ProfileKeys;
use crate::credentials::provider::{CachingProvider, Renewal, Source, StaticProvider};
#[cfg(feature = "aws-config")]
use crate::credentials::sdk;
use crate::credentials::sources::Sources;
use crate::credentials::web_identity::WebIdentity;
use crate::credentials::{keys, web_identity};

/// The credentials and settings that were found.
#[derive(Debug)]
pub(crate) struct Found {
    /// `None` if requests are not signed. [`error`] converts its errors.
    pub(crate) provider: Option<AwsCredentialProvider>,
    /// Fetches them again if the service rejects them. `None` if they cannot change.
    pub(crate) renewal: Option<Arc<dyn Renewal>>,
    /// The profile's region, regardless of the source of the credentials.
    pub(crate) region: Option<String>,
    /// The profile's S3 endpoint, regardless of the source of the credentials.
    pub(crate) endpoint: Option<String>,
    /// The name of the source, for logs.
    pub(crate) source: &'static str,
}

/// Finds the source of credentials. Reads the profile files, and sends no request.
///
/// # Errors
/// `InvalidConfig` for half of a pair of keys, and for a named profile that is missing or needs a
/// feature. `Unauthenticated` if no source applies.
pub(crate) fn find(
    sources: &Sources,
    env: &Environment,
    http: Arc<dyn HttpConnector>,
) -> Result<Found> {
    let profiles = Profiles::read(env);
    let variable = env.text("AWS_PROFILE")?;
    let named_by = ProfileOrigin::by(sources, variable.as_deref());
    let name = sources.profile.as_deref().or(variable.as_deref()).unwrap_or("default");
    let profile = profiles.get(name);
    if profile.is_none() && matches!(named_by, ProfileOrigin::Option) {
        return Err(missing_profile(&profiles, name, named_by));
    }
    let settings =
        profile.map(|profile| Settings::of(profile, env)).transpose()?.unwrap_or_default();
    let search =
        Search { sources, env, http, profiles: &profiles, settings: &settings, name, named_by };
    let Provided { provider, renewal, source } = search.run(profile)?;
    let found = Found {
        provider,
        renewal,
        region: settings.region,
        endpoint: settings.s3_endpoint,
        source,
    };
    tracing::debug!(source = found.source, "the source of the S3 credentials");
    Ok(found)
}

/// What selects the profile.
#[derive(Clone, Copy)]
enum ProfileOrigin {
    Option,
    Variable,
    Default,
}

impl ProfileOrigin {
    fn by(sources: &Sources, variable: Option<&str>) -> Self {
        match (&sources.profile, variable) {
            (Some(_), _) => Self::Option,
            (None, Some(_)) => Self::Variable,
            (None, None) => Self::Default,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Option => "option profile",
            Self::Variable => "AWS_PROFILE",
            Self::Default => "the default",
        }
    }
}

fn missing_profile(profiles: &Profiles, name: &str, named_by: ProfileOrigin) -> Error {
    // If a file cannot be parsed, that is probably the reason.
    match profiles.check() {
        Err(error) => error,
        Ok(()) => profiles.missing(name, named_by.as_str()),
    }
}

/// Credentials and their source.
struct Provided {
    provider: Option<AwsCredentialProvider>,
    renewal: Option<Arc<dyn Renewal>>,
    source: &'static str,
}

struct Search<'a> {
    sources: &'a Sources,
    env: &'a Environment,
    http: Arc<dyn HttpConnector>,
    profiles: &'a Profiles,
    settings: &'a Settings,
    name: &'a str,
    named_by: ProfileOrigin,
}

impl Search<'_> {
    fn run(&self, profile: Option<Profile<'_>>) -> Result<Provided> {
        let from_options = keys::from_options(self.sources)?;
        if self.sources.anonymous {
            return match from_options {
                Some(_) => Err(Error::config(
                    "anonymous = true and access_key_id exclude each other: remove one of them",
                )),
                None => Ok(Provided { provider: None, renewal: None, source: "anonymous" }),
            };
        }
        if let Some(credential) = from_options {
            return Ok(static_provider(credential, "options"));
        }
        let mut search_log = SearchLog::default();
        search_log.note("options", "access_key_id is not set");
        if !matches!(self.named_by, ProfileOrigin::Option) {
            if let Some(credential) = keys::from_environment(self.env)? {
                return Ok(static_provider(credential, "environment"));
            }
            search_log.note("environment", "AWS_ACCESS_KEY_ID is not set");
        }
        if let Some(provided) = self.in_profile(profile, &mut search_log)? {
            return Ok(provided);
        }
        self.in_surroundings(search_log)
    }

    /// Returns the credentials of the profile.
    fn in_profile(
        &self,
        profile: Option<Profile<'_>>,
        search_log: &mut SearchLog,
    ) -> Result<Option<Provided>> {
        self.profiles.check()?;
        let source = "profile";
        let Some(profile) = profile else {
            if matches!(self.named_by, ProfileOrigin::Variable) {
                return Err(missing_profile(self.profiles, self.name, self.named_by));
            }
            search_log.note(format!("profile {}", self.name), self.profiles.summary());
            return Ok(None);
        };
        match profile.content()? {
            ProfileContent::Keys(keys) => {
                let written = ProfileKeys { env: self.env.clone(), profile: self.name.to_owned() };
                let cached = CachingProvider::new(written, source, search_log.clone());
                // Another program may replace the keys: they are read again when they expire or are
                // rejected.
                Ok(Some(provided(
                    if keys.expires.is_some() {
                        cached
                    } else {
                        cached.with_credential(keys.credential)
                    },
                    source,
                )))
            }
            ProfileContent::WebIdentity { token_file, role_arn, session_name } => {
                let identity = WebIdentity { token_file, role_arn, session_name };
                Ok(Some(cached(self.sts(identity)?, source, search_log)))
            }
            ProfileContent::Sdk(property) => self.by_sdk(property, search_log).map(Some),
            ProfileContent::None if matches!(self.named_by, ProfileOrigin::Option) => {
                Err(Error::config(format!(
                    "option profile names the profile {:?}, which has no credentials; {}",
                    self.name,
                    self.profiles.summary()
                )))
            }
            ProfileContent::None => {
                search_log.note(format!("profile {}", self.name), "it has no credentials");
                Ok(None)
            }
        }
    }

    /// Returns the credentials of a web identity token, a container or an instance.
    fn in_surroundings(&self, mut search_log: SearchLog) -> Result<Provided> {
        if let Some(identity) = WebIdentity::from_environment(self.env)? {
            return Ok(cached(self.sts(identity)?, "web identity", &search_log));
        }
        search_log.note("web identity", "AWS_WEB_IDENTITY_TOKEN_FILE is not set");
        if let Some(container) = Container::from_environment(self.env, &*self.http)? {
            return Ok(cached(container, "container", &search_log));
        }
        search_log
            .note("container", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set");
        match Instance::from_environment(self.env, &*self.http)? {
            Some(instance) => Ok(cached(instance, "instance", &search_log)),
            None => {
                search_log.note("instance", "AWS_EC2_METADATA_DISABLED is true");
                Err(search_log.no_source_error())
            }
        }
    }

    fn sts(&self, identity: WebIdentity) -> Result<web_identity::Sts> {
        let configured =
            self.env.endpoint_of("STS")?.or_else(|| self.settings.sts_endpoint.clone());
        let endpoint = match configured {
            Some(endpoint) => endpoint,
            None => web_identity::regional_endpoint(self.region()?.as_deref()),
        };
        identity.into_source(&endpoint, &*self.http)
    }

    /// Returns the region for requests to STS.
    fn region(&self) -> Result<Option<String>> {
        let variables = || {
            Ok::<_, Error>(self.env.text("AWS_REGION")?.or(self.env.text("AWS_DEFAULT_REGION")?))
        };
        Ok(self.sources.region.clone().or(variables()?).or_else(|| self.settings.region.clone()))
    }

    fn by_sdk(&self, property: &'static str, search_log: &SearchLog) -> Result<Provided> {
        let has = format!("profile {:?} has the property {property}", self.name);
        if property == "login_session" {
            return Err(Error::config(format!(
                "{has}, which is not supported: use single sign-on, or write keys to a profile with aws configure \
                 export-credentials"
            )));
        }
        #[cfg(feature = "aws-config")]
        {
            let profile = sdk::Profile::new(
                self.name,
                property,
                self.profiles.paths(),
                self.region()?,
                &*self.http,
            )?;
            Ok(cached(profile, "profile", search_log))
        }
        #[cfg(not(feature = "aws-config"))]
        {
            let _ = search_log;
            Err(Error::config(format!(
                "{has}, which needs the cargo feature aws-config of storage-s3: enable it, or use a profile that has keys"
            )))
        }
    }
}

fn static_provider(credential: AwsCredential, source: &'static str) -> Provided {
    Provided {
        provider: Some(Arc::new(StaticProvider::new(credential, source))),
        renewal: None,
        source,
    }
}

fn cached<S: Source>(from: S, source: &'static str, search_log: &SearchLog) -> Provided {
    provided(CachingProvider::new(from, source, search_log.clone()), source)
}

fn provided<S: Source>(cached: CachingProvider<S>, source: &'static str) -> Provided {
    let cached = Arc::new(cached);
    Provided {
        provider: Some(Arc::clone(&cached) as AwsCredentialProvider),
        renewal: Some(cached),
        source,
    }
}
