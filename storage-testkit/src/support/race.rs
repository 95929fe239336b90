//! Tasks that start together.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::Barrier;

/// Number of tasks that the racers share. Racers on one task alternate at every `await`; racers on
/// different tasks run in parallel. Each way finds races that the other does not.
const LANES: usize = 2;

/// Runs a future for each number below `n`, starts all at the same time, and returns their results
/// in order.
///
/// # Panics
/// If one of them panics.
pub(crate) async fn race<F, Fut, T>(n: usize, racer: F) -> Vec<T>
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let start = Arc::new(Barrier::new(n));
    let lanes = (0..LANES).map(|lane| {
        let racers = (lane..n).step_by(LANES).map(|number| {
            let (start, run) = (Arc::clone(&start), racer(number));
            async move {
                start.wait().await;
                (number, run.await)
            }
        });
        tokio::spawn(join_all(racers.collect::<Vec<_>>()))
    });
    let mut ended = Vec::new();
    for lane in join_all(lanes.collect::<Vec<_>>()).await {
        ended.extend(lane.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())));
    }
    ended.sort_by_key(|(number, _)| *number);
    ended.into_iter().map(|(_, output)| output).collect()
}
