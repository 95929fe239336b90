//! `mirror --config FILE`: runs the mirror server, checks its configuration, or exports analytics.

use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use anystorage::mirror::{Handle, Server, check, export};
use anystorage::publish::ServedRelease;
use anystorage::{Loader, MirrorSetup, Registry};

use super::{Args, notify};
use crate::exit::{ExitStatus, Failure};
use crate::output::write_failure;
use crate::verbosity::VerbosityArgs;

pub(super) fn run(
    args: &Args,
    path: &Path,
    registry: Registry,
    verbosity: VerbosityArgs,
) -> Result<ExitStatus, Failure> {
    verbosity.init_server_log();
    let loader = Loader::new().with_registry(registry);
    let shown = path.display();
    let failure = |error: anystorage::Error| Failure::at(&shown, &error);
    let MirrorSetup { config, origin, .. } = loader.mirror_file(path).map_err(failure)?;
    if args.check {
        check(config, &origin).map_err(failure)?;
        return Ok(ExitStatus::Success);
    }
    if let Some(format) = args.export {
        // The table lacks what the server has not written to disk yet, at most one minute.
        let mut table = std::io::BufWriter::new(std::io::stdout().lock());
        let exported = export(&config.cache_dir, args.from, args.to, format, &mut table);
        exported.map_err(|error| match closed_output(&error) {
            true => Failure::output_closed(),
            false => Failure::at(&config.cache_dir.display(), &error),
        })?;
        std::io::Write::flush(&mut table).map_err(write_failure)?;
        return Ok(ExitStatus::Success);
    }
    let server = if config.website {
        let release = ServedRelease::on_demand(&origin);
        Server::bind_website(config, origin, release)
    } else {
        Server::bind(config, origin)
    };
    let server = server.map_err(failure)?;
    handle_signals(server.handle(), loader, path.to_owned())
        .map_err(|error| Failure::local("signals", &error.into()))?;
    let (listen, admin) = (server.local_addr(), server.admin_addr());
    let admin = admin.map(tracing::field::display);
    tracing::info!(%listen, admin, "the mirror is listening");
    notify::ready(&format!("listening at {listen}"));
    server.run().map_err(failure)?;
    tracing::info!("the mirror has stopped");
    Ok(ExitStatus::Success)
}

/// Returns whether the reader of standard output, such as `head`, has ended.
fn closed_output(error: &anystorage::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    cause.is_some_and(|cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(unix)]
fn handle_signals(handle: Handle, loader: Loader, config: PathBuf) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut stop, mut interrupt, mut hangup) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        )
    };
    let watch = async move {
        loop {
            tokio::select! {
                _ = stop.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => reload(&handle, &loader, &config),
            }
        }
        notify::stopping();
        handle.stop();
        // A second signal ends the process without waiting for open requests.
        tokio::select! {
            _ = stop.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(ExitStatus::Terminated as i32);
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(watch))?;
    Ok(())
}

#[cfg(not(unix))]
fn handle_signals(handle: Handle, _loader: Loader, _config: PathBuf) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let _ = tokio::signal::ctrl_c().await;
        });
        handle.stop();
    })?;
    Ok(())
}

/// Applies a changed configuration. An invalid one changes nothing.
#[cfg(unix)]
fn reload(handle: &Handle, loader: &Loader, path: &Path) {
    match loader.mirror_file(path).and_then(|setup| handle.reload(setup.config)) {
        Ok(()) => tracing::info!("the configuration was reloaded"),
        Err(error) => {
            tracing::error!(%error, "the configuration was not reloaded; the old one stays");
        }
    }
}
