//! Servers of files that are installed here, started as children on a port of their own, and ended
//! with their handle.

pub(crate) mod apache;
pub(crate) mod nginx;
pub(crate) mod python;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often a server is looked for that is starting, and how long to wait before the next time.
const LOOKS: usize = 1000;
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// How often another port is tried if somebody else has taken the one that was free a moment ago.
const STARTS: usize = 5;

/// Tells, once, of what was not tried: past the capturing of test output, since a skipped test that
/// nobody sees is a hole in the proof.
pub(crate) fn skip(what: &'static str, reason: &str) {
    static TOLD: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    if TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(what) {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {reason}");
    }
}

/// The first of these files that there is.
pub(crate) fn first_of(paths: &[&'static str]) -> Option<&'static str> {
    paths.iter().copied().find(|path| Path::new(path).exists())
}

/// A server that was started. It ends with this.
pub(crate) struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    /// Starts a server with the command for a port, and waits until it listens.
    pub(crate) fn start(command: impl Fn(u16) -> Command) -> Self {
        for _ in 0..STARTS {
            let address = free_address();
            let mut command = command(address.port());
            let child = command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut running = Self { child, address };
            if running.is_listening_at_last() {
                return running;
            }
        }
        panic!("the server does not start: {:?}", command(0));
    }

    /// The address of the server, as the beginning of a URL.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    fn is_listening_at_last(&mut self) -> bool {
        for _ in 0..LOOKS {
            if TcpStream::connect(self.address).is_ok() {
                // Somebody else's server, if ours has ended.
                return self.child.try_wait().unwrap().is_none();
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            // No server tells when it listens.
            std::thread::sleep(BETWEEN_LOOKS);
        }
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}
