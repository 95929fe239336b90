//! The state of a mirror as JSON.

use serde_json::{Map, Value, json};

use super::super::metrics::metrics;
use super::format::share;
use super::view::{Mirror, all_outcomes, since_start};

/// The number of keys that are listed.
const TOP: usize = 20;

/// Returns the state. Visits all cached objects.
pub(super) fn document(mirror: &Mirror) -> Value {
    let (engine, records) = (&mirror.engine, &mirror.records);
    let metrics = metrics(engine, &records.requests).into_iter();
    let mut document: Map<_, _> =
        metrics.map(|metric| (metric.name.to_owned(), metric.value.into())).collect();
    let mut put = |name: &str, value: Value| document.insert(name.to_owned(), value);
    put("version", env!("CARGO_PKG_VERSION").into());
    let origin = engine.origin().info();
    put("origin", json!({ "driver": origin.name, "location": origin.location }));
    put("uptime_seconds", records.started.elapsed().as_secs().into());
    put("max_size", mirror.max_size.into());
    put("hit_rate", records.requests.hit_rate().into());
    let outcomes = all_outcomes(records);
    let sum = since_start(&outcomes);
    put("byte_hit_rate", share(sum.bytes_hit, sum.bytes_hit + sum.bytes_miss).into());
    put("saved_bytes", sum.bytes_hit.into());
    if let Some(price) = &mirror.price {
        put(
            "saved_money",
            json!({ "amount": price.of(sum.bytes_hit), "currency": price.currency }),
        );
    }
    put("access_log_lost_total", records.lost().into());
    let outcomes = outcomes.into_iter().map(|(outcome, requests, bytes)| {
        (outcome.name().to_owned(), json!({ "requests": requests, "sent_bytes": bytes }))
    });
    put("responses", Value::Object(outcomes.collect()));
    let top = engine.top(TOP);
    let top = top
        .iter()
        .map(|entry| json!({ "key": entry.key(), "size": entry.size(), "requests": entry.hits() }));
    put("top", top.collect());
    if let Some(analytics) = &records.analytics {
        let today = analytics.summarize_today();
        let top: Vec<_> = today.top.into_iter().take(TOP).map(|top| json!(top)).collect();
        put("today", json!({ "day": today.day, "all": today.total.counts, "top": top }));
    }
    document.into()
}
