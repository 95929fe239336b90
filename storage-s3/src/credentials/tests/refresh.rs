//! Tests of when credentials are fetched again, and by which caller. They set the clock.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use futures_util::poll;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use storage_core::{Error, ErrorKind};
use tokio::sync::Semaphore;

use crate::credentials::error::{CredentialError, SearchLog};
use crate::credentials::provider::{CachingProvider, Fetched, Renewal, Source};

const HOUR: u64 = 3600;

type Results = Mutex<VecDeque<Result<Fetched, CredentialError>>>;

/// A source that returns prepared results, one for each permit.
struct Scripted {
    results: Results,
    fetches: Mutex<usize>,
    /// `None` to return each result at once.
    permits: Option<Semaphore>,
    /// Has a permit for each fetch that has started.
    started: Semaphore,
}

impl Scripted {
    fn new(
        results: impl IntoIterator<Item = Result<Fetched, CredentialError>>,
        permits: Option<Semaphore>,
    ) -> Self {
        let results = Mutex::new(results.into_iter().collect());
        Self { results, fetches: Mutex::default(), permits, started: Semaphore::new(0) }
    }
}

impl Source for Arc<Scripted> {
    const TIMEOUT: Duration = Duration::from_secs(5);

    async fn fetch(&self) -> Result<Fetched, CredentialError> {
        *self.fetches.lock().unwrap() += 1;
        self.started.add_permits(1);
        if let Some(permits) = &self.permits {
            permits.acquire().await.unwrap().forget();
        }
        self.results.lock().unwrap().pop_front().expect("one fetch too many")
    }
}

struct Setup {
    source: Arc<Scripted>,
    provider: Arc<CachingProvider<Arc<Scripted>>>,
    now: Arc<Mutex<SystemTime>>,
}

impl Setup {
    fn new(results: impl IntoIterator<Item = Result<Fetched, CredentialError>>) -> Self {
        Self::with(Scripted::new(results, None))
    }

    /// Creates a setup in which each result waits for a permit.
    fn held_back(results: impl IntoIterator<Item = Result<Fetched, CredentialError>>) -> Self {
        Self::with(Scripted::new(results, Some(Semaphore::new(0))))
    }

    fn with(source: Scripted) -> Self {
        let source = Arc::new(source);
        let now = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH));
        let clock = Arc::clone(&now);
        let clock = Arc::new(move || *clock.lock().unwrap());
        let provider =
            CachingProvider::with_clock(Arc::clone(&source), "test", SearchLog::default(), clock);
        Self { source, provider: Arc::new(provider), now }
    }

    fn at(&self, seconds: u64) {
        *self.now.lock().unwrap() = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    }

    fn fetches(&self) -> usize {
        *self.source.fetches.lock().unwrap()
    }

    fn allow_results(&self, results: usize) {
        self.source.permits.as_ref().unwrap().add_permits(results);
    }

    fn get(&self) -> impl Future<Output = Result<String, Error>> + Send + use<> {
        let provider = Arc::clone(&self.provider);
        async move {
            let credential = provider.get_credential().await.map_err(crate::credentials::error)?;
            Ok(credential.key_id.clone())
        }
    }

    /// Waits until one more fetch has started.
    async fn started(&self) {
        self.source.started.acquire().await.unwrap().forget();
    }
}

/// Returns credentials that expire this many seconds after the beginning.
fn until(key_id: &str, seconds: u64) -> Result<Fetched, CredentialError> {
    let credential =
        AwsCredential { key_id: key_id.to_owned(), secret_key: "s".to_owned(), token: None };
    Ok(Fetched { credential, expires: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)) })
}

fn failed(message: &str) -> Result<Fetched, CredentialError> {
    Err(CredentialError::new(message))
}

#[tokio::test]
async fn credentials_are_fetched_once_and_again_five_minutes_before_their_expiry() {
    let setup = Setup::new([until("A", HOUR), until("B", 2 * HOUR)]);
    for second in [0, 1, HOUR - 301] {
        setup.at(second);
        assert_eq!(setup.get().await.unwrap(), "A");
    }
    assert_eq!(setup.fetches(), 1);
    setup.at(HOUR - 300);
    assert_eq!(setup.get().await.unwrap(), "B");
    assert_eq!(setup.fetches(), 2);
}

/// The rejection of a HEAD has no reason. Often the policy does not allow the request.
#[tokio::test]
async fn credentials_with_an_expiry_are_renewed_early_only_if_the_rejection_names_them() {
    let setup = Setup::new([until("A", HOUR), until("B", 2 * HOUR)]);
    let first = setup.provider.get_credential().await.unwrap();
    assert!(Renewal::renewed(&*setup.provider, &first, false).await.is_none());
    assert_eq!(setup.fetches(), 1);
    let second = Renewal::renewed(&*setup.provider, &first, true).await.unwrap();
    assert_eq!((second.key_id.as_str(), setup.fetches()), ("B", 2));
    let also_second = Renewal::renewed(&*setup.provider, &first, false).await.unwrap();
    assert_eq!((also_second.key_id.as_str(), setup.fetches()), ("B", 2));
}

