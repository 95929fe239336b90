//! [`Clients`]: counts the connections of each client.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The minimum time between two warnings about clients with too many connections.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The number of connections of each client. An entry is removed with its last connection.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    connections: HashMap<IpAddr, usize>,
    warned_at: Option<Instant>,
}

/// A counted connection. Dropping it ends the count.
#[derive(Debug)]
pub(crate) struct ConnectionGuard {
    clients: Arc<Clients>,
    client: IpAddr,
}

impl Clients {
    /// Counts another connection from an address. Returns `None` if its client already has `max`
    /// connections.
    pub(crate) fn connect(
        self: &Arc<Self>,
        address: IpAddr,
        max: usize,
    ) -> Option<ConnectionGuard> {
        let client = client_of(address);
        let mut inner = self.lock();
        let connections = inner.connections.entry(client).or_default();
        if *connections >= max {
            // `entry` may have inserted this client with a count of 0.
            inner.remove_if_unused(client);
            inner.warn(client, max);
            return None;
        }
        *connections += 1;
        drop(inner);
        Some(ConnectionGuard { clients: Arc::clone(self), client })
    }

    // No code panics while it holds the lock, so the counts in a poisoned lock are valid.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remove_if_unused(&mut self, client: IpAddr) {
        if self.connections.get(&client) == Some(&0) {
            self.connections.remove(&client);
        }
    }

    fn warn(&mut self, client: IpAddr, max: usize) {
        if self.warned_at.is_some_and(|at| at.elapsed() < WARN_EVERY) {
            return;
        }
        self.warned_at = Some(Instant::now());
        tracing::warn!(
            %client,
            max,
            "a client has max_connections_per_client connections, and further ones are closed at \
             once; if it is your own proxy, add it to trusted_proxies"
        );
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let mut inner = self.clients.lock();
        if let Some(connections) = inner.connections.get_mut(&self.client) {
            *connections = connections.saturating_sub(1);
        }
        inner.remove_if_unused(self.client);
    }
}

/// Returns the address that identifies a client: an IPv4 address, or the /64 prefix of an IPv6
/// address, which a provider assigns to one customer.
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
    fn each_client_has_its_own_maximum_number_of_connections() {
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
    fn the_addresses_of_one_ipv6_prefix_are_one_client() {
        let clients = Arc::new(Clients::default());
        let _held = clients.connect(address("2001:db8:1:2::1"), 1).unwrap();
        assert!(clients.connect(address("2001:db8:1:2:ffff::2"), 1).is_none());
        assert!(clients.connect(address("2001:db8:1:3::1"), 1).is_some());
    }

    #[test]
    fn clients_without_connections_have_no_entry() {
        let clients = Arc::new(Clients::default());
        for n in 0..100 {
            drop(clients.connect(address(&format!("192.0.2.{n}")), 1).unwrap());
            assert!(clients.connect(address(&format!("192.0.2.{n}")), 0).is_none());
        }
        assert!(clients.lock().connections.is_empty());
    }
}
