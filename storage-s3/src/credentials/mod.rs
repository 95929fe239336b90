//! Where credentials come from.
//!
//! [`find`] looks in the order of the AWS tools and takes the first source that applies: options,
//! environment variables, profile files, web identity, container, instance. Only the instance is
//! taken without a sign that it is there, so it is the last. Nothing is asked of anybody before
//! credentials are needed.
//!
//! `object_store` has providers for the last three. They are not used, for what they do not tell or
//! do: when credentials end (without which old ones cannot serve while new ones are not to be had,
//! nor a clock that is off be noticed), and authorisation tokens that are given as such.

mod answer;
mod ask;
mod container;
mod environment;
mod failure;
mod instance;
mod keys;
mod profile;
mod provider;
#[cfg(feature = "aws-config")]
mod sdk;
#[cfg(test)]
mod tests;
mod token_file;
mod web_identity;
mod written;

use std::sync::Arc;

use object_store::aws::{AwsCredential, AwsCredentialProvider};
use object_store::client::HttpConnector;
use storage_core::config::Secret;
use storage_core::{Error, Result};

use container::Container;
pub(crate) use environment::Environment;
use failure::Tried;
use instance::Instance;
use profile::{Holds, Profile, Profiles, Settings};
use provider::{Cached, Fixed, Source};
pub(crate) use provider::{Renewal, error};
use web_identity::WebIdentity;
use written::WrittenKeys;

/// What the options say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    pub(crate) access_key_id: Option<Secret>,
    pub(crate) secret_access_key: Option<Secret>,
    pub(crate) session_token: Option<Secret>,
    /// A profile by its name. Then no environment variable goes before it.
    pub(crate) profile: Option<String>,
    /// Requests are not signed.
    pub(crate) anonymous: bool,
    /// The region among the options, for those of whom credentials are asked.
    pub(crate) region: Option<String>,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// `None` for requests that are not signed. Its errors become ours by [`error`].
    pub(crate) provider: Option<AwsCredentialProvider>,
    /// Reads them again when a service refuses them. `None` for those that cannot change.
    pub(crate) renewal: Option<Arc<dyn Renewal>>,
    /// The profile's region, wherever the credentials come from.
    pub(crate) region: Option<String>,
    /// The profile's endpoint for S3, wherever the credentials come from.
    pub(crate) endpoint: Option<String>,
    /// Where the credentials come from, for people and logs.
    pub(crate) source: &'static str,
}

/// Looks for credentials. Reads the profile files, if there are any; asks nobody.
///
/// # Errors
/// `InvalidConfig` for half of a pair of keys, a profile that is named and missing or that needs a
/// feature, and the like; `Unauthenticated` if there is certainly nothing.
pub(crate) fn find(
    sources: &Sources,
    env: &Environment,
    http: Arc<dyn HttpConnector>,
) -> Result<Found> {
    let profiles = Profiles::read(env);
    let variable = env.text("AWS_PROFILE")?;
    let named_by = Named::by(sources, variable.as_deref());
    let name = sources.profile.as_deref().or(variable.as_deref()).unwrap_or("default");
    let profile = profiles.get(name);
    if profile.is_none() && matches!(named_by, Named::Option) {
        return Err(absent(&profiles, name, named_by));
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
    tracing::debug!(source = found.source, "where S3 credentials are taken from");
    Ok(found)
}

/// Who says which profile.
#[derive(Clone, Copy)]
enum Named {
    Option,
    Variable,
    Nobody,
}

impl Named {
    fn by(sources: &Sources, variable: Option<&str>) -> Self {
        match (&sources.profile, variable) {
            (Some(_), _) => Self::Option,
            (None, Some(_)) => Self::Variable,
            (None, None) => Self::Nobody,
        }
    }

    fn told(self) -> &'static str {
        match self {
            Self::Option => "option profile",
            Self::Variable => "AWS_PROFILE",
            Self::Nobody => "nobody",
        }
    }
}

fn absent(profiles: &Profiles, name: &str, named_by: Named) -> Error {
    // A file that cannot be read as one is the likelier reason.
    match profiles.check() {
        Err(error) => error,
        Ok(()) => profiles.missing(name, named_by.told()),
    }
}

/// Credentials, and where they come from.
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
    named_by: Named,
}

