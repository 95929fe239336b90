//! Profiles that the AWS SDK reads. Its requests go to a server on the loopback.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use storage_core::{Error, ErrorKind, Result, format_time};
use storage_testkit::http::{Peer, Response};

use super::log::Log;
use super::server::LocalClient;
use super::{Home, assert_says, credential, error, named, triple};
use crate::credentials::find;
use crate::credentials::sdk::message_chain;
use crate::credentials::search::Found;

/// The SHA-1 of `team`, which names the file of the token of this session.
const TEAM: &str = "d25187dc137f35c88bc80ec8c3ffbdb17b5eb873";
/// The SHA-1 of `https://team.awsapps.com/start`.
const START: &str = "629c0f190b728da3e83c63c81257900d28075829";
/// Set in the process that runs a test with a home directory of its own.
const AT_HOME: &str = "STORAGE_S3_TEST_AT_HOME";

fn in_an_hour() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

fn found(home: &Home, profile: &str, client: &LocalClient) -> Result<Found> {
    find(&named(profile), &home.env(), Arc::new(client.clone()))
}

fn assumed(key_id: &str) -> String {
    format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\
         <AccessKeyId>{key_id}</AccessKeyId><SecretAccessKey>canary-secret</SecretAccessKey>\
         <SessionToken>canary-token</SessionToken><Expiration>{}</Expiration></Credentials></AssumeRoleResult>\
         <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></AssumeRoleResponse>",
        format_time(in_an_hour())
    )
}

const ROLES: &str = "[profile role]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\nregion = eu-west-3\n\
                     [profile base]\naws_access_key_id = BASEKEY\naws_secret_access_key = canary-base\n\
                     [profile loop]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = loop2\n\
                     [profile loop2]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = loop\n";

#[tokio::test]
async fn a_role_is_assumed_with_the_keys_of_its_source_and_cached_until_shortly_before_its_expiry()
{
    let server = Peer::start(|_| Response::ok(assumed("ROLE")));
    let client = LocalClient::to(&server);
    let home = Home::new().config(ROLES);
    let found = found(&home, "role", &client).unwrap();
    assert_eq!((found.source, found.region.as_deref()), ("profile", Some("eu-west-3")));
    for _ in 0..3 {
        assert_eq!(
            triple(&found).await,
            ("ROLE".into(), "canary-secret".into(), Some("canary-token".into()))
        );
    }
    assert_eq!(client.recorded(), ["https://sts.eu-west-3.amazonaws.com"]);
    let asked = &server.requests()[0];
    assert!(
        asked.text().contains("Action=AssumeRole") && asked.text().contains("role%2Fr"),
        "{}",
        asked.text()
    );
    assert!(asked.head().contains("Credential=BASEKEY/"), "{}", asked.head());
}

#[tokio::test]
async fn a_refusal_of_sts_is_reported_and_the_next_call_asks_again() {
    let refusal = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                   <Message>User: \"u\" is not authorized.\n\nThe canonical string is 'canary'</Message></Error><RequestId>r</RequestId></ErrorResponse>";
    let server = Peer::start(move |request| match request.index {
        0 => Response::new(403).body(refusal),
        _ => Response::ok(assumed("ROLE")),
    });
    let home = Home::new().config(ROLES);
    let found = found(&home, "role", &LocalClient::to(&server)).unwrap();
    let words = ["\"role\"", "AccessDenied", "is not authorized"];
    let error = error(&found).await;
    assert_says(&error, ErrorKind::Unauthenticated, &words);
    assert!(!error.message().contains("canary"), "{error}");
    assert_eq!(triple(&found).await.0, "ROLE");
}

#[tokio::test]
async fn an_error_in_a_profile_is_reported_each_time() {
    let server = Peer::start(|_| Response::new(500));
    let home = Home::new().config(ROLES);
    let found = found(&home, "loop", &LocalClient::to(&server)).unwrap();
    for _ in 0..2 {
        assert_says(&error(&found).await, ErrorKind::InvalidConfig, &["\"loop\"", "infinite loop"]);
    }
    assert!(server.requests().is_empty());
}

