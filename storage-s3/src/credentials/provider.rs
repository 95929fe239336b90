//! [`CachingProvider`]: caches credentials and renews them in time, once for all callers.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use storage_core::{Error, format_time};

use super::error::{CredentialError, SearchLog};

/// How long before their expiry credentials are renewed (5 minutes). Credentials with a short
/// lifetime are renewed in its last quarter.
const REFRESH_MARGIN: Duration = Duration::from_secs(5 * 60);
/// The minimum time between two attempts to renew credentials that are still valid (30 s).
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(30);

/// A source of credentials.
pub(super) trait Source: Send + Sync + 'static {
    /// The timeout of a fetch.
    const TIMEOUT: Duration;

    /// After which time credentials without an expiry are fetched again. `None` means never.
    const REFETCH_AFTER: Option<Duration> = None;

    /// Fetches credentials. The future may be dropped at any point.
    fn fetch(&self) -> impl Future<Output = Result<Fetched, CredentialError>> + Send;
}

/// Credentials from their source.
pub(super) struct Fetched {
    pub(super) credential: AwsCredential,
    /// When they expire, by the clock of this machine. `None` means never.
    pub(super) expires: Option<SystemTime>,
}

/// The clock. Tests pass their own.
pub(super) type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Caches the credentials of a source.
///
/// One caller at a time fetches. Callers without valid credentials wait for its result, also for
/// its error. Callers with valid credentials do not wait. Dropping a call drops its fetch, and the
/// next call fetches again.
pub(super) struct CachingProvider<S> {
    source: S,
    name: &'static str,
    /// The sources that did not apply, for messages.
    search_log: SearchLog,
    clock: Clock,
    state: Mutex<State>,
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    cached: Option<CachedCredential>,
    /// Valid credentials are not renewed before this time.
    no_refresh_before: Option<SystemTime>,
    /// Rejected credentials are not renewed before this time.
    no_forced_fetch_before: Option<SystemTime>,
    failures: u64,
    last_failure: Option<CredentialError>,
}

#[derive(Clone)]
struct CachedCredential {
    credential: Arc<AwsCredential>,
    expires: Option<SystemTime>,
    refresh_at: Option<SystemTime>,
}

/// The state of the cache at one moment.
enum CacheState {
    Fresh(Arc<AwsCredential>),
    /// Valid, and due for renewal.
    Expiring(Arc<AwsCredential>),
    /// No valid credentials. Contains the number of failed fetches.
    Missing(u64),
}

impl<S: Source> CachingProvider<S> {
    /// Creates a provider. Fetches nothing yet.
    pub(super) fn new(source: S, name: &'static str, search_log: SearchLog) -> Self {
        Self::with_clock(source, name, search_log, Arc::new(SystemTime::now))
    }

    pub(super) fn with_clock(
        source: S,
        name: &'static str,
        search_log: SearchLog,
        clock: Clock,
    ) -> Self {
        Self {
            source,
            name,
            search_log,
            clock,
            state: Mutex::default(),
            fetching: tokio::sync::Mutex::new(()),
        }
    }

    /// Adds credentials without a known expiry to the cache.
    pub(super) fn with_credential(self, credential: AwsCredential) -> Self {
        let refresh_at = S::REFETCH_AFTER.map(|after| self.now() + after);
        self.state().cached =
            Some(CachedCredential { credential: Arc::new(credential), expires: None, refresh_at });
        self
    }

    fn cached_other_than(&self, refused: &AwsCredential) -> Option<Arc<AwsCredential>> {
        let state = self.state();
        let cached = state.cached.as_ref().filter(|cached| *cached.credential != *refused)?;
        Some(Arc::clone(&cached.credential))
    }

    fn is_cached_with_expiry(&self, refused: &AwsCredential) -> bool {
        self.state()
            .cached
            .as_ref()
            .is_some_and(|cached| cached.expires.is_some() && *cached.credential == *refused)
    }

    async fn get(&self) -> Result<Arc<AwsCredential>, CredentialError> {
        match self.cache_state() {
            CacheState::Fresh(credential) => Ok(credential),
            CacheState::Expiring(credential) => Ok(self.try_renew().await.unwrap_or(credential)),
            CacheState::Missing(failures) => self.wait_for_fetch(failures).await,
        }
    }

    /// Renews credentials, unless another caller does so. Returns `None` if there are none.
    async fn try_renew(&self) -> Option<Arc<AwsCredential>> {
        let _guard = self.fetching.try_lock().ok()?;
        if !matches!(self.cache_state(), CacheState::Expiring(_)) {
            return None;
        }
        match self.fetch().await {
            Ok(credential) => Some(credential),
            Err(error) => {
                tracing::warn!(source = self.name, %error, "credentials could not be renewed; the current ones are still valid");
                None
            }
        }
    }

    /// Waits for the fetch in progress, or fetches.
    async fn wait_for_fetch(
        &self,
        failures_before: u64,
    ) -> Result<Arc<AwsCredential>, CredentialError> {
        let _guard = self.fetching.lock().await;
        match self.cache_state() {
            CacheState::Fresh(credential) | CacheState::Expiring(credential) => {
                return Ok(credential);
            }
            CacheState::Missing(failures) if failures != failures_before => {
                if let Some(error) = self.state().last_failure.clone() {
                    return Err(error);
                }
            }
            CacheState::Missing(_) => {}
        }
        self.fetch().await
    }

