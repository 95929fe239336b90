//! [`Mirror`]: one mirror, and whether it may be used.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use storage_core::internal::TtlCache;
use storage_core::internal::escape_invisible;
use storage_core::{Error, ErrorKind, Key, OpenOptions};
use tokio::sync::watch;

use crate::breaker::{Attempt, Breaker, BreakerSettings, MirrorState};
use crate::bypass::{Bypass, BypassEnd};
use crate::client::{Client, FoundObject, Reply};
use crate::status::{MirrorCounts, MirrorStatus, Outcome};
use crate::verify::Verify;

/// For how many keys the results of verifications are cached.
const MAX_VERIFIED: usize = 64 * 1024;
/// How many keys with failed requests are cached.
const MAX_PENALISED: usize = 8 * 1024;
/// How many keys may bypass the mirror individually.
const MAX_BYPASSED: usize = 64 * 1024;

/// One mirror.
#[derive(Debug)]
pub(crate) struct Mirror {
    pub(crate) client: Client,
    pub(crate) counts: MirrorCounts,
    pub(crate) breaker: Arc<Breaker>,
    pub(crate) bypass: Bypass,
    /// Whether the mirror has a key, according to a verification or a read.
    pub(crate) verified: TtlCache<bool>,
    /// Keys that skip the mirror for a while after a failed request.
    penalised: TtlCache<()>,
    /// Whether the last purge had no response in time.
    pub(crate) purges_time_out: AtomicBool,
    /// Ends when the mirror is dropped, which its background task waits for.
    pub(crate) lifetime: watch::Sender<()>,
    pub(crate) settings: MirrorSettings,
}

/// The options that concern each mirror.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MirrorSettings {
    pub(crate) verify: Verify,
    pub(crate) memo: Duration,
    pub(crate) breaker: BreakerSettings,
    pub(crate) key_penalty: Duration,
    pub(crate) bypass_end: BypassEnd,
    pub(crate) prefetch: bool,
}

/// The result of requesting an object from a mirror.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// The mirror sends the object.
    Found(Box<FoundObject>, Attempt),
    /// The caller's copy is current.
    NotModified,
    /// The mirror leaves the object to origin.
    NotFound,
    /// The request failed. Another mirror may have the object.
    Failed(Error),
}

impl Mirror {
    pub(crate) fn new(client: Client, settings: MirrorSettings) -> Arc<Self> {
        Arc::new(Self {
            counts: MirrorCounts::new(client.base()),
            client,
            breaker: Breaker::new(settings.breaker),
            bypass: Bypass::new(settings.bypass_end, MAX_BYPASSED),
            verified: TtlCache::new(settings.memo, MAX_VERIFIED),
            penalised: TtlCache::new(settings.key_penalty, MAX_PENALISED),
            purges_time_out: AtomicBool::new(false),
            lifetime: watch::Sender::new(()),
            settings,
        })
    }

    /// Returns whether this key must not be read from the mirror.
    fn excludes(&self, key: &Key) -> bool {
        self.bypass.covers(key) || self.penalised.contains(key)
    }

    /// Returns whether no key may be read from the mirror, except by trials of the breaker.
    pub(crate) fn is_out_of_use(&self) -> bool {
        self.breaker.state() == MirrorState::Open || self.bypass.covers_all()
    }

