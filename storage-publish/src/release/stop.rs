//! The early end of a publish or a rollback, as on Ctrl-C.

use std::time::Duration;

use futures_util::future::{BoxFuture, Either, Shared, select};
use storage_core::{Error, ErrorKind, Result};

/// Ends a publish early when a future is ready.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Option<Shared<BoxFuture<'static, ()>>>);

impl Stop {
    pub(crate) fn new(stop: impl Future<Output = ()> + Send + 'static) -> Self {
        let stop: BoxFuture<'static, ()> = Box::pin(stop);
        Self(Some(futures_util::FutureExt::shared(stop)))
    }

    /// Runs work. If the publish is stopped, the work has this time to end, and is dropped then.
    ///
    /// # Errors
    /// Those of the work; if it was dropped, a retryable `Conflict` with this consequence.
    pub(crate) async fn limit<T>(
        &self,
        time: Duration,
        consequence: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let Some(stop) = self.0.clone() else { return work.await };
        let stop = async {
            stop.await;
            if !time.is_zero() {
                tokio::time::sleep(time).await;
            }
        };
        match select(std::pin::pin!(stop), std::pin::pin!(work)).await {
            Either::Left(_) => Err(stopped(consequence)),
            Either::Right((done, _)) => done,
        }
    }
}

fn stopped(consequence: &str) -> Error {
    let message = format!("stopped; {consequence}: run again");
    Error::new(ErrorKind::Conflict, message).with_retryable(true)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn work_ends_at_once_or_after_its_time() {
        let stop = Stop::new(ready(()));
        for time in [Duration::ZERO, Duration::from_millis(1)] {
            let done = stop.limit(time, "nothing was changed", pending::<Result<()>>()).await;
            let error = done.unwrap_err();
            assert!(error.is_retryable(), "{error}");
            assert_eq!(error.message(), "stopped; nothing was changed: run again");
        }
    }

    #[tokio::test]
    async fn work_that_ends_in_its_time_is_done() {
        let stop = Stop::new(ready(()));
        let done = stop.limit(Duration::from_secs(3600), "", async {
            tokio::task::yield_now().await;
            Ok(1)
        });
        assert_eq!(done.await.unwrap(), 1);
        assert_eq!(Stop::default().limit(Duration::ZERO, "", async { Ok(2) }).await.unwrap(), 2);
    }
}
