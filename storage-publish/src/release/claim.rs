//! [`Claim`]: the right of one publisher to change the destination, as the pointer records it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use storage_core::{Error, ErrorKind, Result, format_time, internal, keys};
use tokio::sync::Mutex;

use super::options::PublishOptions;
use super::pointer::{ClaimRecord, Pointer, PointerStore, Versioned};

/// How often a change of the pointer is attempted after temporary failures.
const MAX_ATTEMPTS: u32 = 5;

/// The last part of a claim's time in which nothing is changed any more: a tenth.
const MARGIN: u32 = 10;

/// The delay before the second attempt. It doubles with each one.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// The right of one publisher to change the destination.
///
/// It expires by the clock of the program that wants to take it over, so clocks may differ by less
/// than the time that is left after a renewal fails.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    store: PointerStore,
    options: &'a PublishOptions,
    token: String,
    /// The last version that this publisher wrote.
    last: Mutex<Versioned>,
    /// When that version expires, in seconds since 1970.
    expires: AtomicU64,
}

impl<'a> Claim<'a> {
    /// Claims the destination, if its pointer is still the version that was read.
    ///
    /// # Errors
    /// `Conflict` if another publisher has a claim or changed the pointer meanwhile.
    pub(crate) async fn take(
        store: &PointerStore,
        read: &Versioned,
        options: &'a PublishOptions,
        release: Option<&str>,
    ) -> Result<Self> {
        check_unclaimed(&read.pointer, options)?;
        let token = keys::random_text(16)?;
        let mut pointer = read.pointer.clone();
        let now = internal::floor_to_second(options.now());
        let stale = pointer.claim.take().and_then(|claim| claim.release);
        let interrupted = pointer.switching.clone();
        for release in stale.iter().chain(&interrupted) {
            pointer.abandon(release, now);
        }
        pointer.claim = Some(ClaimRecord {
            publisher: options.publisher_name()?,
            token: token.clone(),
            release: release.map(str::to_owned),
            expires: now + options.claim_for,
        });
        let (store, last) = (store.clone(), Mutex::new(read.clone()));
        let claim = Self { store, options, token, last, expires: AtomicU64::new(0) };
        let mut last = claim.last.lock().await;
        claim.write(&mut last, pointer).await?;
        drop(last);
        Ok(claim)
    }

    /// Fails with `Conflict` if the claim has expired or is about to. Call it before each change
    /// that another publisher would not expect: a machine that was suspended goes on where it was,
    /// and the timer of the renewals has stood still.
    pub(crate) fn check(&self) -> Result<()> {
        let margin = self.options.claim_for / MARGIN;
        let expires = self.expires.load(Ordering::Relaxed);
        if seconds(self.options.now()).saturating_add(margin.as_secs()) < expires {
            return Ok(());
        }
        let message = "the claim expired while this program did not run, so another publisher may \
                       be at work: try again";
        Err(Error::new(ErrorKind::Conflict, message).with_retryable(true))
    }

    /// Changes the pointer, and renews the claim.
    ///
    /// # Errors
    /// `Conflict` if another publisher has the claim now.
    pub(crate) async fn update(&self, change: impl FnOnce(&mut Pointer)) -> Result<()> {
        let mut last = self.last.lock().await;
        let mut pointer = last.pointer.clone();
        if let Some(claim) = &mut pointer.claim {
            claim.expires = internal::floor_to_second(self.options.now()) + self.options.claim_for;
        }
        change(&mut pointer);
        self.write(&mut last, pointer).await
    }

    /// Changes the pointer, and gives the claim back.
    pub(crate) async fn release(&self, change: impl FnOnce(&mut Pointer)) -> Result<()> {
        self.update(|pointer| {
            change(pointer);
            pointer.claim = None;
        })
        .await
    }

    /// Gives the claim back after a failure, whose error matters more than one of this request.
    pub(crate) async fn release_after_failure(&self, change: impl Fn(&mut Pointer)) {
        let mut released = self.release(&change).await;
        if released.is_err() && self.read_again().await {
            released = self.release(&change).await;
        }
        if let Err(error) = released {
            tracing::warn!("the claim of a failed publish stays until it expires: {error}");
        }
    }

    /// Reads the pointer again, because a write that failed or was dropped may have happened.
    /// Returns whether this publisher has the claim.
    async fn read_again(&self) -> bool {
        let Ok(read) = self.store.read().await else { return false };
        let is_own = read.pointer.claim.as_ref().is_some_and(|claim| claim.token == self.token);
        if is_own {
            *self.last.lock().await = read;
        }
        is_own
    }

    /// Returns the pointer as this publisher wrote it last.
    pub(crate) async fn pointer(&self) -> Pointer {
        self.last.lock().await.pointer.clone()
    }

    /// Runs work, and renews the claim meanwhile. If the claim is lost, the work is dropped.
    pub(crate) async fn while_held<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let renewals = async {
            loop {
                tokio::time::sleep(self.options.claim_for / 3).await;
                self.update(|_| {}).await?;
            }
        };
        let (work, renewals) = (std::pin::pin!(work), std::pin::pin!(renewals));
        match futures_util::future::select(work, renewals).await {
            futures_util::future::Either::Left((done, _)) => done,
            futures_util::future::Either::Right((lost, _)) => lost,
        }
    }

    async fn write(&self, last: &mut Versioned, mut pointer: Pointer) -> Result<()> {
        pointer.seq = last.pointer.seq.saturating_add(1);
        let mut delay = FIRST_DELAY;
        for attempt in 1.. {
            let written = match self.store.replace(&pointer, last.etag.as_ref()).await {
                Ok(Some(written)) => written,
                Ok(None) => self.store.read().await?,
                Err(error) if error.is_retryable() && attempt < MAX_ATTEMPTS => {
                    tracing::debug!("repeated after a temporary failure: {error}");
                    tokio::time::sleep(delay.max(error.retry_after().unwrap_or_default())).await;
                    delay *= 2;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if written.pointer == pointer {
                let expires = pointer.claim.map(|claim| seconds(claim.expires));
                self.expires.store(expires.unwrap_or_default(), Ordering::Relaxed);
                *last = written;
                return Ok(());
            }
            return Err(lost(&written.pointer, &self.token));
        }
        Ok(())
    }
}

/// Fails with `Conflict` if a publisher has a claim that has not expired.
pub(crate) fn check_unclaimed(pointer: &Pointer, options: &PublishOptions) -> Result<()> {
    match pointer.valid_claim(options.now()) {
        None => Ok(()),
        Some(claim) => {
            let message = format!(
                "the publisher {} is working here: try again after it has finished, or after {}, \
                 when its claim expires",
                internal::escape_invisible(&claim.publisher),
                format_time(claim.expires)
            );
            Err(Error::new(ErrorKind::Conflict, message).with_retryable(true))
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn lost(found: &Pointer, token: &str) -> Error {
    let message = match &found.claim {
        Some(claim) if claim.token != token => format!(
            "the publisher {} has claimed this destination; its claim expires at {}: try again \
             after it has finished",
            internal::escape_invisible(&claim.publisher),
            format_time(claim.expires)
        ),
        _ => "another publisher changed the releases meanwhile: try again".to_owned(),
    };
    Error::new(ErrorKind::Conflict, message).with_retryable(true)
}
