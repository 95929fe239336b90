//! The driver `s3` in configuration files and URLs. These tests send no requests.

use std::time::Duration;

use anystorage::{Environment, Error, ErrorKind, Loader, Storage};

use super::support::{everything, refused};

/// The options that could otherwise come from the environment of the user.
const TABLE: &str = "driver = 's3'\nbucket = 'media'\nregion = 'eu-west-1'\nendpoint = 'https://s3.example.com'\n\
                     access_key_id = 'AKTEST'\nsecret_access_key = 'CANARY-6f1e'";
const CANARY: &str = "CANARY-6f1e";
/// The maximum window of a stable link, so that it does not end during a test.
const WINDOW: Duration = Duration::from_secs(6 * 24 * 60 * 60);

fn loader() -> Loader {
    Loader::new().with_environment(Environment::empty())
}

/// Returns a storage of the table above. Options in `lines` replace those of the table.
fn opened(lines: &str) -> Result<Storage, Error> {
    loader().toml_str(&table(lines)).and_then(|definitions| definitions.open("default"))
}

fn table(lines: &str) -> String {
    let option = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let given: Vec<_> = lines.lines().map(option).collect();
    let kept: Vec<_> = TABLE.lines().filter(|line| !given.contains(&option(line))).collect();
    format!("[storages.default]\n{}\n{lines}", kept.join("\n"))
}

fn refusal(lines: &str) -> String {
    refused(opened(lines).expect_err(lines))
}

/// Returns a storage without credentials.
fn bare(lines: &str) -> Result<Storage, Error> {
    let text =
        format!("[storages.default]\ndriver = 's3'\nendpoint = 'https://s3.example.com'\n{lines}");
    loader().toml_str(&text).and_then(|definitions| definitions.open("default"))
}

async fn link(storage: &Storage) -> String {
    let link =
        storage.url("a.png").expires_in(Duration::from_secs(60)).stable_for(WINDOW).await.unwrap();
    link.to_string()
}

#[test]
fn an_endpoint_without_a_scheme_is_an_error_with_a_hint_and_without_the_value() {
    for option in ["endpoint", "signing_endpoint"] {
        for value in ["'s3.example.org'", "'localhost:9000'", "4711"] {
            let error = refusal(&format!("{option} = {value}"));
            assert!(
                error.contains(&format!("option {option}: expected a whole URL, with https://")),
                "{error}"
            );
            assert!(!error.contains(value.trim_matches('\'')), "{error}");
        }
    }
}

#[test]
fn a_table_with_all_options_is_valid() {
    let storage = opened(
        r#"
        bucket = "media"
        region = "eu-west-1"
        endpoint = "http://127.0.0.1:9000"
        path_style = true
        access_key_id = "AKTEST"
        secret_access_key = "CANARY-6f1e"
        session_token = "CANARY-6f1e"
        anonymous = false
        signing_endpoint = "https://s3.example.com"
        acl = "public-read"
        sse = "aws:kms"
        sse_kms_key_id = "1234"
        storage_class = "STANDARD_IA"
        checksum = "sha256"
        part_size = "16 MiB"
        concurrency = 4
        quirks = "none"
        allow_http = true
        prefix = "below"
        timeout = "30s"
        retries = 3
        default_headers = { Cache-Control = "no-store" }
        "#,
    )
    .unwrap();
    let info = storage.info();
    assert_eq!(info.name, "s3");
    assert!(info.location.ends_with("/media/below"), "{}", info.location);
    let able = info.capabilities;
    assert!(
        able.write && able.create_new && able.save_if_match && able.signed_get && able.signed_put
    );
    assert!(able.signed_post && !able.public_url);
}

#[test]
fn a_public_bucket_needs_no_other_option() {
    let storage = bare("bucket = 'media'\nanonymous = true").unwrap();
    assert!(storage.info().location.ends_with("/media"), "{}", storage.info().location);
    assert!(!storage.info().capabilities.signed_get);
}

#[test]
fn an_unknown_option_is_an_error_that_lists_the_known_ones() {
    assert_eq!(
        refusal("buckt = 'media'"),
        "[storages.default]: unknown option buckt of driver s3; known options: bucket, region, endpoint, path_style, \
         access_key_id, secret_access_key, session_token, profile, anonymous, signing_endpoint, acl, sse, \
         sse_kms_key_id, storage_class, checksum, part_size, concurrency, quirks, allow_http, and for every driver \
         prefix, read_only, public_url, timeout, retries, default_headers"
    );
    let missing = refused(bare("anonymous = true").unwrap_err());
    assert_eq!(missing, "[storages.default]: option bucket of driver s3 is missing");
}

