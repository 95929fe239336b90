//! Purges: [`MirrorWrite`] sends the purge after a write, and a background task repeats purges
//! until they are confirmed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use storage_core::internal::escape_invisible;
use storage_core::{ErrorKind, Key};
use tokio::sync::watch;

use crate::bypass::{DuePurge, Slot};
use crate::mirror::Mirror;

/// The delay before unconfirmed purges are sent again. It doubles up to the maximum.
const FIRST_DELAY: Duration = Duration::from_millis(250);
const MAX_DELAY: Duration = Duration::from_secs(60);
/// How many purges are sent to one mirror at the same time.
const CONCURRENT_PURGES: usize = 8;
/// How many due purges are read from the bypass at a time.
const BATCH: usize = 256;

/// A write that one mirror must purge. Unless it is cancelled, and even if it is dropped, the key
/// bypasses the mirror until the purge is confirmed.
#[derive(Debug)]
pub(crate) struct MirrorWrite {
    mirror: Arc<Mirror>,
    key: Key,
    slot: Option<Slot>,
}

impl Mirror {
    /// Records the beginning of a write: from now on the key bypasses the mirror.
    pub(crate) fn begin_write(self: &Arc<Self>, key: &Key) -> MirrorWrite {
        let slot = Some(self.bypass.begin_write(key));
        MirrorWrite { mirror: Arc::clone(self), key: key.clone(), slot }
    }

    /// Returns whether a request would wait for a response that does not come. If purges have timed
    /// out, the background task notices when the mirror responds again.
    fn is_unresponsive(&self) -> bool {
        let purges_time_out = self.purges_time_out.load(Ordering::Relaxed);
        self.breaker.is_blocked() || (purges_time_out && self.bypass.has_purger())
    }

    /// Sends a purge and records its confirmation. Returns whether it was confirmed.
    async fn purge(&self, due: &DuePurge) -> bool {
        let purged = self.client.purge(due.key.as_ref()).await;
        let has_timed_out = purged.as_ref().is_err_and(|error| error.kind() == ErrorKind::Timeout);
        self.purges_time_out.store(has_timed_out, Ordering::Relaxed);
        match purged {
            Ok(()) => {
                self.bypass.confirm(due);
                self.counts.report_unconfirmed_purges(self.bypass.unconfirmed());
                true
            }
            Err(error) => {
                let key = due.key.as_ref().map(Key::as_str);
                let (mirror, message) = (self.client.host(), error.message());
                if error.is_retryable() {
                    tracing::info!(mirror, key, error = message, "a purge is not confirmed");
                } else {
                    tracing::warn!(mirror, key, error = message, "a purge is refused");
                }
                false
            }
        }
    }

    /// Starts a background task that sends the due purges until they are confirmed, unless one
    /// runs. Without a Tokio runtime, the next write starts it.
    pub(crate) fn purge_in_background(self: &Arc<Self>) {
        self.counts.report_unconfirmed_purges(self.bypass.unconfirmed());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.bypass.start_purger() {
            let lifetime = self.lifetime.subscribe();
            let purger = Purger { mirror: Arc::downgrade(self), lifetime, is_done: false };
            runtime.spawn(purger.run());
        }
    }
}

impl MirrorWrite {
    /// Records that the write changed nothing.
    pub(crate) fn cancel(mut self) {
        if let Some(slot) = self.slot.take() {
            self.mirror.bypass.end_write(&self.key, slot, false);
        }
    }

    /// Records that the write happened, or may have happened, and purges the key at the mirror. If
    /// `prefetch` and the option are set, the mirror then fetches it again. An unconfirmed purge is
    /// repeated in the background, even if the future is dropped.
    pub(crate) async fn commit(mut self, prefetch: bool) {
        let Some(due) = self.end() else { return };
        let in_background = PurgeInBackground(&self.mirror, &due);
        // Do not make the writer wait for a mirror that does not respond, and not for a purge of
        // the whole mirror, which can take minutes.
        if due.key.is_none() || self.mirror.is_unresponsive() || !self.mirror.purge(&due).await {
            return;
        }
        drop(in_background);
        if prefetch
            && self.mirror.settings.prefetch
            && let Err(error) = self.mirror.client.prefetch(&self.key).await
        {
            tracing::info!(
                key = &*escape_invisible(self.key.as_str()),
                error = error.message(),
                "a prefetch by the mirror failed"
            );
        }
    }

    fn end(&mut self) -> Option<DuePurge> {
        let slot = self.slot.take()?;
        self.mirror.verified.remove(&self.key);
        self.mirror.bypass.end_write(&self.key, slot, true)
    }
}

impl Drop for MirrorWrite {
    /// The outcome is unknown, so the write may have happened.
    fn drop(&mut self) {
        if let Some(due) = self.end() {
            drop(PurgeInBackground(&self.mirror, &due));
        }
    }
}

/// Leaves a purge to the background task when it is dropped, even if the future that waits for the
/// confirmation is dropped.
struct PurgeInBackground<'a>(&'a Arc<Mirror>, &'a DuePurge);

impl Drop for PurgeInBackground<'_> {
    fn drop(&mut self) {
        self.0.bypass.release(self.1);
        self.0.purge_in_background();
    }
}

/// The background task that purges one mirror. It ends with the mirror.
struct Purger {
    mirror: Weak<Mirror>,
    lifetime: watch::Receiver<()>,
    is_done: bool,
}

impl Purger {
    async fn run(mut self) {
        let mut delay = FIRST_DELAY;
        loop {
            let Some(mirror) = self.mirror.upgrade() else { return };
            let due = mirror.bypass.take_due(BATCH);
            if due.is_empty() {
                self.is_done = true;
                return;
            }
            let purges: Vec<_> = due.iter().map(|due| mirror.purge(due)).collect();
            let sent = stream::iter(purges).buffer_unordered(CONCURRENT_PURGES);
            let all_confirmed =
                sent.fold(true, |all, confirmed| std::future::ready(all && confirmed)).await;
            drop(mirror);
            if all_confirmed {
                delay = FIRST_DELAY;
                continue;
            }
            // Nothing is sent, so only the end of the mirror ends the delay. A program that waits
            // for its tasks before it exits would wait for the delay.
            if tokio::time::timeout(delay, self.lifetime.changed()).await.is_ok() {
                return;
            }
            delay = delay.saturating_mul(2).min(MAX_DELAY);
        }
    }
}

impl Drop for Purger {
    /// Allows the next write to start another task, because the runtime may end before all purges
    /// were confirmed.
    fn drop(&mut self) {
        if let Some(mirror) = self.mirror.upgrade().filter(|_| !self.is_done) {
            mirror.bypass.stop_purger();
        }
    }
}

#[cfg(test)]
mod tests {
    use storage_core::Storage;
    use storage_testkit::http::closed_port;

    use crate::HttpCache;

    #[tokio::test(start_paused = true)]
    async fn the_background_task_ends_with_the_driver_although_its_mirror_is_dead() {
        let cache = HttpCache::builder(vec![closed_port()], storage_core::Memory::storage());
        let storage = Storage::new(cache.token("a-token").build().unwrap());
        storage.save("a.txt", "1").await.unwrap();
        let tasks = tokio::runtime::Handle::current().metrics();
        yield_often().await;
        assert_eq!(tasks.num_alive_tasks(), 1, "it waits to send the purge again");
        drop(storage);
        yield_often().await;
        assert_eq!(tasks.num_alive_tasks(), 0);
    }

    /// Lets other tasks run without letting the time pass.
    async fn yield_often() {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }
}
