//! [`Clients`]: how many connections each client has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often it is logged that a client has too many connections.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The connections of all clients. Holds an address for as long as there is a connection from it.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    connections: HashMap<IpAddr, usize>,
    warned_at: Option<Instant>,
}

/// A connection that counts. Dropped, it counts no more.
#[derive(Debug)]
pub(crate) struct Connected {
    clients: Arc<Clients>,
    client: IpAddr,
}

impl Clients {
    /// Counts another connection from an address, unless there are so many of that client's
    /// already.
    pub(crate) fn connect(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Connected> {
        let client = client_of(address);
        let mut inner = self.lock();
        let connections = inner.connections.entry(client).or_default();
        if *connections >= most {
            // With at least one, the entry stays.
            inner.forget_if_unused(client);
            inner.warn(client, most);
            return None;
        }
        *connections += 1;
        drop(inner);
        Some(Connected { clients: Arc::clone(self), client })
    }

    // Nothing panics while the lock is held, so a poisoned one holds sound counts all the same.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget_if_unused(&mut self, client: IpAddr) {
        if self.connections.get(&client) == Some(&0) {
            self.connections.remove(&client);
        }
    }

    fn warn(&mut self, client: IpAddr, most: usize) {
        if self.warned_at.is_some_and(|at| at.elapsed() < WARN_EVERY) {
            return;
        }
        self.warned_at = Some(Instant::now());
        tracing::warn!(
            %client,
            most,
            "a client has max_connections_per_client connections, and more are closed at once; if it is a proxy of your \
             own, name it in trusted_proxies"
        );
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut inner = self.clients.lock();
        if let Some(connections) = inner.connections.get_mut(&self.client) {
            *connections = connections.saturating_sub(1);
        }
        inner.forget_if_unused(self.client);
    }
}

/// What one client is: an IPv4 address, or the 64 bits of an IPv6 address that a provider assigns.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_has_so_many_connections_and_another_has_its_own() {
        let clients = Arc::new(Clients::default());
        let mut held: Vec<_> =
            (0..3).map(|_| clients.connect(address("192.0.2.1"), 3).unwrap()).collect();
        assert!(clients.connect(address("192.0.2.1"), 3).is_none());
        assert!(clients.connect(address("::ffff:192.0.2.1"), 3).is_none(), "it is the same client");
        held.push(clients.connect(address("192.0.2.2"), 3).unwrap());
        drop(held.remove(0));
        held.push(clients.connect(address("192.0.2.1"), 3).unwrap());
        assert!(clients.connect(address("192.0.2.1"), 3).is_none());
    }

    #[test]
    fn the_addresses_of_one_assignment_are_one_client() {
        let clients = Arc::new(Clients::default());
        let _held = clients.connect(address("2001:db8:1:2::1"), 1).unwrap();
        assert!(clients.connect(address("2001:db8:1:2:ffff::2"), 1).is_none());
        assert!(clients.connect(address("2001:db8:1:3::1"), 1).is_some());
    }

    #[test]
    fn nothing_is_remembered_of_clients_that_are_gone() {
        let clients = Arc::new(Clients::default());
        for n in 0..100 {
            drop(clients.connect(address(&format!("192.0.2.{n}")), 1).unwrap());
            assert!(clients.connect(address(&format!("192.0.2.{n}")), 0).is_none());
        }
        assert!(clients.lock().connections.is_empty());
    }
}
