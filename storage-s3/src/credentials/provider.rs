//! [`Cached`]: credentials that end, asked for again in time, once for all who need them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use storage_core::{Error, format_time};

use super::failure::{Failure, Tried};

/// How long before their end credentials are asked for again. Those of a short life: in its last
/// quarter.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// How long after an attempt those who still have valid credentials wait before the next.
const PAUSE: Duration = Duration::from_secs(30);

/// What gives credentials when it is asked.
pub(super) trait Source: Send + Sync + 'static {
    /// The longest that an answer may take.
    const LIMIT: Duration;

    /// How long after an answer without an end the source is asked again. `None`: never.
    const LOOK_AGAIN: Option<Duration> = None;

    /// Asks. May be dropped at any point.
    fn fetch(&self) -> impl Future<Output = Result<Fetched, Failure>> + Send;
}

/// Credentials, fresh from their source.
pub(super) struct Fetched {
    pub(super) credential: AwsCredential,
    /// When they end, by the clock of this machine. `None`: never.
    pub(super) expires: Option<SystemTime>,
}

/// The time. A value, so that a test can have its own.
pub(super) type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// A source behind a cache.
///
/// One caller at a time asks the source; whoever needs the answer too waits for it, also for a
/// failure. Callers that have credentials which are valid for a while do not wait. Dropping a call
/// drops what it asked; the next one asks again.
pub(super) struct Cached<S> {
    source: S,
    name: &'static str,
    /// Where credentials were looked for before, for messages.
    tried: Tried,
    clock: Clock,
    state: Mutex<State>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// Before this time, valid credentials are not asked for again.
    not_before: Option<SystemTime>,
    /// Before this time, refused credentials are not asked for again.
    no_renewal_before: Option<SystemTime>,
    failures: u64,
    last_failure: Option<Failure>,
}

#[derive(Clone)]
struct Held {
    credential: Arc<AwsCredential>,
    expires: Option<SystemTime>,
    refresh_at: Option<SystemTime>,
}

/// What there is at a moment.
enum Look {
    Good(Arc<AwsCredential>),
    /// Valid, but it is time to ask for new ones.
    Ageing(Arc<AwsCredential>),
    /// Nothing valid. So many attempts have failed until now.
    Nothing(u64),
}

impl<S: Source> Cached<S> {
    /// Asks nothing yet.
    pub(super) fn new(source: S, name: &'static str, tried: Tried) -> Self {
        Self::with_clock(source, name, tried, Arc::new(SystemTime::now))
    }

    pub(super) fn with_clock(source: S, name: &'static str, tried: Tried, clock: Clock) -> Self {
        Self {
            source,
            name,
            tried,
            clock,
            state: Mutex::default(),
            asking: tokio::sync::Mutex::new(()),
        }
    }

    /// With credentials that are at hand already, of which no end is known.
    pub(super) fn holding(self, credential: AwsCredential) -> Self {
        let refresh_at = S::LOOK_AGAIN.map(|after| self.now() + after);
        self.state().held =
            Some(Held { credential: Arc::new(credential), expires: None, refresh_at });
        self
    }

    fn held_other_than(&self, refused: &AwsCredential) -> Option<Arc<AwsCredential>> {
        let state = self.state();
        let held = state.held.as_ref().filter(|held| *held.credential != *refused)?;
        Some(Arc::clone(&held.credential))
    }

    fn holds_with_known_end(&self, refused: &AwsCredential) -> bool {
        self.state()
            .held
            .as_ref()
            .is_some_and(|held| held.expires.is_some() && *held.credential == *refused)
    }

    async fn get(&self) -> Result<Arc<AwsCredential>, Failure> {
        match self.look() {
            Look::Good(credential) => Ok(credential),
            Look::Ageing(credential) => Ok(self.renewed().await.unwrap_or(credential)),
            Look::Nothing(failures) => self.waited_for(failures).await,
        }
    }

    /// New credentials, unless somebody else is asking for them, or there are none.
    async fn renewed(&self) -> Option<Arc<AwsCredential>> {
        let _alone = self.asking.try_lock().ok()?;
        if !matches!(self.look(), Look::Ageing(_)) {
            return None;
        }
        match self.ask().await {
            Ok(credential) => Some(credential),
            Err(failure) => {
                tracing::warn!(source = self.name, %failure, "credentials were not renewed; the old ones are still valid");
                None
            }
        }
    }

    /// Credentials, when whoever is asking now has an answer, or our own.
    async fn waited_for(&self, failures_before: u64) -> Result<Arc<AwsCredential>, Failure> {
        let _alone = self.asking.lock().await;
        match self.look() {
            Look::Good(credential) | Look::Ageing(credential) => return Ok(credential),
            Look::Nothing(failures) if failures != failures_before => {
                if let Some(failure) = self.state().last_failure.clone() {
                    return Err(failure);
                }
            }
            Look::Nothing(_) => {}
        }
        self.ask().await
    }

