//! The mirror as a separate process, so that it can be killed.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anystorage::mirror::Server;
use anystorage::{Loader, MirrorSetup, Result};

/// The token for purges and metrics.
pub(crate) const TOKEN: &str = "a-token-of-at-least-16-bytes";

/// The argument that makes this program run the mirror.
const AS_MIRROR: &str = "--as-mirror";

/// Returns the configuration file of the mirror, if the arguments contain it.
pub(crate) fn config_argument() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? == AS_MIRROR { arguments.next().map(PathBuf::from) } else { None }
}

/// Runs the mirror like `anystorage mirror --config FILE`, and prints its address.
pub(crate) fn serve(config: &Path) -> Result<()> {
    let MirrorSetup { config, origin, .. } = Loader::new().mirror_file(config)?;
    let server = Server::bind(config, origin)?;
    writeln!(io::stdout(), "{}", server.local_addr())?;
    server.run()
}

/// A running mirror.
pub(crate) struct MirrorProcess {
    config: PathBuf,
    child: Child,
    address: String,
}

impl MirrorProcess {
    /// Starts a mirror of the origin in the directory. Its cache is in the same directory.
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let config = directory.join("mirror.toml");
        let text = format!(
            "listen = \"127.0.0.1:0\"\ncache_dir = \"{cache}\"\nmax_size = \"1GiB\"\n\
             admin_token = \"{TOKEN}\"\norigin = \"media\"\n\n\
             [storages.media]\ndriver = \"fs\"\nroot = \"{origin}\"\n",
            cache = directory.join("cache").display(),
            origin = directory.join("origin").display(),
        );
        std::fs::write(&config, text)?;
        let (child, address) = spawn(&config)?;
        Ok(Self { config, child, address })
    }

    /// Kills the process, so that it cannot clean up.
    pub(crate) fn kill(&mut self) {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        assert!(killed.is_ok(), "the mirror could not be killed");
    }

    /// Starts the mirror again with the same cache, at another port.
    pub(crate) fn restart(&mut self) -> Result<()> {
        (self.child, self.address) = spawn(&self.config)?;
        Ok(())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Returns how many of its requests were hits, as text.
    pub(crate) fn hits(&self) -> Result<String> {
        let metrics = self.metrics()?;
        let counter = |name: &str| {
            let line = metrics
                .lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
            line.unwrap_or(0)
        };
        let hits = counter("anystorage_mirror_hits_total");
        let all = hits + counter("anystorage_mirror_misses_total");
        Ok(format!("{hits} of {all} requests were hits"))
    }

    fn metrics(&self) -> io::Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        let host = &self.address;
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
        )?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        Ok(response)
    }
}

impl Drop for MirrorProcess {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(config: &Path) -> Result<(Child, String)> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.arg(AS_MIRROR).arg(config).stdout(Stdio::piped()).spawn()?;
    let mut address = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut address)?;
    }
    Ok((child, address.trim().to_owned()))
}
