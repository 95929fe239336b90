//! Reads keys in a profile again, because another program may replace them at any time.

use std::time::{Duration, SystemTime};

use storage_core::format_time;

use super::environment::Environment;
use super::error::CredentialError;
use super::profile::{ProfileContent, Profiles};
use super::provider::{Fetched, Source};

/// Reads the keys of a profile again.
pub(super) struct ProfileKeys {
    pub(super) env: Environment,
    pub(super) profile: String,
}

impl Source for ProfileKeys {
    const TIMEOUT: Duration = Duration::from_secs(10);

    /// A program that only signs links sends no request, so no rejection shows that its keys were
    /// replaced.
    const REFETCH_AFTER: Option<Duration> = Some(Duration::from_secs(5 * 60));

    async fn fetch(&self) -> Result<Fetched, CredentialError> {
        let (env, profile) = (self.env.clone(), self.profile.clone());
        let read = tokio::task::spawn_blocking(move || keys(&env, &profile)).await;
        read.map_err(|_| CredentialError::new("reading the profile did not finish").retryable())?
    }
}

fn keys(env: &Environment, name: &str) -> Result<Fetched, CredentialError> {
    let profiles = Profiles::read(env);
    let profile = profiles.get(name).ok_or_else(|| {
        CredentialError::config(format!(
            "the profile {name:?} no longer exists; {}",
            profiles.summary()
        ))
    })?;
    let keys = match profile.content().map_err(|error| CredentialError::config(error.message()))? {
        ProfileContent::Keys(keys) => keys,
        _ => {
            return Err(CredentialError::config(format!(
                "the profile {name:?} no longer has keys: open the storage again"
            )));
        }
    };
    let now = SystemTime::now();
    match keys.expires {
        Some(expires) if expires <= now => Err(CredentialError::new(format!(
            "the keys of profile {name:?} in {} expired at {} (it is {} by the clock of this machine): log in again with \
             the tool that wrote them",
            keys.file,
            format_time(expires),
            format_time(now)
        ))),
        expires => Ok(Fetched { credential: keys.credential, expires }),
    }
}
