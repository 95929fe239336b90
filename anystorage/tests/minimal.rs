//! What the library does without its default features, each of which leaves a dependency out.
//!
//! ```console
//! $ cargo test -p anystorage --no-default-features --test minimal
//! ```

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[cfg(not(feature = "checksums"))]
#[tokio::test]
async fn a_required_checksum_is_unsupported_without_checksums() {
    let storage = anystorage::Memory::storage();
    let sum: anystorage::Checksum = "md5:5d41402abc4b2a76b9719d911017c592".parse().unwrap();
    let payload = anystorage::Payload::from("hello").with_expected_checksum(sum);
    let error = storage.save("a", payload).await.unwrap_err();
    assert_eq!(error.kind(), anystorage::ErrorKind::Unsupported, "{error}");
    assert!(error.message().contains("checksums"), "{error}");
    assert!(!storage.exists("a").await.unwrap());
    storage.save("a", "hello").await.unwrap();
}

#[cfg(not(feature = "dates"))]
#[test]
fn times_in_utc_are_read_and_written_without_dates() {
    for text in ["2026-12-01T00:00:00Z", "1970-01-01T00:00:00Z"] {
        let time = anystorage::parse_time(text).unwrap();
        assert_eq!(anystorage::format_time(time), text);
    }
    anystorage::parse_time("2026-12-01T00:00:00+02:00").unwrap_err();
}

#[cfg(not(feature = "dates"))]
#[test]
fn a_key_without_directives_needs_no_dates() {
    assert!(anystorage::keys::unique("avatars", "a.png").unwrap().as_str().starts_with("avatars/"));
    let error = anystorage::keys::unique("avatars/%Y", "a.png").unwrap_err();
    assert_eq!(error.kind(), anystorage::ErrorKind::InvalidInput, "{error}");
}

#[cfg(not(feature = "sniff"))]
#[tokio::test]
async fn the_extension_gives_the_content_type_without_sniffing() {
    let storage = anystorage::Memory::storage();
    let saved = storage.save("a.png", &b"\x89PNG\r\n\x1a\n"[..]).await.unwrap();
    assert_eq!(saved.metadata.content_type.as_deref(), Some("image/png"));
    let saved = storage.save("a", &b"\x89PNG\r\n\x1a\n"[..]).await.unwrap();
    assert_eq!(saved.metadata.content_type.as_deref(), Some("application/octet-stream"));
}

#[cfg(not(feature = "metrics"))]
#[tokio::test]
async fn the_layer_observed_works_without_metrics() {
    let storage = anystorage::Memory::storage().layer(anystorage::layers::Observed::new);
    storage.save("a", "hello").await.unwrap();
    assert_eq!(storage.open("a").await.unwrap().text().await.unwrap(), "hello");
}

#[cfg(not(feature = "toml"))]
#[test]
fn a_configuration_file_without_the_feature_is_an_error_that_names_it() {
    let error = anystorage::Storages::from_toml_str("").unwrap_err();
    assert!(error.message().contains("\"toml\""), "{error}");
}
