//! [`Mirror`]: one mirror, and all that is known and thought of it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use storage_core::{Error, ErrorKind, Key, OpenOptions};

use crate::breaker::{Attempt, Breaker, BreakerSettings, MirrorState};
use crate::bypass::{Bypass, Due, Slot, Until};
use crate::client::{Answer, Client, Reply};
use crate::config::Verify;
use crate::status::{Counts, MirrorStatus, Outcome};
use storage_core::internal::TtlCache;

/// How many keys are remembered for which the mirror was verified.
const MOST_VERIFIED: usize = 64 * 1024;
/// How many keys are remembered that were in trouble.
const MOST_PENALISED: usize = 8 * 1024;
/// How many keys may bypass the mirror one by one.
const MOST_BYPASSED: usize = 64 * 1024;
/// The longest wait before purges that were not confirmed are sent again; it doubles up to there.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How many purges are on their way to one mirror at a time, and how many are taken up together.
const PURGES_AT_A_TIME: usize = 8;
const PURGES_TOGETHER: usize = 256;

/// One mirror.
#[derive(Debug)]
pub(crate) struct Mirror {
    pub(crate) client: Client,
    pub(crate) counts: Counts,
    breaker: Arc<Breaker>,
    verify: Verify,
    /// What it said when it was asked whether it has an object, or showed by sending it.
    verified: TtlCache<bool>,
    /// Keys for which it is not asked for a while, after trouble.
    penalised: TtlCache<()>,
    bypass: Bypass,
    can_purge: bool,
    prefetch: bool,
}

/// How a mirror is treated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MirrorSettings {
    pub(crate) verify: Verify,
    pub(crate) memo: Duration,
    pub(crate) breaker: BreakerSettings,
    pub(crate) key_penalty: Duration,
    pub(crate) until: Until,
    pub(crate) prefetch: bool,
}

/// What came of asking a mirror for an object.
#[derive(Debug)]
pub(crate) enum Asked {
    /// It sends it.
    Here(Box<Answer>, Attempt),
    /// The caller's copy is current.
    NotModified,
    /// Origin is to be asked.
    NotHere,
    /// Another mirror may be asked.
    Trouble(Error),
}

/// A write that a mirror is to hear of. Whatever becomes of the write, also if it is dropped: the
/// key bypasses the mirror until it is certain that the mirror has nothing old of it.
#[derive(Debug)]
pub(crate) struct Write {
    mirror: Arc<Mirror>,
    key: Key,
    slot: Option<Slot>,
}

impl Mirror {
    pub(crate) fn new(client: Client, settings: MirrorSettings) -> Arc<Self> {
        Arc::new(Self {
            counts: Counts::new(client.base()),
            client,
            breaker: Breaker::new(settings.breaker),
            verify: settings.verify,
            verified: TtlCache::new(settings.memo, MOST_VERIFIED),
            penalised: TtlCache::new(settings.key_penalty, MOST_PENALISED),
            bypass: Bypass::new(settings.until, MOST_BYPASSED),
            can_purge: settings.until == Until::Purged,
            prefetch: settings.prefetch,
        })
    }

    /// Whether there is a reason of this key's own not to ask for it.
    fn leaves_out(&self, key: &Key) -> bool {
        self.bypass.covers(key) || self.penalised.contains(key)
    }

    /// Whether the mirror is in no state to be asked for anything, but for trials.
    pub(crate) fn is_out_of_use(&self) -> bool {
        self.breaker.state() == MirrorState::Open || self.bypass.covers_all()
    }

