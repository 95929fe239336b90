//! Keys in a profile, which a tool may write anew whenever somebody logs in.

use std::time::{Duration, SystemTime};

use storage_core::format_time;

use super::environment::Environment;
use super::failure::Failure;
use super::profile::{Holds, Profiles};
use super::provider::{Fetched, Source};

/// Reads the profile again.
pub(super) struct WrittenKeys {
    pub(super) env: Environment,
    pub(super) profile: String,
}

impl Source for WrittenKeys {
    const LIMIT: Duration = Duration::from_secs(10);

    /// A program that only signs links never learns that its keys were replaced: nothing refuses
    /// them.
    const LOOK_AGAIN: Option<Duration> = Some(Duration::from_secs(5 * 60));

    async fn fetch(&self) -> Result<Fetched, Failure> {
        let (env, profile) = (self.env.clone(), self.profile.clone());
        let read = tokio::task::spawn_blocking(move || keys(&env, &profile)).await;
        read.map_err(|_| Failure::new("reading the profile did not finish").passing())?
    }
}

fn keys(env: &Environment, name: &str) -> Result<Fetched, Failure> {
    let profiles = Profiles::read(env);
    let profile = profiles.get(name).ok_or_else(|| {
        Failure::config(format!(
            "the profile {name:?} is no longer there; {}",
            profiles.looked_at()
        ))
    })?;
    let keys = match profile.holds().map_err(|error| Failure::config(error.message()))? {
        Holds::Keys(keys) => keys,
        _ => {
            return Err(Failure::config(format!(
                "the profile {name:?} no longer has keys: open the storage anew"
            )));
        }
    };
    let now = SystemTime::now();
    match keys.expires {
        Some(expires) if expires <= now => Err(Failure::new(format!(
            "the keys of profile {name:?} in {} expired at {} (it is {} by the clock of this machine): log in again with \
             the tool that wrote them",
            keys.file,
            format_time(expires),
            format_time(now)
        ))),
        expires => Ok(Fetched { credential: keys.credential, expires }),
    }
}
