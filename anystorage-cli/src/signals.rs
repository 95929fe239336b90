//! Ends the command on Ctrl-C or SIGTERM so that nothing half-written stays: what is going on is
//! dropped, which removes its unfinished files.

use std::future::pending;
use std::io;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::exit::Exit;

/// How long tidying up may take: writing to a pipe that nobody empties cannot be dropped.
const GRACE: Duration = Duration::from_secs(1);
/// How often it is looked whether that is done.
const LOOK: Duration = Duration::from_millis(10);

/// Answers how to exit when a signal arrives. Not at all without one, nor where signals cannot be
/// waited for.
///
/// From its first poll on, a signal no longer kills the process.
pub(crate) async fn interrupted() -> Exit {
    let Ok(signal) = signal() else { return pending().await };
    let (tell, told) = oneshot::channel();
    // Of its own: whatever blocks the command's thread cannot hold up the end.
    tokio::spawn(async move {
        let exit = signal.await;
        let _ = tell.send(exit);
        tokio::time::sleep(GRACE).await;
        std::process::exit(exit as i32);
    });
    match told.await {
        Ok(exit) => exit,
        Err(_) => pending().await,
    }
}

/// Waits for what goes on in the background, once the rest has been dropped: an upload to S3 is
/// aborted there. Connections that nobody uses cannot be told from it, so it may be all of the
/// grace, in which the process ends.
pub(crate) async fn tidied() {
    let tasks = Handle::current().metrics();
    // One of them is the task that ends the process.
    while tasks.num_alive_tasks() > 1 {
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(unix)]
fn signal() -> io::Result<impl Future<Output = Exit> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => Exit::Interrupted,
            _ = terminate.recv() => Exit::Terminated,
        }
    })
}

#[cfg(windows)]
fn signal() -> io::Result<impl Future<Output = Exit> + Send> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
        Exit::Interrupted
    })
}

#[cfg(not(any(unix, windows)))]
fn signal() -> io::Result<std::future::Pending<Exit>> {
    Err(io::ErrorKind::Unsupported.into())
}