    /// Asks for an object; `None` if the mirror is to be left alone.
    pub(crate) async fn ask(&self, key: &Key, options: &OpenOptions) -> Option<Asked> {
        if self.leaves_out(key) {
            return None;
        }
        let mut attempt = self.breaker.enter()?;
        let reply = match self.client.get(key, options).await {
            Ok(reply) => reply,
            // Nobody could have asked for this.
            Err(error) if error.kind() == ErrorKind::InvalidInput => return None,
            Err(error) => {
                self.counts.request(Outcome::Failure);
                self.failed(attempt, key, &error);
                return Some(Asked::Trouble(error));
            }
        };
        // A write that has begun meanwhile may have made an old version of what the mirror sends.
        if self.bypass.covers(key) {
            return None;
        }
        Some(match reply {
            Reply::Here(answer) => {
                attempt.answered();
                self.verified.insert(key, true);
                return Some(Asked::Here(answer, attempt));
            }
            Reply::NotModified => {
                self.counts.request(Outcome::Hit);
                self.succeeded(attempt);
                Asked::NotModified
            }
            Reply::NotHere => {
                self.counts.request(Outcome::Miss);
                self.verified.insert(key, false);
                self.succeeded(attempt);
                Asked::NotHere
            }
            Reply::Refused(status) => {
                tracing::warn!(
                    mirror = self.client.place(),
                    key = key.as_str(),
                    status = status.as_u16(),
                    "the mirror refuses to send an object: do allow and signing_key of both sides agree?"
                );
                self.counts.request(Outcome::Miss);
                self.penalised.insert(key, ());
                self.verified.insert(key, false);
                self.succeeded(attempt);
                Asked::NotHere
            }
        })
    }

    /// A request met trouble: the key is not asked for a while, and the breaker counts.
    pub(crate) fn failed(&self, attempt: Attempt, key: &Key, error: &Error) {
        self.penalised.insert(key, ());
        self.verified.insert(key, false);
        let opened = attempt.failed();
        self.counts.state(self.breaker.state());
        let mirror = self.client.place();
        if opened {
            tracing::warn!(
                mirror,
                key = key.as_str(),
                error = error.message(),
                "the mirror is left alone for a while"
            );
        } else {
            tracing::info!(
                mirror,
                key = key.as_str(),
                error = error.message(),
                "the mirror is in trouble"
            );
        }
    }

    /// A request was answered as it should be, to its end.
    pub(crate) fn succeeded(&self, attempt: Attempt) {
        let before = self.breaker.state();
        attempt.succeeded();
        let after = self.breaker.state();
        if before != after {
            self.counts.state(after);
            tracing::info!(
                mirror = self.client.place(),
                state = after.as_str(),
                "the mirror has recovered"
            );
        }
    }

    /// Whether a link to an object may lead here: the mirror is healthy, and has it.
    pub(crate) async fn is_good_for_links(&self, key: &Key) -> bool {
        if self.leaves_out(key) {
            return false;
        }
        if self.verify == Verify::None {
            return !self.breaker.is_shut();
        }
        // Once it is in doubt, its good words of before count no more; its bad ones do.
        let known = self.verified.get(key);
        let is_healthy = self.breaker.state() == MirrorState::Healthy;
        if let Some(answer) = known.filter(|answer| is_healthy || !answer) {
            return answer;
        }
        let Some(attempt) = self.breaker.enter() else { return false };
        match self.client.verify(key).await {
            Ok(answer) => {
                self.succeeded(attempt);
                self.verified.insert(key, answer);
                answer
            }
            Err(error) => {
                self.failed(attempt, key, &error);
                false
            }
        }
    }

    /// The mirror has sent another version than origin has.
    pub(crate) fn is_stale(self: &Arc<Self>, key: &Key) {
        tracing::info!(
            mirror = self.client.place(),
            key = key.as_str(),
            "the mirror has another version than origin"
        );
        self.penalised.insert(key, ());
        self.verified.remove(key);
        if self.can_purge {
            self.bypass.found_stale(key);
            self.purge_later();
        }
    }

    /// A write begins.
    pub(crate) fn write(self: &Arc<Self>, key: &Key) -> Write {
        Write { mirror: Arc::clone(self), key: key.clone(), slot: Some(self.bypass.begin(key)) }
    }

