//! Containers, instances and STS, played by a server on the loopback.

use std::time::{Duration, SystemTime};

use storage_core::{ErrorKind, format_time};
use storage_testkit::http::{Peer, Request, Response};

use super::server::{LocalClient, SilentClient, base};
use super::{Home, assert_says, error, triple};
use crate::credentials::Sources;
use crate::credentials::document::ClockSkew;

const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const HOUR: Duration = Duration::from_secs(3600);

/// Returns the document of containers and instances.
fn document(key_id: &str, expires: SystemTime) -> String {
    let expires = format_time(expires);
    format!(
        r#"{{"Code":"Success","AccessKeyId":"{key_id}","SecretAccessKey":"canary-secret","Token":"canary-token","Expiration":"{expires}"}}"#
    )
}

fn in_an_hour() -> SystemTime {
    SystemTime::now() + HOUR
}

fn given(key_id: &str) -> (String, String, Option<String>) {
    (key_id.to_owned(), "canary-secret".to_owned(), Some("canary-token".to_owned()))
}

fn container(server: &Peer) -> Home {
    Home::new().variable(FULL, format!("{}/credentials?x=1", base(server)))
}

#[tokio::test(start_paused = true)]
async fn an_ecs_task_requests_its_path_from_the_agent() {
    let server = Peer::start(|_| Response::ok(document("TASK", in_an_hour())));
    let client = LocalClient::to(&server);
    let found =
        Home::new().variable(RELATIVE, "/v2/credentials/id").find_with(client.clone()).unwrap();
    assert_eq!(found.source, "container");
    for _ in 0..3 {
        assert_eq!(triple(&found).await, given("TASK"));
    }
    assert_eq!(client.recorded(), ["http://169.254.170.2"], "asked once");
    let asked = &server.requests()[0];
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", "/v2/credentials/id"));
    assert!(!asked.head().contains("authorization"));
}

#[tokio::test(start_paused = true)]
async fn a_container_sends_its_authorisation_token() {
    let server = Peer::start(|_| Response::ok(document("C", in_an_hour())));
    let home = container(&server).variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer given");
    assert_eq!(triple(&home.find_with(LocalClient::to(&server)).unwrap()).await, given("C"));
    let asked = &server.requests()[0];
    assert_eq!(asked.target, "/credentials?x=1");
    assert!(asked.head().contains("authorization: Bearer given\n"), "{}", asked.head());
}

#[tokio::test(start_paused = true)]
async fn a_token_in_a_file_precedes_one_in_a_variable_and_is_read_each_time() {
    let server = Peer::start(|request| match request.index {
        0 => {
            Response::new(401).body(r#"{"code":"Expired","message":"the token first has expired"}"#)
        }
        _ => Response::ok(document("C", in_an_hour())),
    });
    let home = container(&server).variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", "given");
    let path = home.file("token", "first\n");
    let home = home.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path);
    let found = home.find_with(LocalClient::to(&server)).unwrap();
    let error = error(&found).await;
    assert_says(
        &error,
        ErrorKind::Unauthenticated,
        &["container", "401", "Expired the token ... has expired"],
    );
    home.file("token", "second");
    assert_eq!(triple(&found).await, given("C"));
    let tokens: Vec<_> = server
        .requests()
        .iter()
        .map(|asked| asked.head().contains("authorization: second\n"))
        .collect();
    assert_eq!(tokens, [false, true]);
}

#[tokio::test(start_paused = true)]
async fn an_error_names_a_token_file_that_is_missing_or_empty() {
    let server = Peer::start(|_| Response::ok(document("C", in_an_hour())));
    let home = container(&server).variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "~/token");
    let found = home.find_with(LocalClient::to(&server)).unwrap();
    assert_says(&error(&found).await, ErrorKind::Unauthenticated, &["/token cannot be read"]);
    home.file("token", " \n");
    assert_says(&error(&found).await, ErrorKind::Unauthenticated, &["/token is empty"]);
    assert!(server.requests().is_empty());
}

