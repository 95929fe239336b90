//! [`Turns`]: of the requests of this process on one upload, the newest one continues.
//!
//! A connection that broke off without a sign keeps its request alive. The newer request stops it,
//! waits until it has stored what arrived, and then reads the state. Between processes, the
//! conditional commits of the state decide.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use super::Failure;

/// How long a request waits for the older one to store what arrived.
const PATIENCE: Duration = Duration::from_secs(20);

/// The requests at work. An upload without one takes no memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    uploads: Arc<Mutex<HashMap<String, Entry>>>,
}

#[derive(Debug, Clone)]
struct Entry {
    lock: Arc<tokio::sync::Mutex<()>>,
    /// Cancelled by a newer request.
    superseded: CancellationToken,
}

/// The turn of one request. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    id: String,
    superseded: CancellationToken,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Stops the older requests on this upload, and waits for them.
    pub(super) async fn take(&self, id: &str) -> Result<Turn, Failure> {
        let superseded = CancellationToken::new();
        let lock = {
            let mut uploads = self.uploads();
            let older = uploads.remove(id);
            let lock = older.map_or_else(Arc::default, |older| {
                older.superseded.cancel();
                older.lock
            });
            let entry = Entry { lock: Arc::clone(&lock), superseded: superseded.clone() };
            uploads.insert(id.to_owned(), entry);
            lock
        };
        let mut turn = Turn { turns: self.clone(), id: id.to_owned(), superseded, guard: None };
        match tokio::time::timeout(PATIENCE, lock.lock_owned()).await {
            Ok(guard) => turn.guard = Some(guard),
            Err(_) => return Err(Failure::Busy),
        }
        Ok(turn)
    }

    // No code panics while it holds the lock.
    fn uploads(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Waits until a newer request takes the upload over.
    pub(super) async fn superseded(&self) {
        self.superseded.cancelled().await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut uploads = self.turns.uploads();
        // The last one removes the entry.
        if uploads.get(&self.id).is_some_and(|entry| Arc::strong_count(&entry.lock) == 1) {
            uploads.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_newer_request_stops_the_older_one_and_waits_for_it() {
        let turns = Turns::default();
        let older = turns.take("a").await.unwrap();
        let mut newer = Box::pin(turns.take("a"));
        assert!(futures_util::poll!(&mut newer).is_pending());
        older.superseded().await;
        assert!(futures_util::poll!(&mut newer).is_pending());
        drop(older);
        let newer = newer.await.unwrap();
        assert!(!newer.superseded.is_cancelled());
    }

    #[tokio::test]
    async fn an_upload_without_a_request_takes_no_memory() {
        let turns = Turns::default();
        let one = turns.take("a").await.unwrap();
        let other = turns.take("b").await.unwrap();
        let dropped = Box::pin(turns.take("a"));
        drop((one, dropped, other));
        drop(turns.take("a").await.unwrap());
        assert!(turns.uploads().is_empty());
    }
}
