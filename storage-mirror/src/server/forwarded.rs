//! [`client_address`]: the address of a client, also behind a proxy.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use http::header::HeaderMap;

/// Returns the address of the client that sent a request. This is the address of the peer, or, if
/// the peer is a trusted proxy, the last address in `Forwarded` (RFC 7239) or `X-Forwarded-For`
/// that is not a trusted proxy's. The client may have forged the addresses before it.
///
/// A proxy sets one of the headers and may pass on the other as the client sent it. So if both are
/// present and name different clients, neither is used.
pub(crate) fn client_address(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> IpAddr {
    let peer = peer.ip().to_canonical();
    if !trusted.contains(&peer) {
        return peer;
    }
    let x_forwarded = values(headers, "x-forwarded-for");
    let x_forwarded = follow_proxies(
        peer,
        x_forwarded.iter().rev().flat_map(|value| value.rsplit(',')).map(str::trim),
        trusted,
    );
    let forwarded = values(headers, "forwarded");
    let elements =
        forwarded.iter().rev().flat_map(|value| split_outside_quotes(value, ',').into_iter().rev());
    let forwarded = follow_proxies(
        peer,
        elements.map(|element| parameter(element, "for").unwrap_or_default()),
        trusted,
    );
    match (x_forwarded, forwarded) {
        (Some(client), None) | (None, Some(client)) => client,
        (Some(client), Some(same)) if client == same => client,
        _ => peer,
    }
}

/// Returns the values of a header, also those that are not UTF-8. Without them the other header,
/// which the client may have forged, would be used alone.
fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<Cow<'a, str>> {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect()
}

/// Follows the nodes back from the peer, the last one first, as long as the node before is a
/// trusted proxy. Returns the address where it stops, or `None` if there are no nodes.
fn follow_proxies<'a>(
    peer: IpAddr,
    nodes: impl Iterator<Item = &'a str>,
    trusted: &[IpAddr],
) -> Option<IpAddr> {
    let mut address = None;
    for node in nodes {
        if !trusted.contains(&address.unwrap_or(peer)) {
            break;
        }
        match parse_address(node) {
            Some(next) => address = Some(next),
            // The proxy hides its client, so the proxy's address is the last known one.
            None => return Some(address.unwrap_or(peer)),
        }
    }
    address
}

/// Parses an address, with or without a port.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address =
        bare.parse().or_else(|_| text.parse().map(|address: SocketAddr| address.ip())).ok()?;
    Some(address.to_canonical())
}

/// Returns the value of a parameter in an element of `Forwarded`:
/// `for="[2001:db8::1]:4711";proto=https`. Addresses contain no escaped characters.
///
/// Returns `None` for an element that is malformed anywhere. A client may send an unclosed quote,
/// so that the text that the proxy appends becomes part of an element with an address that the
/// client chose.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let mut wanted = None;
    for pair in split_outside_quotes(element, ';').into_iter().filter(|pair| !pair.is_empty()) {
        let (found, value) = pair.split_once('=')?;
        let (found, value) = (found.trim(), unquoted(value.trim())?);
        if !found.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return None;
        }
        if found.eq_ignore_ascii_case(name) {
            wanted = wanted.or(Some(value));
        }
    }
    wanted
}

/// Returns a value without its quotes. Returns `None` if it contains other quotes.
fn unquoted(value: &str) -> Option<&str> {
    let text = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    (!text.contains('"')).then_some(text)
}

fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let mut is_quoted = false;
    let at_separator = |c: char| {
        is_quoted ^= c == '"';
        c == separator && !is_quoted
    };
    text.split(at_separator).map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let headers: Vec<_> = forwarded.iter().map(|value| ("x-forwarded-for", *value)).collect();
        by(peer, &headers, trusted)
    }

    fn by(peer: &str, given: &[(&'static str, &str)], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let trusted: Vec<IpAddr> = trusted.iter().map(|address| address.parse().unwrap()).collect();
        client_address(SocketAddr::new(peer.parse().unwrap(), 1), &headers, &trusted).to_string()
    }

    #[test]
    fn a_peer_that_is_not_a_trusted_proxy_is_the_client() {
        assert_eq!(from("192.0.2.1", &["198.51.100.1"], &[]), "192.0.2.1");
        assert_eq!(from("192.0.2.1", &["198.51.100.1"], &["127.0.0.1"]), "192.0.2.1");
    }

    #[test]
    fn a_trusted_proxy_names_the_client_in_x_forwarded_for() {
        let trusted = ["127.0.0.1", "10.0.0.1"];
        assert_eq!(from("127.0.0.1", &["198.51.100.1"], &trusted), "198.51.100.1");
        assert_eq!(from("::ffff:127.0.0.1", &["198.51.100.1"], &trusted), "198.51.100.1");
        assert_eq!(from("127.0.0.1", &["198.51.100.1, 10.0.0.1"], &trusted), "198.51.100.1");
        assert_eq!(from("127.0.0.1", &["[2001:db8::1]:4711"], &trusted), "2001:db8::1");
        assert_eq!(from("127.0.0.1", &[], &trusted), "127.0.0.1");
    }

    #[test]
    fn addresses_that_the_client_forged_are_not_used() {
        let trusted = ["127.0.0.1"];
        assert_eq!(from("127.0.0.1", &["8.8.8.8, 198.51.100.1"], &trusted), "198.51.100.1");
        assert_eq!(from("127.0.0.1", &["8.8.8.8", "198.51.100.1"], &trusted), "198.51.100.1");
        assert_eq!(from("127.0.0.1", &["8.8.8.8, nonsense"], &trusted), "127.0.0.1");
    }

    #[test]
    fn a_trusted_proxy_names_the_client_in_forwarded() {
        let trusted = ["127.0.0.1", "10.0.0.1"];
        let of = |value| by("127.0.0.1", &[("forwarded", value)], &trusted);
        assert_eq!(of("for=198.51.100.1;proto=https;by=10.0.0.1"), "198.51.100.1");
        assert_eq!(of("proto=http; For=\"198.51.100.1:4711\""), "198.51.100.1");
        assert_eq!(of("for=\"[2001:db8::1]:4711\""), "2001:db8::1");
        assert_eq!(of("for=\"[2001:db8::1]\""), "2001:db8::1");
        assert_eq!(of("for=8.8.8.8, for=198.51.100.1, for=10.0.0.1"), "198.51.100.1");
        assert_eq!(
            of("for=198.51.100.1;by=\"x,y;for=8.8.8.8\""),
            "198.51.100.1",
            "a quoted text is one value"
        );
        for hidden in [
            "for=unknown",
            "for=_secret",
            "proto=https",
            "",
            "for=\"",
            "for=198.51.100.1, for=unknown",
        ] {
            assert_eq!(of(hidden), "127.0.0.1", "{hidden}");
        }
        assert_eq!(
            by("192.0.2.1", &[("forwarded", "for=198.51.100.1")], &trusted),
            "192.0.2.1",
            "the peer is not a trusted proxy"
        );
    }

    #[test]
    fn headers_that_name_different_clients_are_not_used() {
        let trusted = ["127.0.0.1"];
        let both = |forwarded, x_forwarded| {
            by("127.0.0.1", &[("forwarded", forwarded), ("x-forwarded-for", x_forwarded)], &trusted)
        };
        assert_eq!(both("for=198.51.100.1", "198.51.100.1"), "198.51.100.1");
        assert_eq!(both("for=8.8.8.8", "198.51.100.1"), "127.0.0.1");
        assert_eq!(both("for=unknown", "198.51.100.1"), "127.0.0.1");
    }

    #[test]
    fn a_header_that_is_not_ascii_is_compared_with_the_other_header() {
        let trusted = ["127.0.0.1"];
        let headers = [("forwarded", "for=8.8.8.8"), ("x-forwarded-for", "\u{e9}, 198.51.100.1")];
        assert_eq!(by("127.0.0.1", &headers, &trusted), "127.0.0.1");
        assert_eq!(
            by("127.0.0.1", &headers[1..], &trusted),
            "198.51.100.1",
            "the proxy has appended it"
        );
    }

    #[test]
    fn an_unclosed_quote_of_the_client_makes_the_peer_the_client() {
        for begun in [
            "for=8.8.8.8;x=\"",
            "for=8.8.8.8;x=y\"",
            "for=8.8.8.8;\"",
            "for=8.8.8.8;x\"",
            "\";for=8.8.8.8",
        ] {
            for appended in [
                "for=198.51.100.1",
                "for=\"198.51.100.1:4711\"",
                "for=\"198.51.100.1\";host=\"a\\\"b\"",
            ] {
                let value = format!("{begun}, {appended}");
                let found = by("127.0.0.1", &[("forwarded", value.as_str())], &["127.0.0.1"]);
                assert_eq!(found, "127.0.0.1", "{value}");
            }
        }
    }
}
