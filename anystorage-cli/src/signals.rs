//! Ends the command on Ctrl-C or SIGTERM without leaving partial files: the running operation is
//! dropped, which removes them. A sync or a check is stopped, and finishes what is under way. A
//! second signal ends the process at once.

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use anystorage::internal::unfinished_files;
use anystorage::transfer::Stop;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::oneshot;

use crate::exit::{ExitStatus, Failure};
use crate::output::write_in_progress;

/// How many seconds an interrupted command has to end in good order. With [`REPORT_TIME`] these are
/// the 10 s that the manual states.
const STOP_SECONDS: u32 = 9;
/// How long a command that was ended waits until its message is written.
const REPORT_TIME: Duration = Duration::from_secs(1);
/// How many seconds a transfer waits for its background tasks. It has waited up to 5 s for what was
/// under way, and both together end before [`STOP_SECONDS`].
const CLEAN_UP_SECONDS: u32 = 3;
/// How long an interrupted command waits for one write to standard output. The write blocks the
/// command if a pipe has a reader that does not read, and then the operation cannot be dropped.
/// Writes to standard error are not noticed: a command that one blocks ends after
/// [`STOP_SECONDS`].
const OUTPUT_TIME: Duration = Duration::from_secs(1);
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

/// Runs a transfer. The first signal ends it in good order, and its own exit code counts. After
/// [`STOP_SECONDS`], or at the second signal, the process ends at once.
pub(crate) fn run_until_stopped(
    stop: &Stop,
    work: impl Future<Output = Result<ExitStatus, Failure>>,
) -> Result<ExitStatus, Failure> {
    let runtime = new_runtime()?;
    let stop_later = stop.clone();
    watch(|signals| stop_on_signal(signals, stop_later))?;
    let outcome = runtime.block_on(async {
        let outcome = work.await;
        if stop.is_stopped() {
            tokio::select! {
                () = wait_for_clean_up() => {}
                () = sleep_in_steps(CLEAN_UP_SECONDS) => {}
            }
        }
        outcome
    });
    runtime.shutdown_timeout(SHUTDOWN_TIME);
    outcome
}

/// Waits for a part of a transfer that does not watch for the stop itself. Drops it at a stop.
pub(crate) async fn unless_stopped<T>(
    stop: &Stop,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        () = stop.stopped() => Err(Failure::interrupted()),
        outcome = work => outcome,
    }
}

/// Handles signals on a thread of its own. All threads of the command may be blocked, for example
/// by a reader that does not read its output. On a system where signals cannot be handled, they
/// kill the process.
fn watch<F: Future<Output = ()>>(
    handle: impl FnOnce(Signals) -> F + Send + 'static,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::local("starting", &error.into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let inside = runtime.enter();
    let Ok(signals) = Signals::new() else { return Ok(()) };
    drop(inside);
    // The thread ends with the process.
    let thread = std::thread::Builder::new().name("signals".into());
    thread.spawn(move || runtime.block_on(handle(signals))).map(drop).map_err(failed)
}

async fn stop_on_signal(mut signals: Signals, stop: Stop) {
    signals.next().await;
    stop.stop();
    tokio::select! {
        _ = signals.next() => {}
        () = sleep_in_steps(STOP_SECONDS) => report_cut_off(),
    }
    std::process::exit(ExitStatus::RunAgain as i32);
}

/// Prints that the transfer did not end in good order. Waits only for [`REPORT_TIME`], because a
/// pipe whose reader does not read blocks the write.
fn report_cut_off() {
    let (sender, receiver) = mpsc::channel();
    let report = move || {
        Failure::cut_off().report();
        let _ = sender.send(());
    };
    if std::thread::Builder::new().spawn(report).is_ok() {
        let _ = receiver.recv_timeout(REPORT_TIME);
    }
}

/// Sleeps in steps of one second, so that a process that was suspended still has the rest of its
/// time when it continues.
async fn sleep_in_steps(seconds: u32) {
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Waits until one write to standard output has taken [`OUTPUT_TIME`].
async fn output_is_blocked() {
    const LOOKS: u32 = 10;
    let (mut last, mut looks) = (None, 0);
    while looks < LOOKS {
        tokio::time::sleep(OUTPUT_TIME / LOOKS).await;
        let write = write_in_progress();
        looks = if write.is_some() && write == last { looks + 1 } else { 0 };
        last = write;
    }
}

fn new_runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local("starting", &error.into()))
}

/// Runs a command. After a signal, the exit code is that which `exit_of` returns for the signal.
fn run(
    work: impl Future<Output = Result<ExitStatus, Failure>>,
    exit_of: fn(ExitStatus) -> ExitStatus,
) -> Result<ExitStatus, Failure> {
    let runtime = new_runtime()?;
    let (sender, receiver) = oneshot::channel();
    watch(move |mut signals| async move {
        let exit = exit_of(signals.next().await);
        let _ = sender.send(exit);
        tokio::select! {
            _ = signals.next() => {}
            () = sleep_in_steps(STOP_SECONDS) => {}
            () = output_is_blocked() => {}
        }
        std::process::exit(exit as i32);
    })?;
    let outcome = runtime.block_on(async {
        let exit = tokio::select! {
            // The signal comes first, so that it is handled before there is anything to clean up.
            biased;
            Ok(exit) = receiver => exit,
            outcome = work => return outcome,
        };
        wait_for_clean_up().await;
        Err(Failure::silent(exit))
    });
    // A read of standard input cannot be interrupted, so the command does not wait for it.
    runtime.shutdown_timeout(SHUTDOWN_TIME);
    outcome
}

/// Waits for what a dropped operation has left to do: background tasks, which abort uploads to S3,
/// and temporary files whose blocking write has not ended.
async fn wait_for_clean_up() {
    let tasks = Handle::current().metrics();
    while tasks.num_alive_tasks() > 0 || unfinished_files() > 0 {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The signals that end a command. From their creation on, they no longer kill the process.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (interrupt, terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate })
    }

    /// Waits for the next signal, and returns the exit code that a shell reports for it.
    async fn next(&mut self) -> ExitStatus {
        tokio::select! {
            _ = self.interrupt.recv() => ExitStatus::Interrupted,
            _ = self.terminate.recv() => ExitStatus::Terminated,
        }
    }
}

/// Ctrl-C.
#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn new() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) -> ExitStatus {
        self.0.recv().await;
        ExitStatus::Interrupted
    }
}

/// Signals cannot be handled on this system.
#[cfg(not(any(unix, windows)))]
struct Signals(std::convert::Infallible);

#[cfg(not(any(unix, windows)))]
impl Signals {
    fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn next(&mut self) -> ExitStatus {
        match self.0 {}
    }
}