    async fn ask(&self) -> Result<Arc<AwsCredential>, Failure> {
        // Set before, so that attempts that are dropped come no faster than others.
        self.state().not_before = Some(self.now() + PAUSE);
        let answer = match tokio::time::timeout(S::LIMIT, self.source.fetch()).await {
            Ok(answer) => answer.and_then(|fetched| self.checked(fetched)),
            Err(_) => {
                Err(Failure::new(format!("no answer within {} s", S::LIMIT.as_secs())).passing())
            }
        };
        let mut state = self.state();
        match answer {
            Ok(held) => {
                tracing::debug!(
                    source = self.name,
                    expires = held.expires.map(format_time),
                    "credentials obtained"
                );
                Ok(Arc::clone(&state.held.insert(held).credential))
            }
            Err(failure) => {
                state.failures += 1;
                state.last_failure = Some(failure.clone());
                Err(failure)
            }
        }
    }

    fn checked(&self, fetched: Fetched) -> Result<Held, Failure> {
        let now = self.now();
        let refresh_at = match fetched.expires.map(|expires| (expires, expires.duration_since(now)))
        {
            None => S::LOOK_AGAIN.map(|after| now + after),
            Some((expires, Ok(left))) if !left.is_zero() => Some(expires - MARGIN.min(left / 4)),
            Some((expires, _)) => {
                return Err(Failure::new(format!(
                    "the credentials it gave expired at {}, or the clock of this machine, which says {}, is ahead",
                    format_time(expires),
                    format_time(now)
                )));
            }
        };
        Ok(Held { credential: Arc::new(fetched.credential), expires: fetched.expires, refresh_at })
    }

    fn look(&self) -> Look {
        let now = self.now();
        let state = self.state();
        let valid =
            state.held.as_ref().filter(|held| held.expires.is_none_or(|expires| now < expires));
        let Some(held) = valid else { return Look::Nothing(state.failures) };
        let credential = Arc::clone(&held.credential);
        let is_time = held.refresh_at.is_some_and(|at| now >= at)
            && state.not_before.is_none_or(|at| now >= at);
        if is_time { Look::Ageing(credential) } else { Look::Good(credential) }
    }

    fn now(&self) -> SystemTime {
        (self.clock)()
    }

    // Nothing panics while the lock is held.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<S: Source> CredentialProvider for Cached<S> {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.get().await.map_err(|failure| wrapped(failure.into_error(&self.tried, self.name)))
    }
}

impl<S> fmt::Debug for Cached<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials(from {})", self.name)
    }
}

/// Credentials that do not change. `object_store` has such a provider too; its `Debug` form shows
/// the key id.
pub(super) struct Fixed {
    credential: Arc<AwsCredential>,
    name: &'static str,
}

impl Fixed {
    pub(super) fn new(credential: AwsCredential, name: &'static str) -> Self {
        Self { credential: Arc::new(credential), name }
    }
}

#[async_trait]
impl CredentialProvider for Fixed {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        Ok(Arc::clone(&self.credential))
    }
}

impl fmt::Debug for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials(from {})", self.name)
    }
}

/// Credentials that can be read again when a service refuses them before their time: a token that
/// another program renewed, keys that were rotated.
#[async_trait]
pub(crate) trait Renewal: fmt::Debug + Send + Sync {
    /// Asks the source again and returns other credentials than the refused ones, or `None` if it
    /// has no others.
    ///
    /// Asks at most once in 30 s, because a service may refuse requests for other reasons.
    /// `is_named` says whether the service names the credentials as its reason. If it does not, as
    /// to a HEAD of an object that the policy hides, credentials whose end is known are kept: new
    /// ones would change every stable link, and cost a request to STS or a run of a credential
    /// process, each time. Dropping the future drops the question.
    async fn renewed(&self, refused: &AwsCredential, is_named: bool) -> Option<Arc<AwsCredential>>;
}

#[async_trait]
impl<S: Source> Renewal for Cached<S> {
    async fn renewed(&self, refused: &AwsCredential, is_named: bool) -> Option<Arc<AwsCredential>> {
        if !is_named && self.holds_with_known_end(refused) {
            return None;
        }
        let _alone = self.asking.lock().await;
        if let Some(other) = self.held_other_than(refused) {
            return Some(other);
        }
        let now = self.now();
        let may_ask = self.state().no_renewal_before.is_none_or(|at| now >= at);
        if !may_ask {
            return None;
        }
        self.state().no_renewal_before = Some(now + PAUSE);
        if let Err(failure) = self.ask().await {
            tracing::warn!(source = self.name, %failure, "refused credentials were not renewed");
        }
        self.held_other_than(refused)
    }
}

/// Our error, as the trait of `object_store` wants it.
fn wrapped(error: Error) -> object_store::Error {
    object_store::Error::Unauthenticated { path: String::new(), source: Box::new(error) }
}

/// The error of a provider, as an error of the contract: `Unauthenticated` or `InvalidConfig`.
pub(crate) fn error(error: object_store::Error) -> Error {
    let source = match error {
        object_store::Error::Unauthenticated { source, .. } => source,
        // Of no provider of ours. What it prints is not known to be without secrets.
        _ => {
            return Error::new(
                storage_core::ErrorKind::Unauthenticated,
                "there are no credentials",
            );
        }
    };
    match source.downcast::<Error>() {
        Ok(error) => *error,
        Err(_) => Error::new(
            storage_core::ErrorKind::Unauthenticated,
            "the credentials were not accepted",
        ),
    }
}
