//! The metrics that the recorder of an application receives.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use storage_core::{Memory, Storage};
use storage_http_cache::HttpCache;

use super::mirror::{Kind, TOKEN, TestMirror};

// The recorder is bound to one thread.
#[tokio::test]
async fn metrics_contain_requests_bytes_and_the_state() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _bound = metrics::set_default_local_recorder(&recorder);
    let origin = Memory::storage();
    let mirror = TestMirror::start(Kind::Flapping, origin.clone());
    let url = mirror.url();
    let builder =
        HttpCache::builder(vec![url.clone()], origin).token(TOKEN).key_penalty(Duration::ZERO);
    let minute = Duration::from_secs(60);
    let builder = builder.header_timeout(minute).idle_timeout(minute);
    let storage = Storage::new(builder.build().unwrap());

    // The purge after the save succeeds. Then every other request fails.
    storage.save("a", "12345").await.unwrap();
    for _ in 0..3 {
        storage.open("a").await.unwrap().bytes().await.unwrap();
    }

    let mut values = BTreeMap::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let labels: Vec<_> = key
            .key()
            .labels()
            .filter(|label| label.key() != "mirror")
            .map(|label| label.value().to_owned())
            .collect();
        let place = key
            .key()
            .labels()
            .find(|label| label.key() == "mirror")
            .map(|label| label.value().to_owned());
        let expected = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        assert!(place.is_none_or(|place| place == expected));
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(level) => level.into_inner(),
            DebugValue::Histogram(_) => continue,
        };
        values.insert(format!("{} {}", key.key().name(), labels.join(" ")), value);
    }
    let value = |name: &str| {
        values.get(name).copied().unwrap_or_else(|| panic!("{name} is not in {values:?}"))
    };
    assert_eq!(value("storage_mirror_requests_total hit"), 1.0);
    assert_eq!(value("storage_mirror_requests_total failure"), 2.0);
    assert_eq!(value("storage_mirror_bytes_total mirror"), 5.0);
    assert_eq!(value("storage_mirror_bytes_total origin"), 10.0);
    assert_eq!(value("storage_mirror_state "), 1.0);
    assert_eq!(value("storage_mirror_unconfirmed_purges "), 0.0);
}
