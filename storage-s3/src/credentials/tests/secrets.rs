//! No secret is shown: not by `Debug`, not in errors and their sources, not in the log at any
//! level.

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use storage_core::config::Secret;
use storage_core::{Error, format_time};
use storage_testkit::http::{Peer, Request, Response};

use super::log::Log;
use super::server::LocalClient;
use super::{Home, credential};
use crate::credentials::Sources;
use crate::credentials::search::Found;

const CANARY: &str = "canary";

/// Returns everything that an error shows.
fn shown(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(&format!(" {next} {next:?}"));
        cause = next.source();
    }
    text
}

#[track_caller]
fn assert_no_canary(what: &str, text: &str) {
    assert!(!text.to_lowercase().contains(CANARY), "{what} shows the canary: {text}");
}

/// Uses the credentials and returns everything that is shown.
async fn used(found: Result<Found, Error>) -> String {
    match found {
        Err(error) => shown(&error),
        Ok(found) => {
            let given = match credential(&found).await {
                Ok(_) => "given".to_owned(),
                Err(error) => shown(&error),
            };
            format!("{found:?} {found:#?} {given}")
        }
    }
}

fn canary_sources() -> Sources {
    Sources {
        access_key_id: Some(Secret::new("CANARYKEY")),
        secret_access_key: Some(Secret::new("canary/secret")),
        session_token: Some(Secret::new("canary-token")),
        ..Sources::default()
    }
}

#[tokio::test]
async fn given_keys_are_never_shown() {
    let (log, guard) = Log::begin();
    let home = Home::new()
        .credentials(
            "[default]\naws_access_key_id = CANARYKEY\naws_secret_access_key = canary\n\
             [ends]\naws_access_key_id = CANARYKEY\naws_secret_access_key = canary\naws_expiration = 2020-01-01T00:00:00Z\n\
             [half]\naws_secret_access_key = canary\n[odd]\naws_access_key_id = CANARY KEY\naws_secret_access_key = canary\n",
        )
        .config("[profile broken]\nregion = canary\ncanary\n");
    let profiles = home.path(".aws/credentials");
    let mut all = used(home.find(&canary_sources())).await;
    all.push_str(&format!("{:?}", canary_sources()));
    for profile in ["default", "ends", "half", "odd", "broken"] {
        // The malformed file makes the profiles of the other one unusable.
        all.push_str(&used(home.find(&super::named(profile))).await);
        let alone = Home::new().variable("AWS_SHARED_CREDENTIALS_FILE", &profiles);
        all.push_str(&used(alone.find(&super::named(profile))).await);
    }
    let variables = [
        ("AWS_ACCESS_KEY_ID", "CANARYKEY"),
        ("AWS_SECRET_ACCESS_KEY", "canary"),
        ("AWS_SESSION_TOKEN", "canary token"),
    ];
    let by_variables = Home::new().variables(variables);
    all.push_str(&format!("{:?}", by_variables.env()));
    all.push_str(&used(by_variables.find(&Sources::default())).await);
    drop(guard);
    assert!(
        all.contains("expired at") && all.contains("session token contains"),
        "the errors were met: {all}"
    );
    assert_no_canary("an error or Debug", &all);
    assert!(
        log.text().contains("the source of the S3 credentials"),
        "the log was written: {}",
        log.text()
    );
    assert_no_canary("the log", &log.text());
}

/// A response that repeats the token of the request, in the format of containers and instances.
const ECHO: &str = r#"{"code":"Refused","message":"the token TOKEN is not known"}"#;

fn sent_token(asked: &Request) -> &'static str {
    if asked.head().contains("canary-metadata-token") {
        "canary-metadata-token"
    } else {
        "canary-authorisation"
    }
}

#[tokio::test(start_paused = true)]
async fn requests_and_responses_of_credential_servers_are_never_shown() {
    let (log, guard) = Log::begin();
    let expires = format_time(SystemTime::now() + Duration::from_secs(3600));
    let good = format!(
        r#"{{"AccessKeyId":"CANARYKEY","SecretAccessKey":"canary","Token":"canary-token","Expiration":"{expires}"}}"#
    );
    let bad = r#"{"AccessKeyId":"CANARYKEY","SecretAccessKey":"canary","Expiration":"canary"}"#
        .to_owned();
    let mut all = String::new();
    for (status, response) in
        [(200, good), (200, bad), (403, ECHO.to_owned()), (200, "canary".to_owned())]
    {
        let server = Peer::start(move |asked| match asked.target.as_str() {
            "/latest/api/token" => Response::ok("canary-metadata-token"),
            "/latest/meta-data/iam/security-credentials/" => Response::ok("role"),
            _ => Response::new(status).body(response.replace("TOKEN", sent_token(asked))),
        });
        let container = Home::new().variables([
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/canary-path"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "canary-authorisation"),
        ]);
        all.push_str(&used(container.find_with(LocalClient::to(&server))).await);
        all.push_str(&used(Home::new().find_with(LocalClient::to(&server))).await);
        let identity = Home::new().variable("AWS_ROLE_ARN", "arn:aws:iam::1:role/r");
        let token = identity.file("token", "canary-authorisation");
        let identity = identity.variable("AWS_WEB_IDENTITY_TOKEN_FILE", token);
        all.push_str(&used(identity.find_with(LocalClient::to(&server))).await);
        assert!(server.requests().len() >= 4, "all three were asked");
    }
    drop(guard);
    assert!(all.contains("the token ... is not known"), "the echo was met: {all}");
    assert_no_canary("an error or Debug", &all);
    let text = log.text();
    assert!(text.contains("credentials obtained"), "the log was written: {text}");
    // The HTTP library logs paths at TRACE, which this crate does not control.
    let ours: String = text.lines().filter(|line| line.contains("storage_s3")).collect();
    assert_no_canary("the log", &ours);
}
