//! Installed servers that tests start as child processes, on free ports of the loopback interface.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to listen: far longer than on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(10);
/// How often a server is started, because another program may take a port that was free.
const MAX_STARTS: usize = 5;

/// A running server. Dropping it kills the server.
#[derive(Debug)]
pub struct Running {
    child: Child,
    addresses: Vec<SocketAddr>,
}

impl Running {
    /// Starts a server with the command for its ports, and waits until it listens on all of them.
    ///
    /// # Panics
    /// If it does not listen on five choices of ports.
    pub fn start<const N: usize>(command: impl Fn([u16; N]) -> Command) -> Self {
        for _ in 0..MAX_STARTS {
            let addresses = free_addresses::<N>();
            let mut command = command(addresses.map(|address| address.port()));
            let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let child = command.spawn().expect("the server starts");
            let mut running = Self { child, addresses: addresses.to_vec() };
            if running.waits_until_listening() {
                return running;
            }
        }
        panic!("the server does not start: {:?}", command([0; N]));
    }

    /// Returns the address that belongs to the port with this index.
    #[must_use]
    pub fn address(&self, index: usize) -> SocketAddr {
        self.addresses[index]
    }

    /// Kills the server and waits for its end.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server ends");
    }

    fn waits_until_listening(&mut self) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            let listens = self.addresses.iter().all(|address| TcpStream::connect(address).is_ok());
            // If the process has ended, another program has the port.
            if self.child.try_wait().expect("the server is a child").is_some() {
                return false;
            }
            if listens {
                return true;
            }
            // The servers do not report when they listen.
            std::thread::sleep(PAUSE);
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

/// Returns different addresses that are free.
fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    let listeners = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    listeners.map(|listener| {
        let listener = listener.expect("the loopback has a free port");
        listener.local_addr().expect("a listener has an address")
    })
}
