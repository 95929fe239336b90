//! Whether a client prefers HTML or JSON.

use http::header::{ACCEPT, HeaderMap};

/// Whether `Accept` has a higher quality for HTML than for JSON (RFC 9110, section 12.5.1).
pub(super) fn prefers_html(headers: &HeaderMap) -> bool {
    let accept: Vec<_> =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let accept = accept.join(",").to_ascii_lowercase();
    quality(&accept, "text", "html") > quality(&accept, "application", "json")
}

/// Returns the quality of a media type, from 0 to 1000. The most specific range that matches sets
/// it.
fn quality(accept: &str, kind: &str, subtype: &str) -> u32 {
    let parse_range = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let specificity = match parts.next()?.split_once('/')? {
            (a, b) if a == kind && b == subtype => 2,
            (a, "*") if a == kind => 1,
            ("*", "*") => 0,
            _ => return None,
        };
        let quality = parts
            .find_map(|part| part.strip_prefix("q="))
            .map_or(Some(1.0), |q| q.parse::<f32>().ok())?;
        Some((specificity, (quality.clamp(0.0, 1.0) * 1000.0) as u32))
    };
    accept
        .split(',')
        .filter_map(parse_range)
        .max_by_key(|(specificity, _)| *specificity)
        .map_or(0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_receive_a_page_and_other_clients_json() {
        let prefers = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            prefers_html(&headers)
        };
        assert!(prefers("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(prefers("text/*, application/json;q=0.5"));
        for accept in [
            "*/*",
            "",
            "application/json",
            "text/html;q=0.5, */*",
            "text/html;q=0",
            "text/html;q=x",
            "html",
        ] {
            assert!(!prefers(accept), "{accept}");
        }
        assert!(!prefers_html(&HeaderMap::new()));
    }
}
