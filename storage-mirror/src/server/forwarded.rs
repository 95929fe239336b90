//! Where a request comes from, also behind a proxy.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use http::header::HeaderMap;

/// Returns where a request comes from: the address that is connected, or, if that is a trusted
/// proxy's, the last address that is not a trusted proxy's in `Forwarded` (RFC 7239) or
/// `X-Forwarded-For`. What stands before it the client may have made up.
///
/// A proxy sets one of the headers and hands on the other as the client made it up. So if both are
/// there and name different clients, neither counts.
pub(crate) fn client_address(peer: SocketAddr, headers: &HeaderMap, trusted: &[IpAddr]) -> IpAddr {
    let peer = peer.ip().to_canonical();
    if !trusted.contains(&peer) {
        return peer;
    }
    let x_forwarded = values(headers, "x-forwarded-for");
    let x_forwarded = walk(
        peer,
        x_forwarded.iter().rev().flat_map(|value| value.rsplit(',')).map(str::trim),
        trusted,
    );
    let forwarded = values(headers, "forwarded");
    let elements =
        forwarded.iter().rev().flat_map(|value| split_outside_quotes(value, ',').into_iter().rev());
    let forwarded =
        walk(peer, elements.map(|element| parameter(element, "for").unwrap_or_default()), trusted);
    match (x_forwarded, forwarded) {
        (Some(client), None) | (None, Some(client)) => client,
        (Some(client), Some(same)) if client == same => client,
        _ => peer,
    }
}

/// The values of a header. One that is not text counts too: left out, it would leave the other
/// header alone to name the client, and that one the client may have made up.
fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<Cow<'a, str>> {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect()
}

/// Goes back from the peer through what each proxy says, as long as that is a trusted one. `None`
/// if there is nothing to go through.
fn walk<'a>(
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
            // The client is hidden, so the proxy that hides it is the last known address.
            None => return Some(address.unwrap_or(peer)),
        }
    }
    address
}

/// Some proxies name the port as well.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address =
        bare.parse().or_else(|_| text.parse().map(|address: SocketAddr| address.ip())).ok()?;
    Some(address.to_canonical())
}

/// Returns the value of a parameter in an element of `Forwarded`:
/// `for="[2001:db8::1]:4711";proto=https`. Values of addresses have no escaped characters.
///
/// Returns `None` for an element that is malformed anywhere. A client may send half of a quoted
/// text, and what the proxy appends is then read as the other half, in one element with an address
/// that the client chose.
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

/// Returns the text of a value in quotes or without. `None` if there is a quote anywhere else.
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

    #[test]
    fn forwarded_names_the_client_as_rfc_7239_has_it() {
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
            "not by a proxy"
        );
    }

    #[test]
    fn a_header_that_the_proxy_hands_on_unseen_names_no_client() {
        let trusted = ["127.0.0.1"];
        let both = |forwarded, x_forwarded| {
            by("127.0.0.1", &[("forwarded", forwarded), ("x-forwarded-for", x_forwarded)], &trusted)
        };
        assert_eq!(both("for=198.51.100.1", "198.51.100.1"), "198.51.100.1");
        assert_eq!(both("for=8.8.8.8", "198.51.100.1"), "127.0.0.1");
        assert_eq!(both("for=unknown", "198.51.100.1"), "127.0.0.1");
    }

    #[test]
    fn a_header_that_is_not_ascii_does_not_leave_the_other_to_name_the_client() {
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
    fn a_quote_that_the_client_left_open_does_not_swallow_what_the_proxy_appends() {
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
