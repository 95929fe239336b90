//! `GET /status`: the state of a mirror, as JSON or as an HTML page.

use std::fmt::Write;
use std::sync::Arc;

use http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, VARY};
use http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};
use storage_core::Error;
use storage_serve::internal::text_response;
use storage_serve::{ResponseBody, error_response};
use tokio::task::spawn_blocking;

use super::metrics::metrics;
use super::record::Outcome;
use super::records::Records;
use super::responses;
use crate::engine::Engine;

/// The number of keys that are shown.
const TOP: usize = 20;

/// Responds with a page if `Accept` prefers HTML to JSON, and with JSON otherwise.
pub(super) async fn status(
    engine: &Engine,
    records: &Arc<Records>,
    max_size: u64,
    headers: &HeaderMap,
) -> Response<ResponseBody> {
    let (engine, records) = (engine.clone(), Arc::clone(records));
    // Visits all keys, so it runs on a thread that may block.
    let document = match spawn_blocking(move || document(&engine, &records, max_size)).await {
        Ok(document) => document,
        Err(join) => {
            return error_response(&Method::GET, &Error::unexpected("the status failed", join));
        }
    };
    let mut response = if prefers_html(headers) {
        html(&document)
    } else {
        responses::json(StatusCode::OK, &document)
    };
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    response
}

fn document(engine: &Engine, records: &Records, max_size: u64) -> Value {
    let metrics = metrics(engine, &records.requests).into_iter();
    let mut document: Map<_, _> =
        metrics.map(|metric| (metric.name.to_owned(), metric.value.into())).collect();
    let mut put = |name: &str, value: Value| document.insert(name.to_owned(), value);
    put("version", env!("CARGO_PKG_VERSION").into());
    put("uptime_seconds", records.started.elapsed().as_secs().into());
    put("max_size", max_size.into());
    put("hit_rate", records.requests.hit_rate().into());
    put("access_log_lost_total", records.lost().into());
    put("answers", outcomes(records));
    let top = engine.top(TOP);
    let top = top
        .iter()
        .map(|entry| json!({ "key": entry.key(), "size": entry.size(), "requests": entry.hits() }));
    put("top", top.collect());
    if let Some(analytics) = &records.analytics {
        let today = analytics.summarize_today(TOP);
        let top = today.top.into_iter().map(|(key, counts)| {
            let mut row = json!(counts);
            row["key"] = key.as_str().into();
            row
        });
        put("today", json!({ "day": today.day, "all": today.all, "top": top.collect::<Vec<_>>() }));
    }
    document.into()
}

/// Returns requests and bytes by outcome.
fn outcomes(records: &Records) -> Value {
    let outcomes = Outcome::ALL.into_iter().map(|outcome| {
        let (requests, bytes) = records.totals(outcome);
        (outcome.name().to_owned(), json!({ "requests": requests, "sent_bytes": bytes }))
    });
    Value::Object(outcomes.collect())
}

/// Allows the page its own styles and nothing else.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
);

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;\
    padding:0 1em;color:#222;background:#fff}h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}\
    table{border-collapse:collapse}\
    td,th{padding:.2em .8em .2em 0;text-align:left;border-bottom:1px solid #ddd;overflow-wrap:anywhere}\
    td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
    @media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#444}}";

fn html(document: &Value) -> Response<ResponseBody> {
    let mut response =
        text_response(StatusCode::OK, "").map(|_| ResponseBody::bytes(page(document).into()));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    response
}

/// Formats the document as HTML. Writing to a string does not fail.
fn page(document: &Value) -> String {
    let number = |name: &str| document[name].as_u64().unwrap_or_default();
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Mirror</title>\
         <meta name=viewport content=\"width=device-width\"><style>{STYLE}</style>\
         <h1>Mirror</h1><table>"
    );
    let version = document["version"].as_str().unwrap_or_default();
    let hit_rate = 100.0 * document["hit_rate"].as_f64().unwrap_or_default();
    let used = format!("{} of {}", bytes(number("bytes")), bytes(number("max_size")));
    for (name, value) in [
        ("Version", version.to_owned()),
        ("Uptime", span(number("uptime_seconds"))),
        ("Hit rate", format!("{hit_rate:.1} %")),
        ("Cache", used),
        ("Objects", number("objects").to_string()),
        ("Running fetches", number("in_flight").to_string()),
        ("Fetched from origin", bytes(number("origin_bytes_total"))),
        ("Lost lines of the access log", number("access_log_lost_total").to_string()),
    ] {
        let _ = write!(page, "<tr><td>{name}<td class=n>{}", escaped(&value));
    }
    page.push_str("</table><h2>Responses since the start</h2>");
    page.push_str("<table><tr><th>Outcome<th class=n>Requests<th class=n>Sent");
    for outcome in Outcome::ALL {
        let totals = &document["answers"][outcome.name()];
        let sent = bytes(totals["sent_bytes"].as_u64().unwrap_or_default());
        let _ = write!(
            page,
            "<tr><td>{}<td class=n>{}<td class=n>{sent}",
            outcome.name(),
            totals["requests"]
        );
    }
    page.push_str("</table>");
    if let Some(today) = document["today"].as_object() {
        write_today(&mut page, today);
    }
    page
}

fn write_today(page: &mut String, today: &Map<String, Value>) {
    let day = today["day"].as_str().unwrap_or_default();
    let _ = write!(page, "<h2>{} (UTC)</h2><table><tr><th>Key<th class=n>Downloads", escaped(day));
    page.push_str("<th class=n>Requests<th class=n>From the cache<th class=n>From origin");
    let row = |page: &mut String, key: &str, counts: &Value| {
        let size = |name: &str| bytes(counts[name].as_u64().unwrap_or_default());
        let (downloads, requests) = (&counts["downloads"], &counts["requests"]);
        let _ =
            write!(page, "<tr><td>{}<td class=n>{downloads}<td class=n>{requests}", escaped(key));
        let _ = write!(page, "<td class=n>{}<td class=n>{}", size("bytes_hit"), size("bytes_miss"));
    };
    for counts in today["top"].as_array().into_iter().flatten() {
        row(page, counts["key"].as_str().unwrap_or_default(), counts);
    }
    row(page, "(all keys)", &today["all"]);
    page.push_str("</table>");
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn bytes(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "bytes");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") }
}

fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    format!("{days} d {hours} h {minutes} min")
}

/// Whether `Accept` has a higher quality for HTML than for JSON (RFC 9110, section 12.5.1).
fn prefers_html(headers: &HeaderMap) -> bool {
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

    #[test]
    fn sizes_and_durations_are_formatted_with_units() {
        assert_eq!((bytes(1023), bytes(1536)), ("1023 bytes".to_owned(), "1.5 KiB".to_owned()));
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
        assert_eq!(span(90_061), "1 d 1 h 1 min");
    }

    #[test]
    fn html_characters_in_text_from_clients_are_escaped() {
        assert_eq!(escaped("<a href='x'>&\""), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
    }
}
