//! `mirror`: the server of the cache tier.

use std::path::{Path, PathBuf};
use std::thread;

use anystorage::mirror::{Day, ExportFormat, Handle, Server, check, export};
use anystorage::{Loader, MirrorSetup};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::exit::{Exit, Failure};

/// Serve an origin's files from a cache that fills itself, until SIGTERM or Ctrl-C; SIGHUP reads
/// the configuration again
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The mirror's configuration: listen, cache_dir, max_size, origin, ...
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only check whether the mirror could start: configuration, directories, addresses, and
    /// whether origin responds
    #[arg(long, conflicts_with = "export")]
    check: bool,
    /// Only write what was downloaded, by day and key, as a table: csv or jsonl
    #[arg(long, value_name = "FORMAT")]
    export: Option<ExportFormat>,
    /// The first day of the table
    #[arg(long, value_name = "YYYY-MM-DD", requires = "export")]
    from: Option<Day>,
    /// The last day of the table
    #[arg(long, value_name = "YYYY-MM-DD", requires = "export")]
    to: Option<Day>,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    log();
    let shown = args.config.display();
    let failure = |error: anystorage::Error| Failure::at(&shown, &error);
    let MirrorSetup { config, origin, .. } = read(&args.config).map_err(failure)?;
    if args.check {
        check(config, &origin).map_err(failure)?;
        return Ok(Exit::Done);
    }
    if let Some(format) = args.export {
        // What the server has not written down yet, at most a minute's worth, is not in it.
        let mut table = std::io::BufWriter::new(std::io::stdout().lock());
        export(&config.cache_dir, args.from, args.to, format, &mut table).map_err(failure)?;
        std::io::Write::flush(&mut table)
            .map_err(|error| Failure::local("standard output", &error.into()))?;
        return Ok(Exit::Done);
    }
    let server = Server::bind(config, origin).map_err(failure)?;
    obey_signals(server.handle(), args.config.clone())
        .map_err(|error| Failure::local("signals", &error.into()))?;
    tracing::info!(listen = %server.local_addr(), admin = ?server.admin_addr(), "the mirror serves");
    server.run().map_err(failure)?;
    tracing::info!("the mirror has stopped");
    Ok(Exit::Done)
}

fn read(path: &Path) -> anystorage::Result<MirrorSetup> {
    Loader::new().mirror_file(path)
}

/// Logs to standard error, by a level from the environment, as other servers have it:
/// `RUST_LOG=debug`.
fn log() {
    let wanted = std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok());
    let level = wanted.unwrap_or(LevelFilter::INFO);
    // The mirror logs that origin failed, once for all who wait for it. The storage would log it
    // too, before.
    let storages = if level >= LevelFilter::DEBUG { level } else { level.min(LevelFilter::ERROR) };
    let filter =
        Targets::new().with_default(level).with_target("storage_core::layers::observed", storages);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
}

#[cfg(unix)]
fn obey_signals(handle: Handle, config: PathBuf) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut stop, mut interrupt, mut reload) = {
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
                _ = reload.recv() => reread(&handle, &config),
            }
        }
        handle.stop();
        // Who asks twice does not want to wait.
        tokio::select! {
            _ = stop.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(Exit::Terminated as i32);
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(watch))?;
    Ok(())
}

#[cfg(not(unix))]
fn obey_signals(handle: Handle, _config: PathBuf) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let _ = tokio::signal::ctrl_c().await;
        });
        handle.stop();
    })?;
    Ok(())
}

/// A configuration that is wrong changes nothing.
#[cfg(unix)]
fn reread(handle: &Handle, path: &Path) {
    match read(path).and_then(|setup| handle.reload(setup.config)) {
        Ok(()) => tracing::info!("the configuration was read again"),
        Err(error) => {
            tracing::error!(%error, "the configuration was not read again; the old one stays")
        }
    }
}
