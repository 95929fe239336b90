//! Credentials in a profile that another program replaces: they are read again when the service
//! rejects the current ones.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use object_store::CredentialProvider;
use storage_core::{ErrorKind, Storage};
use storage_testkit::http::{Peer, Request, Response};

use super::Home;
use super::server::base;
use crate::credentials::error::SearchLog;
use crate::credentials::keys;
use crate::credentials::profile_keys::ProfileKeys;
use crate::credentials::provider::CachingProvider;
use crate::{Quirks, S3Builder};

fn profile(key_id: &str, token: &str) -> String {
    let token =
        if token.is_empty() { String::new() } else { format!("aws_session_token = {token}\n") };
    format!("[default]\naws_access_key_id = {key_id}\naws_secret_access_key = canary\n{token}")
}

fn refused(code: &str) -> Response {
    Response::new(400).body(format!("<Error><Code>{code}</Code><Message>no</Message></Error>"))
}

/// A service that accepts only credentials whose key id or token contains this name.
fn service(accepted: &'static str, code: &'static str) -> Peer {
    Peer::start(move |asked: &Request| {
        match (asked.head().contains(accepted), asked.method.as_str()) {
            (true, _) => Response::new(204),
            (false, "HEAD") => Response::new(403),
            (false, _) => refused(code),
        }
    })
}

fn storage(server: &Peer, home: &Home) -> Storage {
    let builder = S3Builder::new("bucket").endpoint(base(server).parse().unwrap()).allow_http(true);
    Storage::new(builder.quirks(Quirks::None).build_in(&home.env()).unwrap())
}

#[tokio::test]
async fn a_session_token_that_another_program_renewed_is_read_after_a_rejection() {
    for code in ["ExpiredToken", "InvalidToken", "TokenRefreshRequired"] {
        let home = Home::new().credentials(&profile("KEY", "old-token"));
        let server = service("new-token", code);
        let storage = storage(&server, &home);
        home.file(".aws/credentials", &profile("KEY", "new-token"));
        storage.delete("a").await.unwrap();
        storage.delete("a").await.unwrap();
        // Rejected, repeated, and then sent with the new one.
        assert_eq!(server.requests().len(), 3, "{code}");
    }
}

#[tokio::test]
async fn rotated_keys_are_read_after_a_rejection() {
    let home = Home::new().credentials(&profile("OLDKEY", ""));
    let server = service("NEWKEY", "InvalidAccessKeyId");
    let storage = storage(&server, &home);
    home.file(".aws/credentials", &profile("NEWKEY", ""));
    storage.delete("a").await.unwrap();
}

/// The rejection of a HEAD does not name the token as the reason.
#[tokio::test]
async fn a_bare_rejection_of_a_head_causes_the_profile_to_be_read() {
    let home = Home::new().credentials(&profile("KEY", "old-token"));
    let server = Peer::start(|asked: &Request| {
        if asked.head().contains("new-token") { refused("NoSuchKey") } else { Response::new(400) }
    });
    let storage = storage(&server, &home);
    home.file(".aws/credentials", &profile("KEY", "new-token"));
    let _ = storage.exists("a").await;
    let asked = server.requests();
    assert!(
        asked[0].head().contains("old-token") && asked[1].head().contains("new-token"),
        "{asked:?}"
    );
    assert_eq!(asked[1].method, "HEAD");
}

#[tokio::test]
async fn a_rejected_token_is_not_read_again_for_every_request() {
    let home = Home::new().credentials(&profile("KEY", "old-token"));
    let server = service("new-token", "ExpiredToken");
    let storage = storage(&server, &home);
    for _ in 0..2 {
        let error = storage.delete("a").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
    assert_eq!(server.requests().len(), 2);
    // The profile was read a moment ago, so that the change is seen only after 30 s.
    home.file(".aws/credentials", &profile("KEY", "new-token"));
    assert!(storage.delete("a").await.is_err());
}

#[tokio::test]
async fn keys_removed_from_the_file_are_used_while_the_service_accepts_them() {
    let home = Home::new().credentials(&profile("KEY", "a-token"));
    let server = service("a-token", "ExpiredToken");
    let storage = storage(&server, &home);
    home.file(".aws/credentials", "");
    storage.delete("a").await.unwrap();
    assert_eq!(server.requests().len(), 1);
}

/// A program that only signs links sends no request that could be rejected.
#[tokio::test]
async fn a_profile_without_an_expiry_is_read_every_five_minutes() {
    let home = Home::new().credentials(&profile("KEY", "old-token"));
    let now = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH));
    let clock = Arc::clone(&now);
    let written = ProfileKeys { env: home.env(), profile: "default".to_owned() };
    let cached = CachingProvider::with_clock(
        written,
        "profile",
        SearchLog::default(),
        Arc::new(move || *clock.lock().unwrap()),
    );
    let cached =
        cached.with_credential(keys::credential("KEY", "canary", Some("old-token")).unwrap());
    let at = |seconds| *now.lock().unwrap() = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let token = async || cached.get_credential().await.unwrap().token.clone().unwrap();
    for (renewed, written_at) in [("new-token", 0), ("newer-token", 300)] {
        let before = token().await;
        home.file(".aws/credentials", &profile("KEY", renewed));
        at(written_at + 299);
        assert_eq!(token().await, before);
        at(written_at + 300);
        assert_eq!(token().await, renewed);
    }
    // An unreadable file does not drop the last keys.
    home.file(".aws/credentials", "");
    at(3_600);
    assert_eq!(token().await, "newer-token");
}