    async fn fetch(&self) -> Result<Arc<AwsCredential>, CredentialError> {
        // Set before the fetch, so that dropped attempts are limited too.
        self.state().no_refresh_before = Some(self.now() + MIN_FETCH_INTERVAL);
        let response = match tokio::time::timeout(S::TIMEOUT, self.source.fetch()).await {
            Ok(response) => response.and_then(|fetched| self.checked(fetched)),
            Err(_) => {
                Err(CredentialError::new(format!("no response within {} s", S::TIMEOUT.as_secs()))
                    .retryable())
            }
        };
        let mut state = self.state();
        match response {
            Ok(cached) => {
                tracing::debug!(
                    source = self.name,
                    expires = cached.expires.map(format_time),
                    "credentials obtained"
                );
                Ok(Arc::clone(&state.cached.insert(cached).credential))
            }
            Err(error) => {
                state.failures += 1;
                state.last_failure = Some(error.clone());
                Err(error)
            }
        }
    }

    fn checked(&self, fetched: Fetched) -> Result<CachedCredential, CredentialError> {
        let now = self.now();
        let refresh_at = match fetched.expires.map(|expires| (expires, expires.duration_since(now)))
        {
            None => S::REFETCH_AFTER.map(|after| now + after),
            Some((expires, Ok(left))) if !left.is_zero() => {
                Some(expires - REFRESH_MARGIN.min(left / 4))
            }
            Some((expires, _)) => {
                return Err(CredentialError::new(format!(
                    "the credentials that it returned expired at {}, or the clock of this machine ({}) is ahead",
                    format_time(expires),
                    format_time(now)
                )));
            }
        };
        Ok(CachedCredential {
            credential: Arc::new(fetched.credential),
            expires: fetched.expires,
            refresh_at,
        })
    }

    fn cache_state(&self) -> CacheState {
        let now = self.now();
        let state = self.state();
        let valid = state
            .cached
            .as_ref()
            .filter(|cached| cached.expires.is_none_or(|expires| now < expires));
        let Some(cached) = valid else { return CacheState::Missing(state.failures) };
        let credential = Arc::clone(&cached.credential);
        let is_time = cached.refresh_at.is_some_and(|at| now >= at)
            && state.no_refresh_before.is_none_or(|at| now >= at);
        if is_time { CacheState::Expiring(credential) } else { CacheState::Fresh(credential) }
    }

    fn now(&self) -> SystemTime {
        (self.clock)()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<S: Source> CredentialProvider for CachingProvider<S> {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.get().await.map_err(|error| wrapped(error.into_error(&self.search_log, self.name)))
    }
}

impl<S> fmt::Debug for CachingProvider<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials(from {})", self.name)
    }
}

/// Credentials that do not change. The provider of `object_store` shows the key id in its `Debug`
/// form.
pub(super) struct StaticProvider {
    credential: Arc<AwsCredential>,
    name: &'static str,
}

impl StaticProvider {
    pub(super) fn new(credential: AwsCredential, name: &'static str) -> Self {
        Self { credential: Arc::new(credential), name }
    }
}

#[async_trait]
impl CredentialProvider for StaticProvider {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        Ok(Arc::clone(&self.credential))
    }
}

impl fmt::Debug for StaticProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials(from {})", self.name)
    }
}

/// Credentials that can be fetched again if a service rejects them before their expiry: tokens that
/// another program renewed, keys that were replaced.
#[async_trait]
pub(crate) trait Renewal: fmt::Debug + Send + Sync {
    /// Fetches again and returns credentials other than the rejected ones, or `None` if the source
    /// has no others.
    ///
    /// Fetches at most once in 30 s, because a service may reject requests for other reasons.
    /// `is_named` states whether the service names the credentials as its reason. If it does not,
    /// as in its response to a HEAD of an object that the policy hides, credentials with a known
    /// expiry are kept: new ones would change every stable link, and cost a request to STS or a run
    /// of a credential process each time. Dropping the future drops the fetch.
    async fn renewed(&self, refused: &AwsCredential, is_named: bool) -> Option<Arc<AwsCredential>>;
}

#[async_trait]
impl<S: Source> Renewal for CachingProvider<S> {
    async fn renewed(&self, refused: &AwsCredential, is_named: bool) -> Option<Arc<AwsCredential>> {
        if !is_named && self.is_cached_with_expiry(refused) {
            return None;
        }
        let _guard = self.fetching.lock().await;
        if let Some(other) = self.cached_other_than(refused) {
            return Some(other);
        }
        let now = self.now();
        let may_fetch = self.state().no_forced_fetch_before.is_none_or(|at| now >= at);
        if !may_fetch {
            return None;
        }
        self.state().no_forced_fetch_before = Some(now + MIN_FETCH_INTERVAL);
        if let Err(error) = self.fetch().await {
            tracing::warn!(source = self.name, %error, "rejected credentials could not be renewed");
        }
        self.cached_other_than(refused)
    }
}

/// Wraps an error for the trait of `object_store`.
fn wrapped(error: Error) -> object_store::Error {
    object_store::Error::Unauthenticated { path: String::new(), source: Box::new(error) }
}

/// Converts the error of a provider to one of the contract: `Unauthenticated` or `InvalidConfig`.
pub(crate) fn error(error: object_store::Error) -> Error {
    let source = match error {
        object_store::Error::Unauthenticated { source, .. } => source,
        // An error of another provider, whose message may contain secrets.
        _ => {
            return Error::new(
                storage_core::ErrorKind::Unauthenticated,
                "no credentials were found",
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
