//! Where a request comes from, also behind a proxy.

use std::net::{IpAddr, SocketAddr};

use http::header::HeaderMap;

/// Where a request comes from: whoever is connected, or, if that is a trusted proxy, whoever it says. The last address in
/// `X-Forwarded-For` that is not a trusted proxy's; what stands before it the client may have made up.
pub(crate) fn client_address(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> IpAddr {
    let mut address = peer.ip().to_canonical();
    if trusted.is_empty() {
        return address;
    }
    let values: Vec<_> = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
    for forwarded in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        if !trusted.contains(&address) {
            break;
        }
        match parse_address(forwarded.trim()) {
            Some(next) => address = next,
            None => break,
        }
    }
    address
}

/// Some proxies tell the port as well.
fn parse_address(text: &str) -> Option<IpAddr> {
    let address = text.parse().or_else(|_| text.parse().map(|address: SocketAddr| address.ip())).ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let trusted: Vec<IpAddr> = trusted.iter().map(|address| address.parse().unwrap()).collect();
        client_address(SocketAddr::new(peer.parse().unwrap(), 1), &headers, &trusted).to_string()
    }

    #[test]
    fn nobody_is_believed_who_is_not_a_trusted_proxy() {
        assert_eq!(from("192.0.2.1", &["198.51.100.1"], &[]), "192.0.2.1");
        assert_eq!(from("192.0.2.1", &["198.51.100.1"], &["127.0.0.1"]), "192.0.2.1");
    }

    #[test]
    fn a_trusted_proxy_tells_who_asks() {
        let trusted = ["127.0.0.1", "10.0.0.1"];
        assert_eq!(from("127.0.0.1", &["198.51.100.1"], &trusted), "198.51.100.1");
        assert_eq!(from("::ffff:127.0.0.1", &["198.51.100.1"], &trusted), "198.51.100.1");
        assert_eq!(from("127.0.0.1", &["198.51.100.1, 10.0.0.1"], &trusted), "198.51.100.1");
        assert_eq!(from("127.0.0.1", &["[2001:db8::1]:4711"], &trusted), "2001:db8::1");
        assert_eq!(from("127.0.0.1", &[], &trusted), "127.0.0.1");
    }

    #[test]
    fn what_the_client_made_up_is_not_believed() {
        let trusted = ["127.0.0.1"];
        assert_eq!(from("127.0.0.1", &["8.8.8.8, 198.51.100.1"], &trusted), "198.51.100.1");
        assert_eq!(from("127.0.0.1", &["8.8.8.8", "198.51.100.1"], &trusted), "198.51.100.1");
        assert_eq!(from("127.0.0.1", &["8.8.8.8, nonsense"], &trusted), "127.0.0.1");
    }
}