impl Search<'_> {
    fn run(&self, profile: Option<Profile<'_>>) -> Result<Provided> {
        let of_options = keys::of_options(self.sources)?;
        if self.sources.anonymous {
            return match of_options {
                Some(_) => Err(Error::config(
                    "anonymous = true and access_key_id exclude each other: leave one out",
                )),
                None => Ok(Provided { provider: None, renewal: None, source: "anonymous" }),
            };
        }
        if let Some(credential) = of_options {
            return Ok(fixed(credential, "options"));
        }
        let mut tried = Tried::default();
        tried.note("options", "access_key_id is not set");
        if !matches!(self.named_by, Named::Option) {
            if let Some(credential) = keys::of_environment(self.env)? {
                return Ok(fixed(credential, "environment"));
            }
            tried.note("environment", "AWS_ACCESS_KEY_ID is not set");
        }
        if let Some(provided) = self.in_profile(profile, &mut tried)? {
            return Ok(provided);
        }
        self.around(tried)
    }

    /// The credentials of the profile.
    fn in_profile(
        &self,
        profile: Option<Profile<'_>>,
        tried: &mut Tried,
    ) -> Result<Option<Provided>> {
        self.profiles.check()?;
        let source = "profile";
        let Some(profile) = profile else {
            if matches!(self.named_by, Named::Variable) {
                return Err(absent(self.profiles, self.name, self.named_by));
            }
            tried.note(format!("profile {}", self.name), self.profiles.looked_at());
            return Ok(None);
        };
        match profile.holds()? {
            Holds::Keys(keys) => {
                let written = WrittenKeys { env: self.env.clone(), profile: self.name.to_owned() };
                let cached = Cached::new(written, source, tried.clone());
                // Another program may write others: they are read again when they end or are
                // refused.
                Ok(Some(provided(
                    if keys.expires.is_some() { cached } else { cached.holding(keys.credential) },
                    source,
                )))
            }
            Holds::WebIdentity { token_file, role_arn, session_name } => {
                let identity = WebIdentity { token_file, role_arn, session_name };
                Ok(Some(cached(self.sts(identity)?, source, tried)))
            }
            Holds::Sdk(property) => self.by_sdk(property, tried).map(Some),
            Holds::Nothing if matches!(self.named_by, Named::Option) => {
                Err(Error::config(format!(
                    "option profile names the profile {:?}, which has no credentials; {}",
                    self.name,
                    self.profiles.looked_at()
                )))
            }
            Holds::Nothing => {
                tried.note(format!("profile {}", self.name), "it has no credentials");
                Ok(None)
            }
        }
    }

    /// What the surroundings give: a token, a container, an instance.
    fn around(&self, mut tried: Tried) -> Result<Provided> {
        if let Some(identity) = WebIdentity::of_environment(self.env)? {
            return Ok(cached(self.sts(identity)?, "web identity", &tried));
        }
        tried.note("web identity", "AWS_WEB_IDENTITY_TOKEN_FILE is not set");
        if let Some(container) = Container::of_environment(self.env, &*self.http)? {
            return Ok(cached(container, "container", &tried));
        }
        tried.note("container", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set");
        match Instance::of_environment(self.env, &*self.http)? {
            Some(instance) => Ok(cached(instance, "instance", &tried)),
            None => {
                tried.note("instance", "AWS_EC2_METADATA_DISABLED is true");
                Err(tried.nothing_found())
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
        identity.at(&endpoint, &*self.http)
    }

    /// The region of those who are asked for credentials.
    fn region(&self) -> Result<Option<String>> {
        let variables = || {
            Ok::<_, Error>(self.env.text("AWS_REGION")?.or(self.env.text("AWS_DEFAULT_REGION")?))
        };
        Ok(self.sources.region.clone().or(variables()?).or_else(|| self.settings.region.clone()))
    }

    fn by_sdk(&self, property: &'static str, tried: &Tried) -> Result<Provided> {
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
            Ok(cached(profile, "profile", tried))
        }
        #[cfg(not(feature = "aws-config"))]
        {
            let _ = tried;
            Err(Error::config(format!(
                "{has}, which needs the cargo feature aws-config of storage-s3: enable it, or name a profile that has keys"
            )))
        }
    }
}

fn fixed(credential: AwsCredential, source: &'static str) -> Provided {
    Provided { provider: Some(Arc::new(Fixed::new(credential, source))), renewal: None, source }
}

fn cached<S: Source>(from: S, source: &'static str, tried: &Tried) -> Provided {
    provided(Cached::new(from, source, tried.clone()), source)
}

fn provided<S: Source>(cached: Cached<S>, source: &'static str) -> Provided {
    let cached = Arc::new(cached);
    Provided {
        provider: Some(Arc::clone(&cached) as AwsCredentialProvider),
        renewal: Some(cached),
        source,
    }
}
