//! Credentials: finds their source, fetches them and renews them.
//!
//! [`find`] checks the sources in the order of the AWS tools and takes the first that applies:
//! options, environment variables, profile files, web identity, container, instance. The instance
//! is last, because no setting shows whether the machine is one. No request is sent before
//! credentials are needed.
//!
//! | file | |
//! |---|---|
//! | `search.rs`, `sources.rs` | the search; the options that it begins with |
//! | `keys.rs` | keys in options and variables |
//! | `environment.rs` | the environment variables |
//! | `profile/`, `profile_keys.rs` | the AWS files; keys in them, which are read again |
//! | `web_identity.rs`, `token_file.rs` | a role in exchange for a token in a file |
//! | `container.rs` | ECS and EKS |
//! | `instance.rs` | EC2 |
//! | `sdk.rs` | single sign-on, roles and processes, through the AWS SDK (feature `aws-config`) |
//! | `http_source.rs`, `document.rs` | requests for credentials, and their responses |
//! | `provider.rs` | caching and renewal |
//! | `error.rs` | errors, which list the sources that were tried |
//!
//! `object_store` has providers for web identity, container and instance. They are not used,
//! because they do not return the expiry of credentials and do not read
//! `AWS_CONTAINER_AUTHORIZATION_TOKEN`. Without the expiry, valid credentials could not be used
//! while new ones are unavailable, and a wrong clock would not be detected.

mod container;
mod document;
mod environment;
mod error;
mod http_source;
mod instance;
mod keys;
mod profile;
mod profile_keys;
mod provider;
#[cfg(feature = "aws-config")]
mod sdk;
mod search;
mod sources;
#[cfg(test)]
mod tests;
mod token_file;
mod web_identity;

pub(crate) use environment::Environment;
pub(crate) use provider::{Renewal, error};
pub(crate) use search::find;
pub(crate) use sources::Sources;