#[cfg(unix)]
#[tokio::test]
async fn a_credential_process_is_run() {
    let expires = format_time(in_an_hour());
    let document = format!(
        r#"{{"Version":1,"AccessKeyId":"PROCESS","SecretAccessKey":"canary-secret","SessionToken":"canary-token","Expiration":"{expires}"}}"#
    );
    let home = Home::new();
    let response = home.file("response", &document);
    let count = home.path("count");
    let home = home.config(&format!(
        "[profile p]\ncredential_process = sh -c 'echo asked >> {}; cat {}'\n[profile q]\ncredential_process = echo no login >&2; exit 3\n",
        count.display(),
        response.display()
    ));
    let server = Peer::start(|_| Response::new(500));
    let p = found(&home, "p", &LocalClient::to(&server)).unwrap();
    for _ in 0..3 {
        assert_eq!(
            triple(&p).await,
            ("PROCESS".into(), "canary-secret".into(), Some("canary-token".into()))
        );
    }
    assert_eq!(std::fs::read_to_string(count).unwrap(), "asked\n");
    let q = found(&home, "q", &LocalClient::to(&server)).unwrap();
    assert_says(&error(&q).await, ErrorKind::Unauthenticated, &["\"q\"", "no login"]);
}

/// Runs a test of this file again in a process whose home directory is `home`, because the SDK
/// reads the tokens of single sign-on from that of the process.
fn at_home(test: &str, home: &Home) {
    let name = format!("credentials::tests::sdk::{test}");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &name]).env("HOME", home.dir.path()).env(AT_HOME, "1");
    for variable in
        ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SSO", "AWS_PROFILE", "AWS_USE_FIPS_ENDPOINT"]
    {
        command.env_remove(variable);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn is_at_home() -> bool {
    std::env::var_os(AT_HOME).is_some()
}

const SSO: &str = "[profile dev]\nsso_session = team\nsso_account_id = 1\nsso_role_name = reader\n\
                   [sso-session team]\nsso_region = eu-west-1\nsso_start_url = https://team.awsapps.com/start\n\
                   [profile old]\nsso_start_url = https://team.awsapps.com/start\nsso_region = eu-west-1\n\
                   sso_account_id = 1\nsso_role_name = reader\n";

fn sso_home(token_expires: SystemTime) -> Home {
    let home = Home::new().config(SSO);
    std::fs::create_dir_all(home.path(".aws/sso/cache")).unwrap();
    let expires = format_time(token_expires);
    let token = format!(r#"{{"accessToken":"canary-login","expiresAt":"{expires}"}}"#);
    home.file(&format!(".aws/sso/cache/{TEAM}.json"), &token);
    home
}

/// Returns the home directory of this process.
fn this_home() -> crate::credentials::Environment {
    crate::credentials::Environment::of([("HOME", std::env::var_os("HOME").unwrap())])
}

async fn by_sso(client: &LocalClient) -> Result<Arc<object_store::aws::AwsCredential>, Error> {
    credential(&find(&named("dev"), &this_home(), Arc::new(client.clone())).unwrap()).await
}

#[tokio::test]
async fn a_login_is_exchanged_for_a_roles_credentials() {
    if !is_at_home() {
        return at_home("a_login_is_exchanged_for_a_roles_credentials", &sso_home(in_an_hour()));
    }
    let expiration = in_an_hour().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let server = Peer::start(move |_| {
        Response::ok(format!(
            r#"{{"roleCredentials":{{"accessKeyId":"SSO","secretAccessKey":"s","sessionToken":"t","expiration":{expiration}}}}}"#
        ))
    });
    let client = LocalClient::to(&server);
    assert_eq!(by_sso(&client).await.unwrap().key_id, "SSO");
    assert_eq!(client.recorded(), ["https://portal.sso.eu-west-1.amazonaws.com"]);
    let asked = &server.requests()[0];
    assert!(
        asked.target.contains("role_name=reader") && asked.target.contains("account_id=1"),
        "{}",
        asked.target
    );
    assert!(asked.head().contains("x-amz-sso_bearer_token: canary-login\n"));
}

#[tokio::test]
async fn an_error_about_an_expired_login_names_the_command_that_renews_it() {
    if !is_at_home() {
        let home = sso_home(SystemTime::now() - Duration::from_secs(60));
        return at_home("an_error_about_an_expired_login_names_the_command_that_renews_it", &home);
    }
    let server = Peer::start(|_| Response::new(500));
    let error = by_sso(&LocalClient::to(&server)).await.err().unwrap();
    let words = ["\"dev\"", "expired", "aws sso login --profile dev"];
    assert_says(&error, ErrorKind::Unauthenticated, &words);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn an_error_about_a_missing_login_names_the_command() {
    if !is_at_home() {
        return at_home(
            "an_error_about_a_missing_login_names_the_command",
            &Home::new().config(SSO),
        );
    }
    let server = Peer::start(|_| Response::new(500));
    let error = by_sso(&LocalClient::to(&server)).await.err().unwrap();
    assert_says(
        &error,
        ErrorKind::Unauthenticated,
        &["\"dev\"", "cached SSO token", "aws sso login --profile dev"],
    );
}

#[tokio::test]
async fn no_secret_of_the_sdk_is_shown() {
    if !is_at_home() {
        return at_home("no_secret_of_the_sdk_is_shown", &sso_home(in_an_hour()));
    }
    let (log, guard) = Log::begin();
    let garbage = r#"{"roleCredentials": "canary" "canary"}"#;
    let mut all = String::new();
    for (status, response) in [
        (200, assumed("CANARYKEY")),
        (200, "canary".to_owned()),
        (403, "<canary".to_owned()),
        (200, garbage.to_owned()),
    ] {
        let server = Peer::start(move |_| Response::new(status).body(response.clone()));
        let client = LocalClient::to(&server);
        let home = Home::new().config(ROLES);
        let role = found(&home, "role", &client).unwrap();
        for given in [credential(&role).await, by_sso(&client).await] {
            all.push_str(
                &given.map_or_else(|error| format!("{error} {error:?}"), |_| "given".to_owned()),
            );
        }
        all.push_str(&format!("{role:?}"));
        assert!(server.requests().len() >= 2, "both were asked");
    }
    // An unreadable token of a profile in the older format, whose token is named by the address of
    // the login.
    let token = r#"{"expiresAt":"2999-01-01T00:00:00Z","accessToken":"x" "canary"}"#;
    std::fs::write(this_home().home().unwrap().join(format!(".aws/sso/cache/{START}.json")), token)
        .unwrap();
    let server = Peer::start(|_| Response::new(500));
    let old = find(&named("old"), &this_home(), Arc::new(LocalClient::to(&server))).unwrap();
    let error = error(&old).await.to_string();
    assert!(error.contains("unexpected token"), "the token was not read: {error}");
    all.push_str(&error);
    drop(guard);
    let text = log.text();
    assert!(all.contains("given") && all.contains("\"dev\""), "it was used: {all}");
    assert!(text.contains("credentials obtained"), "the log was written: {text}");
    assert!(!all.to_lowercase().contains("canary"), "{all}");
    assert!(!text.to_lowercase().contains("canary"), "{text}");
}

#[test]
fn an_error_shows_no_quoted_text_and_no_message_twice() {
    #[derive(Debug)]
    struct Outer(std::io::Error);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "no token: {}", self.0)
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let error = Outer(std::io::Error::other(r#"found Value("canary")"#));
    assert_eq!(message_chain(&error), r#"no token: found Value("...")"#);
}
