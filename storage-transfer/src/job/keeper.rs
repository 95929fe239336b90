//! [`Keeper`]: renews a lease while a worker has it.

use std::sync::Arc;
use std::time::Duration;

use storage_core::Result;

use crate::job::Job;
use crate::job::documents::JobState;
use crate::job::lease::Lease;
use crate::stop::Stop;

/// Renews a lease while a worker has it.
pub(crate) struct Keeper {
    pub(crate) job: Job,
    /// The time of the lease.
    pub(crate) time: Duration,
    pub(crate) lease: Arc<Lease>,
    /// Ends the keeper, between two saves.
    pub(crate) done: Stop,
}

impl Keeper {
    /// Renews the lease until it is lost, the job is cancelled, or the work on the shard is done.
    /// Ends the pass if the work is to end, also while the storage does not respond.
    pub(crate) async fn run(self, stop: Stop) {
        let stopping = async {
            stop.stopped().await;
            self.lease.stop().stop();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = self.renew() => {}
            () = stopping => {}
        }
    }

    async fn renew(&self) {
        let interval = self.time / 3;
        let look = interval.min(Duration::from_secs(1));
        let mut is_failing = false;
        loop {
            let ledger = self.lease.ledger();
            tokio::select! {
                () = self.done.stopped() => return,
                () = tokio::time::sleep(look) => {}
                () = ledger.filled(), if !is_failing => {}
            }
            if self.lease.age() < interval && !self.lease.is_full() {
                continue;
            }
            is_failing = self.store().await.is_err();
            if self.lease.is_lost() {
                return;
            }
        }
    }

    /// Stores the state of the shard. Gives the lease up if the job was cancelled, or if that has
    /// failed for too long.
    async fn store(&self) -> Result<()> {
        let job = self.job.store.job().await;
        let is_cancelled = job.is_ok_and(|job| job.value.state == JobState::Cancelled);
        let stored = match is_cancelled {
            true => self.lease.release().await,
            false => self.lease.renew().await,
        };
        if let Err(error) = &stored {
            tracing::debug!("the state of a shard was not stored: {error}");
        }
        // Another worker may take the shard soon.
        if is_cancelled || self.lease.age() > self.time * 2 / 3 {
            self.lease.lose();
        }
        stored
    }
}
