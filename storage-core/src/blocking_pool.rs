//! [`run_blocking`] and [`detach`]: work on Tokio's blocking pool.

use std::any::Any;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::error::{Error, ErrorKind, Result};

/// Work of any kind with a result of any type. Each other type of work would have its own copy of
/// Tokio's code for tasks, which costs the most when applications build a driver.
type Work = Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>;

/// Begins work on the blocking pool, and returns a future of its result. If the future is dropped,
/// the work continues.
///
/// # Errors
/// Those of the work. `Unexpected` if it panicked or the runtime shut down.
///
/// # Panics
/// Outside of a Tokio runtime.
pub fn run_blocking<T, F>(work: F) -> impl Future<Output = Result<T>> + Send + 'static
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let work: Work = Box::new(move || Box::new(work()));
    let running = tokio::task::spawn_blocking(work);
    async move {
        match finished(running).await?.downcast::<Result<T>>() {
            Ok(result) => *result,
            Err(_) => Err(Error::new(ErrorKind::Unexpected, "the result has another type")),
        }
    }
}

async fn finished(running: JoinHandle<Box<dyn Any + Send>>) -> Result<Box<dyn Any + Send>> {
    running.await.map_err(|join| {
        Error::unexpected("the work did not finish: it panicked, or the runtime shut down", join)
    })
}

/// Begins work on the blocking pool of the current runtime and does not wait for it. Without a
/// runtime, does the work on this thread.
pub fn detach(work: impl FnOnce() + Send + 'static) {
    match Handle::try_current() {
        Ok(runtime) => {
            let work: Work = Box::new(move || {
                work();
                Box::new(())
            });
            drop(runtime.spawn_blocking(work));
        }
        Err(_) => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_returns_its_result() {
        assert_eq!(run_blocking(|| Ok(7)).await.unwrap(), 7);
        let failed = run_blocking(|| Err::<u8, _>(Error::not_found())).await;
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error() {
        let error = run_blocking(|| -> Result<()> { panic!("on purpose") }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unexpected);
        assert!(error.message().contains("panicked"), "{error}");
    }
}
