//! [`check`]: whether a mirror could start, without starting it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use storage_core::{Error, ErrorKind, Result, Storage};

use super::config::MirrorConfig;

/// How long origin may take to respond.
const ORIGIN_PATIENCE: Duration = Duration::from_secs(30);
/// An object that no origin has.
const PROBE: &str = ".anystorage-mirror-check/there-is-no-such-object";

/// Checks whether a mirror with this configuration could start and reach its origin: the options,
/// whether `cache_dir` and the access log can be made and written, whether the addresses are this
/// machine's, and whether origin responds to a request for an object that it does not have. A
/// mirror that runs on the same directory and addresses is not disturbed; nothing is left behind.
/// Blocks, for up to 30 seconds.
///
/// An origin that responds with "access denied" passes, with a warning in the log: storages whose
/// credentials may not list respond so for every object that is missing.
///
/// # Errors
/// `InvalidConfig` that names the option; what the operating system says about files and addresses;
/// what origin says.
pub fn check(config: MirrorConfig, origin: &Storage) -> Result<()> {
    let config = config.validated()?;
    directory(&config.cache_dir)
        .map_err(|error| in_context("cache_dir", &config.cache_dir, error))?;
    if let Some(log) = config.access_log.as_deref().filter(|path| *path != Path::new("-")) {
        log_file(log).map_err(|error| in_context("access_log", log, error))?;
    }
    for (option, address) in
        [("listen", Some(config.listen)), ("admin_listen", config.admin_listen)]
    {
        let Some(address) = address else { continue };
        let refused =
            |cause| Error::config(format!("option {option}: cannot listen at {address}: {cause}"));
        can_bind(address).map_err(refused)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let probed = runtime.block_on(probe(origin));
    runtime.shutdown_background();
    probed.map_err(|error| error.with_context("origin"))
}

async fn probe(origin: &Storage) -> Result<()> {
    let Ok(opened) = tokio::time::timeout(ORIGIN_PATIENCE, origin.open(PROBE)).await else {
        return Err(Error::new(
            ErrorKind::Timeout,
            "no response within 30 seconds; check its address and the network",
        ));
    };
    match opened {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            tracing::warn!(
                %error,
                "origin denies access to an object that it does not have: either the credentials are wrong, or they may \
                 not list, and requests for missing objects then fail with 502 instead of 404"
            );
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn in_context(option: &str, path: &Path, cause: io::Error) -> Error {
    let path = path.display();
    Error::config(format!("option {option}: {path} cannot be made or written: {cause}"))
        .with_source(cause)
}

/// Whether there is a directory that can be written, or one can be made.
fn directory(path: &Path) -> io::Result<()> {
    let existing = existing(path)?;
    if existing == path {
        let file = existing.join(probe_name());
        File::options().create_new(true).write(true).open(&file)?;
        fs::remove_file(file)
    } else {
        // What is to be made may be several directories deep: if the first can be, so can the rest.
        let made = existing.join(probe_name());
        fs::create_dir(&made)?;
        fs::remove_dir(made)
    }
}

/// Whether lines can be added to a file, or one can be made.
fn log_file(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        // A pipe is opened once there is something to write, since that may wait.
        Ok(found) if found.is_file() => File::options().append(true).open(path).map(drop),
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match path.parent() {
            Some(parent) if parent == Path::new("") => directory(Path::new(".")),
            Some(parent) if parent.is_dir() => directory(parent),
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// The path itself or the nearest directory above that is there.
fn existing(path: &Path) -> io::Result<PathBuf> {
    for above in path.ancestors() {
        let above = if above == Path::new("") { Path::new(".") } else { above };
        match fs::metadata(above) {
            Ok(found) if found.is_dir() => return Ok(above.to_owned()),
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn probe_name() -> String {
    format!(".anystorage-mirror-check-{}", std::process::id())
}

/// Binds without listening, so that no connection comes here. That another has the address is fine:
/// it is this machine's.
fn can_bind(address: std::net::SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    match socket.bind(&address.into()) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
        bound => bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_can_be_made_passes_and_nothing_is_left_of_the_attempt() {
        let dir = tempfile::tempdir().unwrap();
        directory(&dir.path().join("a/b/c")).unwrap();
        directory(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_cannot_be_made_does_not_pass() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        directory(&dir.path().join("file")).unwrap_err();
        directory(&dir.path().join("file/cache")).unwrap_err();
        // Not even the superuser makes directories there.
        if Path::new("/proc/self").exists() {
            directory(Path::new("/proc/anystorage/cache")).unwrap_err();
        }
    }

    #[test]
    fn a_log_passes_if_its_file_or_its_directory_can_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("access.log");
        log_file(&log).unwrap();
        assert!(!log.exists());
        fs::write(&log, "a line\n").unwrap();
        log_file(&log).unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "a line\n");
        log_file(dir.path()).unwrap_err();
        log_file(&dir.path().join("missing/access.log")).unwrap_err();
    }

    #[test]
    fn an_address_of_another_machine_does_not_pass_and_one_in_use_does() {
        can_bind("192.0.2.1:0".parse().unwrap()).unwrap_err();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        can_bind(listener.local_addr().unwrap()).unwrap();
    }
}
