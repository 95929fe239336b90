//! Installed file servers, started as child processes on a port of their own. They end with their
//! handle.

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

/// How often a starting server is polled, and the delay between two polls.
const MAX_POLLS: usize = 1000;
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How many ports are tried, because another program may take the chosen one.
const MAX_STARTS: usize = 5;

/// Prints once that tests are skipped, to standard error itself, which the test harness shows for
/// passing tests too.
pub(crate) fn skip(what: &'static str, reason: &str) {
    static PRINTED: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    if PRINTED.lock().unwrap_or_else(PoisonError::into_inner).insert(what) {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {reason}");
    }
}

/// Returns the first of these files that exists.
pub(crate) fn first_existing(paths: &[&'static str]) -> Option<&'static str> {
    paths.iter().copied().find(|path| Path::new(path).exists())
}

/// A running server. It ends with this value.
pub(crate) struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    /// Starts a server with the command for a port, and waits until it listens.
    pub(crate) fn start(command: impl Fn(u16) -> Command) -> Self {
        for _ in 0..MAX_STARTS {
            let address = free_address();
            let mut command = command(address.port());
            let child = command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut running = Self { child, address };
            if running.waits_until_listening() {
                return running;
            }
        }
        panic!("the server does not start: {:?}", command(0));
    }

    /// Returns the beginning of the server's URLs.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    fn waits_until_listening(&mut self) -> bool {
        for _ in 0..MAX_POLLS {
            if TcpStream::connect(self.address).is_ok() {
                // If the process has ended, another server has the port.
                return self.child.try_wait().unwrap().is_none();
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            // The servers do not report when they listen.
            std::thread::sleep(POLL_INTERVAL);
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
