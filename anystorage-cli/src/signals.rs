//! Ends the command on Ctrl-C or SIGTERM without leaving partial files: the running operation is
//! dropped, which removes them.

use std::future::pending;
use std::io;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::exit::{ExitStatus, Failure};

/// Upper bound for the clean-up. A write to a full pipe without a reader cannot be dropped.
const CLEAN_UP_TIME: Duration = Duration::from_secs(1);
/// How long to wait for blocking calls after the command has ended.
const SHUTDOWN_TIME: Duration = Duration::from_millis(500);
/// How often to check whether the clean-up has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Runs a command until it ends or a signal interrupts it.
pub(crate) fn run_until_interrupted(
    work: impl Future<Output = Result<ExitStatus, Failure>>,
) -> Result<ExitStatus, Failure> {
    run(work, |signal| signal)
}

/// Runs a server until it fails or a signal stops it, which is its successful end.
pub(crate) fn run_server(
    work: impl Future<Output = Result<ExitStatus, Failure>>,
) -> Result<ExitStatus, Failure> {
    run(work, |_signal| ExitStatus::Success)
}

/// Runs a command. After a signal, the exit code is that which `exit_of` returns for the signal.
fn run(
    work: impl Future<Output = Result<ExitStatus, Failure>>,
    exit_of: fn(ExitStatus) -> ExitStatus,
) -> Result<ExitStatus, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local("starting", &error.into()))?;
    let outcome = runtime.block_on(async {
        let exit = tokio::select! {
            // The signal comes first, so that it is handled before there is anything to clean up.
            biased;
            exit = wait_for_signal(exit_of) => exit,
            outcome = work => return outcome,
        };
        wait_for_background_tasks().await;
        Err(Failure::silent(exit))
    });
    // A read of standard input cannot be interrupted, so the command does not wait for it.
    runtime.shutdown_timeout(SHUTDOWN_TIME);
    outcome
}

/// Waits for a signal and returns the exit code. Never returns without a signal, or on a system
/// where signals cannot be handled.
///
/// From its first poll on, a signal no longer kills the process.
async fn wait_for_signal(exit_of: fn(ExitStatus) -> ExitStatus) -> ExitStatus {
    let Ok(signal) = signal() else { return pending().await };
    let (sender, receiver) = oneshot::channel();
    // A separate task ends the process even if the thread of the command is blocked.
    tokio::spawn(async move {
        let exit = exit_of(signal.await);
        let _ = sender.send(exit);
        tokio::time::sleep(CLEAN_UP_TIME).await;
        std::process::exit(exit as i32);
    });
    match receiver.await {
        Ok(exit) => exit,
        Err(_) => pending().await,
    }
}

/// Waits for background tasks after the operation was dropped, because they abort uploads to S3.
/// Idle connections count as tasks, too, so this may take all of [`CLEAN_UP_TIME`], after which the
/// process ends.
async fn wait_for_background_tasks() {
    let tasks = Handle::current().metrics();
    // One of them is the task that ends the process.
    while tasks.num_alive_tasks() > 1 {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

#[cfg(unix)]
fn signal() -> io::Result<impl Future<Output = ExitStatus> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => ExitStatus::Interrupted,
            _ = terminate.recv() => ExitStatus::Terminated,
        }
    })
}

#[cfg(windows)]
fn signal() -> io::Result<impl Future<Output = ExitStatus> + Send> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
        ExitStatus::Interrupted
    })
}

#[cfg(not(any(unix, windows)))]
fn signal() -> io::Result<std::future::Pending<ExitStatus>> {
    Err(io::ErrorKind::Unsupported.into())
}
