//! [`check`]: checks whether a mirror can start, without starting it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use storage_core::{Error, ErrorKind, Result, Storage};

use super::config::MirrorConfig;

/// The time limit for a response of origin.
const ORIGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// The key of an object that no origin has.
const PROBE_KEY: &str = ".anystorage-mirror-check/there-is-no-such-object";

/// Checks whether a mirror with this configuration can start and reach its origin.
///
/// The check covers the options, whether `cache_dir` and the access log can be created and written,
/// whether the addresses belong to this machine, and whether origin responds to a request for an
/// object that it does not have. It leaves no files behind, and does not disturb a mirror that runs
/// with the same directory and addresses. Blocks for up to 30 seconds.
///
/// An origin that denies access passes with a warning in the log: a storage whose credentials may
/// not list denies access to every missing object.
///
/// # Errors
/// Fails with `InvalidConfig` and the name of the option if an option is invalid, if a file cannot
/// be created or written, or if an address cannot be used. Fails with `Timeout` if origin does not
/// respond within 30 seconds, and with the error of origin if it fails.
pub fn check(config: MirrorConfig, origin: &Storage) -> Result<()> {
    let config = config.validated()?;
    check_directory(&config.cache_dir)
        .map_err(|error| in_context("cache_dir", &config.cache_dir, error))?;
    if let Some(log) = config.access_log.as_deref().filter(|path| *path != Path::new("-")) {
        check_log_file(log).map_err(|error| in_context("access_log", log, error))?;
    }
    for (option, address) in
        [("listen", Some(config.listen)), ("admin_listen", config.admin_listen)]
    {
        let Some(address) = address else { continue };
        let in_option =
            |cause| Error::config(format!("option {option}: cannot listen at {address}: {cause}"));
        check_address(address).map_err(in_option)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let probed = runtime.block_on(probe(origin));
    runtime.shutdown_background();
    probed.map_err(|error| error.with_context("origin"))
}

async fn probe(origin: &Storage) -> Result<()> {
    let Ok(opened) = tokio::time::timeout(ORIGIN_TIMEOUT, origin.open(PROBE_KEY)).await else {
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
                "origin denies access to an object that it does not have: either the credentials \
                 are wrong, or they may not list, and requests for missing objects then fail with \
                 502 instead of 404"
            );
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn in_context(option: &str, path: &Path, cause: io::Error) -> Error {
    let path = path.display();
    Error::config(format!("option {option}: {path} cannot be created or written: {cause}"))
        .with_source(cause)
}

/// Checks that the directory can be written, or can be created if it is missing.
fn check_directory(path: &Path) -> io::Result<()> {
    let existing = nearest_existing(path)?;
    if existing == path {
        let file = existing.join(probe_name());
        File::options().create_new(true).write(true).open(&file)?;
        fs::remove_file(file)
    } else {
        // If the first missing directory can be created, so can those inside it.
        let created = existing.join(probe_name());
        fs::create_dir(&created)?;
        fs::remove_dir(created)
    }
}

/// Checks that lines can be appended to the file, or that it can be created if it is missing.
fn check_log_file(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        // A pipe is not opened here, because that blocks until it has a reader.
        Ok(found) if found.is_file() => File::options().append(true).open(path).map(drop),
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match path.parent() {
            Some(parent) if parent == Path::new("") => check_directory(Path::new(".")),
            Some(parent) if parent.is_dir() => check_directory(parent),
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Returns the path if it exists, or its nearest ancestor that exists.
fn nearest_existing(path: &Path) -> io::Result<PathBuf> {
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

/// Checks that the address belongs to this machine. Binds without listening, so that no connection
/// arrives. An address in use passes, because it is this machine's.
fn check_address(address: std::net::SocketAddr) -> io::Result<()> {
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
    fn a_directory_that_can_be_created_passes_and_no_files_are_left() {
        let dir = tempfile::tempdir().unwrap();
        check_directory(&dir.path().join("a/b/c")).unwrap();
        check_directory(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_cannot_be_created_fails() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        check_directory(&dir.path().join("file")).unwrap_err();
        check_directory(&dir.path().join("file/cache")).unwrap_err();
        // Not even the superuser can create directories in /proc.
        if Path::new("/proc/self").exists() {
            check_directory(Path::new("/proc/anystorage/cache")).unwrap_err();
        }
    }

    #[test]
    fn a_log_passes_if_its_file_or_its_directory_can_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("access.log");
        check_log_file(&log).unwrap();
        assert!(!log.exists());
        fs::write(&log, "a line\n").unwrap();
        check_log_file(&log).unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "a line\n");
        check_log_file(dir.path()).unwrap_err();
        check_log_file(&dir.path().join("missing/access.log")).unwrap_err();
    }

    #[test]
    fn an_address_of_another_machine_fails_and_one_in_use_passes() {
        check_address("192.0.2.1:0".parse().unwrap()).unwrap_err();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        check_address(listener.local_addr().unwrap()).unwrap();
    }
}