#[tokio::test]
async fn credentials_of_a_short_life_are_renewed_in_its_last_quarter() {
    let setup = Setup::new([until("A", 400), until("B", 2 * HOUR)]);
    for (second, expected) in [(0, "A"), (299, "A"), (300, "B")] {
        setup.at(second);
        assert_eq!(setup.get().await.unwrap(), expected, "at {second} s");
    }
}

#[tokio::test]
async fn credentials_without_an_expiry_are_fetched_once() {
    let credential =
        AwsCredential { key_id: "A".to_owned(), secret_key: "s".to_owned(), token: None };
    let setup = Setup::new([Ok(Fetched { credential, expires: None })]);
    for second in [0, 1000 * HOUR] {
        setup.at(second);
        assert_eq!(setup.get().await.unwrap(), "A");
    }
    assert_eq!(setup.fetches(), 1);
}

/// Returns the results of this many callers, which all wait when the source returns.
async fn waiting_callers(setup: &Setup, callers: usize) -> Vec<Result<String, Error>> {
    let mut all = Box::pin(join_all((0..callers).map(|_| setup.get())));
    assert!(poll!(&mut all).is_pending(), "each caller has been polled, and waits");
    setup.allow_results(1);
    all.await
}

#[tokio::test]
async fn many_concurrent_callers_cause_one_fetch() {
    let setup = Setup::held_back([until("A", HOUR)]);
    for response in waiting_callers(&setup, 20).await {
        assert_eq!(response.unwrap(), "A");
    }
    assert_eq!(setup.fetches(), 1);
}

#[tokio::test]
async fn an_error_is_shared_by_waiting_callers_and_not_cached() {
    let setup = Setup::held_back([failed("not today"), until("A", HOUR)]);
    for response in waiting_callers(&setup, 20).await {
        let error = response.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        assert!(error.message().contains("not today"), "{error}");
    }
    assert_eq!(setup.fetches(), 1);
    setup.allow_results(1);
    assert_eq!(setup.get().await.unwrap(), "A");
}

#[tokio::test]
async fn one_caller_renews_while_the_others_use_the_valid_credentials() {
    let setup = Setup::held_back([until("A", HOUR), until("B", 2 * HOUR)]);
    setup.allow_results(1);
    assert_eq!(setup.get().await.unwrap(), "A");
    setup.started().await;
    setup.at(HOUR - 60);
    let renewing = tokio::spawn(setup.get());
    setup.started().await;
    for second in [HOUR - 60, HOUR - 31, HOUR - 1] {
        setup.at(second);
        assert_eq!(setup.get().await.unwrap(), "A");
    }
    setup.allow_results(1);
    assert_eq!(renewing.await.unwrap().unwrap(), "B");
    assert_eq!(setup.get().await.unwrap(), "B");
    assert_eq!(setup.fetches(), 2);
}

#[tokio::test]
async fn valid_credentials_are_used_while_renewal_fails() {
    let setup = Setup::new([
        until("A", HOUR),
        failed("first"),
        failed("second"),
        failed("third"),
        until("B", 2 * HOUR),
    ]);
    assert_eq!(setup.get().await.unwrap(), "A");
    // At most one fetch every 30 s.
    for (second, fetches) in [(HOUR - 300, 2), (HOUR - 271, 2), (HOUR - 270, 3), (HOUR - 241, 3)] {
        setup.at(second);
        assert_eq!(setup.get().await.unwrap(), "A");
        assert_eq!(setup.fetches(), fetches, "at {second} s");
    }
    setup.at(HOUR);
    let error = setup.get().await.unwrap_err();
    assert!(error.message().contains("third"), "{error}");
    assert_eq!(setup.get().await.unwrap(), "B");
}

#[tokio::test]
async fn a_source_that_returns_the_same_credentials_is_not_fetched_continually() {
    let setup = Setup::new([until("A", HOUR), until("A", HOUR), until("B", 2 * HOUR)]);
    for (second, fetches) in
        [(0, 1), (HOUR - 300, 2), (HOUR - 290, 2), (HOUR - 271, 2), (HOUR - 60, 3)]
    {
        setup.at(second);
        assert!(setup.get().await.is_ok());
        assert_eq!(setup.fetches(), fetches, "at {second} s");
    }
}

#[tokio::test]
async fn a_dropped_fetch_is_repeated_by_the_next_caller() {
    let setup = Setup::held_back([until("A", HOUR)]);
    let gone = tokio::spawn(setup.get());
    setup.started().await;
    let next = tokio::spawn(setup.get());
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    setup.started().await;
    setup.allow_results(1);
    assert_eq!(next.await.unwrap().unwrap(), "A");
    assert_eq!(setup.fetches(), 2);
}

#[tokio::test]
async fn an_error_about_expired_credentials_shows_the_clock() {
    let setup = Setup::new([until("A", 50)]);
    setup.at(100);
    let error = setup.get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    for word in ["expired at 1970-01-01T00:00:50Z", "clock of this machine", "1970-01-01T00:01:40Z"]
    {
        assert!(error.message().contains(word), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_responds_times_out() {
    let setup = Setup::held_back([]);
    let error = setup.get().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.is_retryable());
    assert!(error.message().contains("no response within 5 s"), "{error}");
    assert_eq!(setup.fetches(), 1);
}