#[test]
fn an_invalid_option_is_an_error_with_a_hint() {
    for (lines, option, way_out) in [
        ("endpoint = 'minio:9000'", "endpoint", "https://"),
        ("endpoint = 'http://127.0.0.1:9000'", "endpoint", "allow_http = true"),
        ("signing_endpoint = 'http://localhost:9000'", "signing_endpoint", "allow_http = true"),
        ("endpoint = 'https://ada:x@s3.example.com'", "endpoint", "must not contain a user name"),
        ("endpoint = 'https://s3.example.com/?x=y'", "endpoint", "must not contain a query"),
        ("bucket = 'a/b'", "bucket", "not a URL or a path"),
        ("bucket = ''", "bucket", "letters"),
        ("region = 'eu west'", "region", "eu-west-1"),
        ("part_size = '1 MiB'", "part_size", "5 MiB (5242880)"),
        ("part_size = 6_000_000_000", "part_size", "to 5 GiB"),
        ("part_size = 'large'", "part_size", "8MiB"),
        ("part_size = -1", "part_size", "8MiB"),
        ("concurrency = 0", "concurrency", "at least 1"),
        ("checksum = 'crc32'", "checksum", "crc64nvme, crc32c, sha256, md5, none"),
        ("quirks = 'r3'", "quirks", "auto, none, r2, b2, gcs, garage, minio, ceph, wasabi, spaces"),
        ("path_style = 'maybe'", "path_style", "a boolean"),
        ("acl = ''", "acl", "header"),
        ("storage_class = 'a b'", "storage_class", "header"),
        ("sse_kms_key_id = '1234'", "sse_kms_key_id", "aws:kms"),
        ("acl = 'public-read'\nquirks = 'r2'", "acl", "no canned ACLs"),
        (
            "acl = 'public-read'\nendpoint = 'https://0123.r2.cloudflarestorage.com'",
            "acl",
            "no canned ACLs",
        ),
    ] {
        let error = refusal(lines);
        assert!(
            error.contains(&format!("option {option}")) && error.contains(way_out),
            "{lines}: {error}"
        );
    }
}

#[test]
fn an_incomplete_pair_of_credentials_is_refused() {
    for (lines, missing) in [
        ("access_key_id = 'AKTEST'", "secret_access_key"),
        ("secret_access_key = 'CANARY-6f1e'", "access_key_id"),
        ("session_token = 'CANARY-6f1e'", "access_key_id and secret_access_key"),
    ] {
        let error = refused(bare(&format!("bucket = 'media'\n{lines}")).expect_err(lines));
        assert!(error.contains("is set, but not") && error.contains(missing), "{error}");
    }
    assert!(refusal("anonymous = true").contains("exclude each other"));
}

#[test]
fn a_url_contains_bucket_prefix_and_options() {
    for (url, location) in [
        ("s3://media?anonymous=true", "/media"),
        ("s3://media/?anonymous=true&region=eu-west-1", "/media"),
        ("s3://media/a%20b/c?anonymous=true&part_size=16MiB&concurrency=2", "/media/a b/c"),
        ("s3://media/a/?anonymous=true&read_only=true&quirks=r2", "/media/a"),
    ] {
        let storage = loader().open(&format!("{url}&endpoint=https://s3.example.com")).unwrap();
        assert!(storage.info().location.ends_with(location), "{url}: {}", storage.info().location);
    }
}

#[test]
fn an_invalid_url_is_an_error_with_the_reason() {
    let refusal = |url: &str| refused(loader().open(url).expect_err(url));
    assert!(refusal("s3:media").contains("s3://bucket"));
    assert!(refusal("s3:///media?anonymous=true").contains("s3://bucket"));
    assert!(refusal("s3://media:9000/?anonymous=true").contains("endpoint="));
    assert!(
        refusal("s3://media/a//b?anonymous=true&endpoint=https://s3.example.com")
            .contains("option prefix: ")
    );
    assert!(
        refusal("s3://media?bucket=other&anonymous=true").contains("option bucket is given twice")
    );
    assert!(
        refusal("s3://media/a?prefix=b&anonymous=true").contains("option prefix is given twice")
    );
    assert!(
        refusal("s3://media?anonymous=true&regoin=x")
            .starts_with("unknown option regoin of driver s3")
    );
}