    /// Sends a purge, and notes that it was confirmed.
    async fn purge(&self, due: &Due) -> bool {
        match self.client.purge(due.key.as_ref()).await {
            Ok(()) => {
                self.bypass.confirmed(due);
                self.counts.unconfirmed(self.bypass.unconfirmed());
                true
            }
            Err(error) => {
                let key = due.key.as_ref().map(Key::as_str);
                let mirror = self.client.place();
                if error.is_retryable() {
                    tracing::info!(
                        mirror,
                        key,
                        error = error.message(),
                        "a purge is not confirmed"
                    );
                } else {
                    tracing::warn!(mirror, key, error = error.message(), "a purge is refused");
                }
                false
            }
        }
    }

    /// Sends the purges that are due in the background, again and again until they are confirmed.
    /// Without a runtime, the next write does so.
    fn purge_later(self: &Arc<Self>) {
        self.counts.unconfirmed(self.bypass.unconfirmed());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.bypass.take_on() {
            runtime.spawn(Purger { mirror: Arc::downgrade(self), is_done: false }.run());
        }
    }

    pub(crate) fn status(&self) -> MirrorStatus {
        let (state, failures) = (self.breaker.state(), self.breaker.failures());
        self.counts.status(self.client.base().clone(), state, failures, self.bypass.unconfirmed())
    }
}

impl Write {
    /// It has certainly changed nothing.
    pub(crate) fn changed_nothing(mut self) {
        if let Some(slot) = self.slot.take() {
            self.mirror.bypass.end(&self.key, slot, false);
        }
    }

    /// It has happened, or may have: has the mirror purge the key, and fetch it anew if there is
    /// something to `fetch`. What is not confirmed now is tried again in the background. Dropping
    /// the future does no harm.
    pub(crate) async fn happened(mut self, fetch: bool) {
        let Some(due) = self.ended() else { return };
        let later = PurgeLater(&self.mirror, &due);
        // A mirror that is down would only hold up the writer.
        if self.mirror.breaker.is_shut() || !self.mirror.purge(&due).await {
            return;
        }
        drop(later);
        if fetch
            && self.mirror.prefetch
            && let Err(error) = self.mirror.client.prefetch(&self.key).await
        {
            tracing::info!(
                key = self.key.as_str(),
                error = error.message(),
                "the mirror does not prefetch"
            );
        }
    }

    fn ended(&mut self) -> Option<Due> {
        let slot = self.slot.take()?;
        self.mirror.verified.remove(&self.key);
        self.mirror.bypass.end(&self.key, slot, true)
    }
}

impl Drop for Write {
    /// Nobody waited for its end: it may have happened.
    fn drop(&mut self) {
        if let Some(due) = self.ended() {
            drop(PurgeLater(&self.mirror, &due));
        }
    }
}

/// Hands a purge over to those in the background, should it not be confirmed, also where a future
/// is dropped while it waits for the answer.
struct PurgeLater<'a>(&'a Arc<Mirror>, &'a Due);

impl Drop for PurgeLater<'_> {
    fn drop(&mut self) {
        self.0.bypass.hand_over(self.1);
        self.0.purge_later();
    }
}

/// Whoever has taken on the purging of a mirror. It ends with the mirror.
struct Purger {
    mirror: Weak<Mirror>,
    is_done: bool,
}

impl Purger {
    async fn run(mut self) {
        let mut wait = FIRST_WAIT;
        loop {
            let Some(mirror) = self.mirror.upgrade() else { return };
            let due = mirror.bypass.due(PURGES_TOGETHER);
            if due.is_empty() {
                self.is_done = true;
                return;
            }
            let purges: Vec<_> = due.iter().map(|due| mirror.purge(due)).collect();
            let sent = stream::iter(purges).buffer_unordered(PURGES_AT_A_TIME);
            let all_confirmed =
                sent.fold(true, |all, confirmed| std::future::ready(all && confirmed)).await;
            drop(mirror);
            if all_confirmed {
                wait = FIRST_WAIT;
                continue;
            }
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2).min(LONGEST_WAIT);
        }
    }
}

impl Drop for Purger {
    /// Its runtime may end before its work; the next write has it taken up again.
    fn drop(&mut self) {
        if let Some(mirror) = self.mirror.upgrade().filter(|_| !self.is_done) {
            mirror.bypass.give_up();
        }
    }
}