#[test]
fn credentials_of_other_hosts_are_fetched_only_with_tls() {
    let home = |name, value| Home::new().variable(name, value);
    for url in [
        "http://example.com/",
        "http://169.254.170.3/",
        "http://10.0.0.1/",
        "ftp://localhost/",
        "http://localhost.example.com/",
        "x",
    ] {
        let error = home(FULL, url).error(&Sources::default());
        assert_says(&error, ErrorKind::InvalidConfig, &[FULL, "https://"]);
    }
    for url in [
        "https://example.com/",
        "http://169.254.170.2/x",
        "http://169.254.170.23/v1/credentials",
        "http://[fd00:ec2::23]/x",
        "http://[::1]:1/",
        "http://localhost:1/",
    ] {
        assert_eq!(home(FULL, url).find(&Sources::default()).unwrap().source, "container", "{url}");
    }
    assert_says(
        &home(RELATIVE, "@example.com/").error(&Sources::default()),
        ErrorKind::InvalidConfig,
        &[RELATIVE],
    );
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_not_ready_is_asked_twice() {
    let server = Peer::start(|request| match request.index {
        0 => Response::new(503),
        _ => Response::ok(document("C", in_an_hour())),
    });
    assert_eq!(
        triple(&container(&server).find_with(LocalClient::to(&server)).unwrap()).await,
        given("C")
    );
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_stays_unready_is_a_retryable_error() {
    let server = Peer::start(|_| Response::new(500).body("oops"));
    let error = error(&container(&server).find_with(LocalClient::to(&server)).unwrap()).await;
    assert_says(&error, ErrorKind::Unauthenticated, &["500", &base(&server)]);
    assert!(error.is_retryable());
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_about_an_unreachable_agent_omits_the_path() {
    let server = Peer::start(|_| Response::ok(""));
    let home = container(&server);
    let client = LocalClient::to(&server);
    drop(server);
    let error = error(&home.find_with(client).unwrap()).await;
    assert_says(
        &error,
        ErrorKind::Unauthenticated,
        &["container: http://127.0.0.1:", "cannot be reached", "refused"],
    );
    assert!(!error.message().contains("x=1"), "{error}");
    assert!(error.is_retryable());
}

#[tokio::test(start_paused = true)]
async fn an_invalid_response_is_reported_without_its_content() {
    for (response, word) in [
        ("canary", "line 1"),
        (r#""canary""#, "line 1"),
        ("{}", "empty"),
        (r#"{"AccessKeyId":"canary","SecretAccessKey":""}"#, "empty"),
        (
            r#"{"AccessKeyId":"canary","SecretAccessKey":"canary","Expiration":"canary"}"#,
            "not a time",
        ),
        (r#"{"AccessKeyId":"ca\nnary","SecretAccessKey":"canary"}"#, "characters"),
        (r#"{"AccessKeyId":["canary"]}"#, "line 1"),
        (
            r#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"EC2 cannot assume the role"}"#,
            "AssumeRoleUnauthorizedAccess EC2",
        ),
    ] {
        let server = Peer::start(move |_| Response::ok(response));
        let error = error(&container(&server).find_with(LocalClient::to(&server)).unwrap()).await;
        assert_says(&error, ErrorKind::Unauthenticated, &[word, &base(&server)]);
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_response_is_read_up_to_a_limit() {
    let server = Peer::start(|_| Response::ok("x".repeat(300 * 1024)));
    let error = error(&container(&server).find_with(LocalClient::to(&server)).unwrap()).await;
    assert_says(&error, ErrorKind::Unauthenticated, &["262144 bytes"]);
}

#[tokio::test(start_paused = true)]
async fn expired_credentials_are_reported_as_expired() {
    let now = SystemTime::now();
    let server = Peer::start(move |_| {
        Response::ok(document("C", now - HOUR)).header("date", httpdate::fmt_http_date(now))
    });
    let error = error(&container(&server).find_with(LocalClient::to(&server)).unwrap()).await;
    assert_says(&error, ErrorKind::Unauthenticated, &["expired at", "clock of this machine"]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_is_reported_and_does_not_expire_credentials() {
    let (log, guard) = super::log::Log::begin();
    // The server's clock is two hours behind. By the local clock, the credentials expired an hour
    // ago.
    let theirs = SystemTime::now() - 2 * HOUR;
    let server = Peer::start(move |_| {
        Response::ok(document("C", theirs + HOUR)).header("date", httpdate::fmt_http_date(theirs))
    });
    let found = container(&server).find_with(LocalClient::to(&server)).unwrap();
    for _ in 0..3 {
        assert_eq!(triple(&found).await, given("C"));
    }
    assert_eq!(server.requests().len(), 1);
    drop(guard);
    let text = log.text();
    assert!(
        text.contains("the clock of this machine is ahead of that of http://127.0.0.1"),
        "{text}"
    );
}

#[test]
fn a_clock_skew_within_the_tolerance_is_ignored() {
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let theirs = SystemTime::UNIX_EPOCH + 100 * HOUR;
    for (ours, moved) in [
        (theirs, theirs),
        (theirs + minutes(4), theirs),
        (theirs - minutes(4), theirs),
        (theirs + minutes(6), theirs + minutes(6)),
        (theirs - minutes(6), theirs - minutes(6)),
    ] {
        assert_eq!(ClockSkew::between(ours, theirs).to_local(theirs), Some(moved));
    }
}

/// Responds as an instance with a role.
fn instance(asked: &Request, expires: SystemTime) -> Response {
    let has_token = asked.head().contains("x-aws-ec2-metadata-token: metadata-token\n");
    match (asked.method.as_str(), asked.target.as_str()) {
        ("PUT", "/latest/api/token")
            if asked.head().contains("x-aws-ec2-metadata-token-ttl-seconds: ") =>
        {
            Response::ok("metadata-token")
        }
        ("GET", "/latest/meta-data/iam/security-credentials/") if has_token => {
            Response::ok("the-role\n")
        }
        ("GET", "/latest/meta-data/iam/security-credentials/the-role") if has_token => {
            Response::ok(document("INSTANCE", expires))
        }
        _ => Response::new(400).body("unexpected"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_asked_for_a_token_a_role_and_the_credentials_of_the_role() {
    let server = Peer::start(|asked| instance(asked, in_an_hour()));
    let client = LocalClient::to(&server);
    let found = Home::new().find_with(client.clone()).unwrap();
    assert_eq!(found.source, "instance");
    assert_eq!(triple(&found).await, given("INSTANCE"));
    assert_eq!(triple(&found).await, given("INSTANCE"));
    assert_eq!(client.recorded(), ["http://169.254.169.254"; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_variable_sets_the_endpoint_of_the_metadata_service() {
    let server = Peer::start(|asked| instance(asked, in_an_hour()));
    let endpoint = format!("{}/", base(&server));
    let client = LocalClient::to(&server);
    let home = Home::new().variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint);
    assert_eq!(triple(&home.find_with(client.clone()).unwrap()).await, given("INSTANCE"));
    assert_eq!(client.recorded(), [base(&server), base(&server), base(&server)]);

    let client = LocalClient::to(&server);
    let home = Home::new().variable("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6");
    assert_eq!(triple(&home.find_with(client.clone()).unwrap()).await, given("INSTANCE"));
    assert_eq!(client.recorded(), ["http://[fd00:ec2::254]"; 3]);

    let home = Home::new().variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", "nowhere");
    assert_says(
        &home.error(&Sources::default()),
        ErrorKind::InvalidConfig,
        &["AWS_EC2_METADATA_SERVICE_ENDPOINT"],
    );
}

#[tokio::test(start_paused = true)]
async fn an_instance_without_a_role_is_reported_as_such() {
    let server = Peer::start(|asked| match asked.method.as_str() {
        "PUT" => Response::ok("metadata-token"),
        _ => Response::new(404).body("not found"),
    });
    let error = error(&Home::new().find_with(LocalClient::to(&server)).unwrap()).await;
    assert_says(
        &error,
        ErrorKind::Unauthenticated,
        &["no IAM role", "environment (", "anonymous = true"],
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_metadata_service_is_reported_with_its_status() {
    let server = Peer::start(|_| Response::new(403).body("disabled"));
    let error = error(&Home::new().find_with(LocalClient::to(&server)).unwrap()).await;
    assert_says(&error, ErrorKind::Unauthenticated, &["403", "returned no token"]);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_role_name_is_not_requested() {
    for name in ["", "../../user-data", "a b", "<html>"] {
        let server = Peer::start(move |asked| match asked.method.as_str() {
            "PUT" => Response::ok("metadata-token"),
            _ => Response::ok(name),
        });
        let error = error(&Home::new().find_with(LocalClient::to(&server)).unwrap()).await;
        assert_says(&error, ErrorKind::Unauthenticated, &["invalid role name"]);
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn expired_credentials_of_an_instance_are_used_for_a_while() {
    let (log, guard) = super::log::Log::begin();
    let server = Peer::start(|asked| instance(asked, SystemTime::now() - HOUR));
    let found = Home::new().find_with(LocalClient::to(&server)).unwrap();
    assert_eq!(triple(&found).await, given("INSTANCE"));
    drop(guard);
    assert!(log.text().contains("expired credentials"), "{}", log.text());
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_not_an_instance_is_detected_within_three_seconds() {
    let found = Home::new().find_with(SilentClient { after: None }).unwrap();
    let start = tokio::time::Instant::now();
    let error = error(&found).await;
    // The clock is paused, so that this is the sum of all waits.
    assert!(start.elapsed() <= Duration::from_secs(3), "{:?}", start.elapsed());
    let words = [
        "http://169.254.169.254 within 1 s",
        "is this an EC2 instance",
        "options (",
        "container (",
    ];
    assert_says(&error, ErrorKind::Unauthenticated, &words);
    assert!(!error.is_retryable(), "trying again takes as long again");
}

#[tokio::test(start_paused = true)]
async fn a_metadata_service_that_stops_responding_times_out_within_three_seconds() {
    let found =
        Home::new().find_with(SilentClient { after: Some(Duration::from_millis(950)) }).unwrap();
    let start = tokio::time::Instant::now();
    let error = error(&found).await;
    assert!(start.elapsed() <= Duration::from_secs(3), "{:?}", start.elapsed());
    assert_says(&error, ErrorKind::Unauthenticated, &["no response within 3 s"]);
    assert!(error.is_retryable(), "it is an instance");
}

fn web_identity(server: &Peer) -> Home {
    let home = Home::new()
        .variables([("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"), ("AWS_ENDPOINT_URL_STS", "")]);
    let token = home.file("token", "head.canary-jwt+/=.tail\n");
    home.variable("AWS_WEB_IDENTITY_TOKEN_FILE", token).variable("AWS_ENDPOINT_URL", base(server))
}

fn sts_response(key_id: &str) -> String {
    format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><SubjectFromWebIdentityToken>s</SubjectFromWebIdentityToken><Credentials>\
         <SessionToken>canary-token</SessionToken><SecretAccessKey>canary-secret</SecretAccessKey>\
         <Expiration>{}</Expiration><AccessKeyId>{key_id}</AccessKeyId></Credentials>\
         </AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>\
         </AssumeRoleWithWebIdentityResponse>",
        format_time(in_an_hour())
    )
}

#[tokio::test(start_paused = true)]
async fn a_token_is_exchanged_for_a_roles_credentials() {
    let server = Peer::start(|_| Response::ok(sts_response("ROLE")));
    let home = web_identity(&server).variable("AWS_ROLE_SESSION_NAME", "my app");
    let found = home.find_with(LocalClient::to(&server)).unwrap();
    assert_eq!(found.source, "web identity");
    assert_eq!(triple(&found).await, given("ROLE"));
    let asked = &server.requests()[0];
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/"));
    assert!(asked.head().contains("content-type: application/x-www-form-urlencoded\n"));
    let expected = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr\
                    &RoleSessionName=my+app&WebIdentityToken=head.canary-jwt%2B%2F%3D.tail";
    assert_eq!(asked.body, expected);
}

#[tokio::test(start_paused = true)]
async fn a_profile_can_name_token_and_role() {
    let server = Peer::start(|_| Response::ok(sts_response("ROLE")));
    let home = Home::new();
    let token = home.file("token", "jwt");
    let home = home.config(&format!(
        "[default]\nrole_arn = arn:aws:iam::1:role/r\nweb_identity_token_file = {}\nregion = eu-west-3\n",
        token.display()
    ));
    let client = LocalClient::to(&server);
    let found = home.find_with(client.clone()).unwrap();
    assert_eq!(found.source, "profile");
    assert_eq!(triple(&found).await, given("ROLE"));
    assert_eq!(client.recorded(), ["https://sts.eu-west-3.amazonaws.com"]);

    let home = Home::new().config("[default]\nweb_identity_token_file = /t\n");
    let words = ["web_identity_token_file is set, but not role_arn"];
    assert_says(&home.error(&Sources::default()), ErrorKind::InvalidConfig, &words);
}

#[tokio::test(start_paused = true)]
async fn sts_is_called_in_the_configured_region() {
    let server = Peer::start(|_| Response::ok(sts_response("ROLE")));
    let region = |value: &str| Sources { region: Some(value.to_owned()), ..Sources::default() };
    let plain = Sources::default();
    for (variables, sources, expected) in [
        (vec![], &plain, "https://sts.amazonaws.com"),
        (vec![("AWS_DEFAULT_REGION", "eu-west-1")], &plain, "https://sts.eu-west-1.amazonaws.com"),
        (
            vec![("AWS_DEFAULT_REGION", "a"), ("AWS_REGION", "eu-west-2")],
            &plain,
            "https://sts.eu-west-2.amazonaws.com",
        ),
        (
            vec![("AWS_REGION", "a")],
            &region("cn-north-1"),
            "https://sts.cn-north-1.amazonaws.com.cn",
        ),
        (
            vec![("AWS_REGION", "a"), ("AWS_ENDPOINT_URL_STS", "https://sts.example.com")],
            &plain,
            "https://sts.example.com",
        ),
    ] {
        let mut home = web_identity(&server).variable("AWS_ENDPOINT_URL", "");
        for (name, value) in variables {
            home = home.variable(name, value);
        }
        let client = LocalClient::to(&server);
        let found =
            crate::credentials::find(sources, &home.env(), std::sync::Arc::new(client.clone()))
                .unwrap();
        assert_eq!(triple(&found).await, given("ROLE"));
        assert_eq!(client.recorded(), [expected]);
    }
}

#[test]
fn a_token_is_not_sent_over_the_network_without_tls() {
    let server = Peer::start(|_| Response::ok(""));
    for url in ["http://sts.example.com", "sts.example.com"] {
        let error =
            web_identity(&server).variable("AWS_ENDPOINT_URL_STS", url).error(&Sources::default());
        assert_says(&error, ErrorKind::InvalidConfig, &["STS", "https://", "AWS_ENDPOINT_URL_STS"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_sts_is_reported_without_the_token() {
    let refusal = "<ErrorResponse><Error><Type>Sender</Type><Code>ExpiredTokenException</Code>\
                   <Message>Token head.canary-jwt+/=.tail expired: current date/time must be before</Message></Error></ErrorResponse>";
    let server = Peer::start(move |_| Response::new(400).body(refusal));
    let home = web_identity(&server);
    let error = error(&home.find_with(LocalClient::to(&server)).unwrap()).await;
    let words =
        ["400", "ExpiredTokenException Token ... expired", "renew the token in ", "web identity"];
    assert_says(&error, ErrorKind::Unauthenticated, &words);
    assert!(!error.is_retryable());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_response_of_sts_is_reported_without_its_content() {
    for response in [
        "canary",
        "<canary/>",
        "<a><AssumeRoleWithWebIdentityResult>canary</AssumeRoleWithWebIdentityResult></a>",
    ] {
        let server = Peer::start(move |_| Response::ok(response));
        let home = web_identity(&server);
        let error = error(&home.find_with(LocalClient::to(&server)).unwrap()).await;
        assert_says(&error, ErrorKind::Unauthenticated, &["a document without credentials"]);
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
}