#[test]
fn a_url_with_a_secret_is_refused() {
    for url in [
        "s3://AKTEST:CANARY-6f1e@media/a",
        "s3://CANARY-6f1e@media/a",
        "s3://media?access_key_id=CANARY-6f1e",
        "s3://media?access_key_id=AKTEST&secret_access_key=CANARY-6f1e",
        "s3://media?session_token=CANARY-6f1e",
    ] {
        let error = loader().open(url).expect_err(url);
        assert!(!everything(&error).contains(CANARY), "{error}");
        assert!(
            refused(error)
                .contains("set secrets in the environment, a profile or a configuration file"),
            "{url}"
        );
        let environment = Environment::empty().with("STORAGE_DEFAULT_URL", url);
        let error =
            loader().with_environment(environment).env().unwrap().open_all().expect_err(url);
        assert!(!everything(&error).contains(CANARY), "{error}");
    }
}

#[tokio::test]
async fn a_secret_can_come_from_a_variable() {
    let text = table("secret_access_key = '${MEDIA_SECRET}'");
    let with = |secret: &str| {
        let environment = Environment::empty().with("MEDIA_SECRET", secret);
        loader().with_environment(environment).toml_str(&text).unwrap().open("default").unwrap()
    };
    let written = opened("").unwrap();
    // Equal signatures mean equal secrets.
    assert_eq!(link(&with(CANARY)).await, link(&written).await);
    assert_ne!(link(&with("another")).await, link(&written).await);

    let missing = refused(loader().toml_str(&text).unwrap().open("default").unwrap_err());
    assert!(
        missing
            .contains("option secret_access_key: the environment variable MEDIA_SECRET is not set"),
        "{missing}"
    );
}

#[test]
fn no_output_contains_a_secret() {
    let storage = opened("session_token = 'CANARY-6f1e'").unwrap();
    assert!(!format!("{storage:?} {:?} {:?}", storage.driver(), storage.info()).contains(CANARY));
    for lines in [
        "unknown = 1",
        "unknown = 'CANARY-6f1e'",
        "part_size = 'CANARY-6f1e'",
        "quirks = 'CANARY-6f1e'",
        "checksum = 'CANARY-6f1e'",
        "path_style = 'CANARY-6f1e'",
        "endpoint = 'CANARY-6f1e'",
        "endpoint = 'https://ada:CANARY-6f1e@s3.example.com'",
        "endpoint = 'https://s3.example.com/?token=CANARY-6f1e'",
        "region = 'CANARY 6f1e CANARY-6f1e'",
        "session_token = ['CANARY-6f1e']",
        "session_token = \"CANARY-6f1e\\nx\"",
        "anonymous = true",
        "acl = 'CANARY-6f1e '",
        "storage_class = 'CANARY-6f1e '",
    ] {
        let error = opened(lines).expect_err(lines);
        assert!(!everything(&error).contains(CANARY), "{lines}: {}", everything(&error));
    }
}

#[tokio::test]
async fn the_common_options_apply_to_s3() {
    let lines = "prefix = 'below'\npublic_url = 'https://media.example.com/m'\nread_only = true";
    let storage = opened(lines).unwrap();
    let public = storage.url("a b.png").await.unwrap();
    assert_eq!(public.as_str(), "https://media.example.com/m/below/a%20b.png");
    // A signed link has the host of the service, not the public address.
    let signed = storage.url("a b.png").expires_in(Duration::from_secs(60)).await.unwrap();
    let place = "https://s3.example.com/media/below/a%20b.png?";
    assert!(signed.as_str().starts_with(place), "{signed}");
    let refused = storage.save("a", "a").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn an_endpoint_has_the_bucket_in_its_path_by_default() {
    let place = async |lines: &str| {
        link(&opened(lines).unwrap()).await.split('?').next().unwrap().to_owned()
    };
    assert_eq!(place("").await, "https://s3.example.com/media/a.png");
    assert_eq!(place("path_style = true").await, "https://s3.example.com/media/a.png");
    assert_eq!(place("path_style = false").await, "https://media.s3.example.com/a.png");
    let seen_by_browsers = "endpoint = 'http://10.0.0.7:9000'\nallow_http = true\nsigning_endpoint = 'https://files.example.com'";
    assert_eq!(place(seen_by_browsers).await, "https://files.example.com/media/a.png");
}

#[test]
fn a_missing_profile_is_an_error() {
    let error = refused(bare("bucket = 'media'\nprofile = 'no such profile, surely'").unwrap_err());
    assert!(
        error.contains("option profile names the profile") && error.contains("does not exist"),
        "{error}"
    );
}
