//! Credentials from the environment of a process, as requests to S3 contain them. Each test runs
//! again in a process of its own, which has only the variables of the test.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::path::Path;
use std::process::Command;

use storage_core::{Error, ErrorKind, Storage};
use storage_s3::{S3, S3Builder};
use storage_testkit::http::{Peer, Request, Response};

const INSIDE: &str = "STORAGE_S3_TEST_INSIDE";

fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs a test of this file in a process with these variables only.
fn run_inside(test: &str, home: &Path, variables: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test])
        .env_clear()
        .env("HOME", home)
        .env(INSIDE, "1")
        .envs(variables.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A service that accepts every DELETE, and returns `/credentials` to a client with the token.
fn service() -> (String, Peer) {
    const CREDENTIALS: &str = r#"{"AccessKeyId":"CONTAINER","SecretAccessKey":"canary","Token":"of-session","Expiration":"2999-01-01T00:00:00Z"}"#;
    let peer = Peer::start(|request| match (&*request.method, &*request.target) {
        ("GET", "/credentials") if request.header("authorization") == Some("known") => {
            Response::ok(CREDENTIALS)
        }
        ("GET", "/credentials") => Response::new(403),
        _ => Response::new(204),
    });
    (format!("http://{}", peer.address()), peer)
}

fn built() -> Result<S3, Error> {
    S3Builder::new("bucket").allow_http(true).build()
}

fn storage() -> Storage {
    let driver = built().unwrap();
    assert!(!format!("{driver:?}").contains("canary"));
    Storage::new(driver)
}

/// Returns the access key id of each deletion, and whether it contained the session token.
fn signers(service: &Peer) -> Vec<(String, bool)> {
    let signer = |request: &Request| {
        let signature = request.header("authorization").unwrap_or_default();
        let after = signature.split_once("Credential=").map_or("", |(_, after)| after);
        let signer = after.split('/').next().unwrap_or_default().to_owned();
        (signer, request.header("x-amz-security-token") == Some("of-session"))
    };
    service.requests().iter().filter(|request| request.method == "DELETE").map(signer).collect()
}

#[tokio::test]
async fn a_container_signs_with_the_credentials_of_its_agent() {
    if is_inside() {
        let storage = storage();
        for key in ["a", "b", "c"] {
            storage.delete(key).await.unwrap();
        }
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (url, service) = service();
    let uri = format!("{url}/credentials");
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "known"),
        ("AWS_ENDPOINT_URL", url.as_str()),
    ];
    run_inside("a_container_signs_with_the_credentials_of_its_agent", home.path(), &variables);
    assert_eq!(signers(&service), vec![("CONTAINER".to_owned(), true); 3]);
    assert_eq!(service.count("GET /credentials"), 1);
}

#[tokio::test]
async fn a_container_without_credentials_sends_no_request_to_s3() {
    if is_inside() {
        let error = storage().delete("a").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
        assert!(
            error.message().contains("container") && error.message().contains("403"),
            "{error}"
        );
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (url, service) = service();
    let uri = format!("{url}/credentials");
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "canary"),
        ("AWS_ENDPOINT_URL", url.as_str()),
    ];
    run_inside("a_container_without_credentials_sends_no_request_to_s3", home.path(), &variables);
    assert_eq!(service.requests().len(), 1);
    assert!(signers(&service).is_empty());
}

#[tokio::test]
async fn a_profile_sets_keys_and_endpoint() {
    if is_inside() {
        return storage().delete("a").await.unwrap();
    }
    let home = tempfile::tempdir().unwrap();
    let (url, service) = service();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    let config = format!(
        "[profile site]\nservices = local\naws_access_key_id = FILE\naws_secret_access_key = canary\n\
         [services local]\ns3 =\n  endpoint_url = {url}\n"
    );
    std::fs::write(home.path().join(".aws/config"), config).unwrap();
    run_inside("a_profile_sets_keys_and_endpoint", home.path(), &[("AWS_PROFILE", "site")]);
    assert_eq!(signers(&service), [("FILE".to_owned(), false)]);
}

#[tokio::test]
async fn building_fails_if_no_source_of_credentials_applies() {
    if is_inside() {
        let error = built().expect_err("a driver that cannot be made");
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
        assert!(error.message().contains("AWS_EC2_METADATA_DISABLED"), "{error}");
        assert!(S3Builder::new("bucket").anonymous(true).build().is_ok());
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let variables = [("AWS_EC2_METADATA_DISABLED", "true")];
    run_inside("building_fails_if_no_source_of_credentials_applies", home.path(), &variables);
}
