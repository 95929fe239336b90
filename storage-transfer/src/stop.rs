//! [`Stop`]: ends a transfer early, in good order.

use tokio::sync::watch;

/// A handle that ends a transfer early, as on Ctrl-C. Clones end the same transfer.
///
/// The transfer begins nothing new. A sync waits up to 5 s for what is under way, drops the rest,
/// and stores its state. A check drops at once what is under way.
#[derive(Debug, Clone)]
pub struct Stop {
    stopped: watch::Sender<bool>,
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl Stop {
    /// Creates a handle.
    #[must_use]
    pub fn new() -> Self {
        Self { stopped: watch::Sender::new(false) }
    }

    /// Ends the transfer.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Returns whether the transfer was ended.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    /// Waits until the transfer is ended. Cancel-safe.
    pub async fn stopped(&self) {
        let mut receiver = self.stopped.subscribe();
        // The sender is in this handle, so it is not dropped while the future exists.
        let _ = receiver.wait_for(|stopped| *stopped).await;
    }
}