    /// Requests an object. Returns `None` without a result if the mirror must not be used for it.
    pub(crate) async fn open(&self, key: &Key, options: &OpenOptions) -> Option<Lookup> {
        if self.excludes(key) {
            return None;
        }
        let mut attempt = self.breaker.enter()?;
        let reply = match self.client.get(key, options).await {
            Ok(reply) => reply,
            // HTTP cannot express the options. This is not a failure of the mirror.
            Err(error) if error.kind() == ErrorKind::InvalidInput => return None,
            Err(error) => {
                self.counts.count_request(Outcome::Failure);
                self.record_failure(attempt, key, &error);
                return Some(Lookup::Failed(error));
            }
        };
        // If a write has begun since the request, the response may contain an old version.
        if self.bypass.covers(key) {
            return None;
        }
        Some(match reply {
            Reply::Found(object) => {
                attempt.response_began();
                self.counts.report_state(self.breaker.state());
                self.verified.insert(key, true);
                return Some(Lookup::Found(object, attempt));
            }
            Reply::NotModified => {
                self.counts.count_request(Outcome::Hit);
                self.record_success(attempt);
                Lookup::NotModified
            }
            Reply::NotFound => {
                self.counts.count_request(Outcome::Miss);
                self.verified.insert(key, false);
                self.record_success(attempt);
                Lookup::NotFound
            }
            Reply::Refused(status) => {
                tracing::warn!(
                    mirror = self.client.host(),
                    key = &*escape_invisible(key.as_str()),
                    status = status.as_u16(),
                    "the mirror refuses to send an object: check the options allow and signing_key of the mirror, and signing_key of this driver"
                );
                self.counts.count_request(Outcome::Miss);
                self.penalised.insert(key, ());
                self.verified.insert(key, false);
                self.record_success(attempt);
                Lookup::NotFound
            }
        })
    }

    /// Records a failed request. The key skips the mirror for a while, and the breaker counts the
    /// failure.
    pub(crate) fn record_failure(&self, attempt: Attempt, key: &Key, error: &Error) {
        self.penalised.insert(key, ());
        self.verified.insert(key, false);
        let opened = attempt.failed();
        self.counts.report_state(self.breaker.state());
        let (mirror, key, error) = (self.client.host(), key.as_str(), error.message());
        if opened {
            tracing::warn!(mirror, key, error, "the mirror failed and is not used for a while");
        } else {
            tracing::info!(mirror, key, error, "a request to the mirror failed");
        }
    }

    /// Records a response that was valid to its end.
    pub(crate) fn record_success(&self, attempt: Attempt) {
        let before = self.breaker.state();
        attempt.succeeded();
        let after = self.breaker.state();
        if before != after {
            self.counts.report_state(after);
            tracing::info!(
                mirror = self.client.host(),
                state = after.as_str(),
                "the mirror has recovered"
            );
        }
    }

    /// Returns whether a link to an object may lead to this mirror, because the mirror is healthy
    /// and has the object.
    pub(crate) async fn accepts_links(&self, key: &Key) -> bool {
        if self.excludes(key) {
            return false;
        }
        if self.settings.verify == Verify::None {
            return !self.breaker.is_blocked();
        }
        // A positive result is used only while the mirror is healthy, a negative one always.
        let is_healthy = self.breaker.state() == MirrorState::Healthy;
        let known = self.verified.get(key).filter(|has_object| is_healthy || !has_object);
        if let Some(has_object) = known {
            return has_object;
        }
        let Some(attempt) = self.breaker.enter() else { return false };
        match self.client.verify(key).await {
            Ok(has_object) => {
                self.record_success(attempt);
                self.verified.insert(key, has_object);
                has_object
            }
            Err(error) => {
                self.record_failure(attempt, key, &error);
                false
            }
        }
    }

    /// Records that the mirror sent another version than origin has: the key skips the mirror for a
    /// while, and is purged if that is possible.
    pub(crate) fn record_stale(self: &Arc<Self>, key: &Key) {
        tracing::info!(
            mirror = self.client.host(),
            key = &*escape_invisible(key.as_str()),
            "the mirror has another version than origin"
        );
        self.penalised.insert(key, ());
        self.verified.remove(key);
        if self.settings.bypass_end == BypassEnd::PurgeConfirmed {
            self.bypass.mark_stale(key);
            self.purge_in_background();
        }
    }

    pub(crate) fn status(&self) -> MirrorStatus {
        let (state, failures) = (self.breaker.state(), self.breaker.failures());
        self.counts.status(self.client.base().clone(), state, failures, self.bypass.unconfirmed())
    }
}
