//! Profiles: their selection, their content, and the errors about them.

use std::time::{Duration, SystemTime};

use storage_core::{ErrorKind, format_time};

use super::{Home, assert_says, credential, error, keys, named, triple};
use crate::credentials::Sources;

fn default() -> Sources {
    Sources::default()
}

#[tokio::test]
async fn keys_of_the_credentials_file_precede_those_of_the_configuration_file() {
    let config = "[default]\nregion = eu-north-1\naws_access_key_id = CONFIGKEY\naws_secret_access_key = config-secret\n\
                  [profile other]\naws_access_key_id = OTHERKEY\naws_secret_access_key = other-secret\n";
    let home = Home::new().config(config).credentials(
        "[default]\naws_access_key_id = FILEKEY\naws_secret_access_key = file-secret\naws_session_token = file-token\n",
    );
    let found = home.find(&default()).unwrap();
    assert_eq!(
        triple(&found).await,
        ("FILEKEY".into(), "file-secret".into(), Some("file-token".into()))
    );
    assert_eq!(found.region.as_deref(), Some("eu-north-1"));
    assert_eq!(triple(&home.find(&named("other")).unwrap()).await.0, "OTHERKEY");
}

#[tokio::test]
async fn variables_set_the_paths_of_the_files() {
    let home = Home::new().config("[default]\nregion = wrong\n").credentials("[default]\nbroken");
    home.file("elsewhere", "[default]\naws_access_key_id = K\naws_secret_access_key = s\n");
    let home = home.variables([
        ("AWS_SHARED_CREDENTIALS_FILE", "~/elsewhere"),
        ("AWS_CONFIG_FILE", "/dev/null"),
    ]);
    let found = home.find(&default()).unwrap();
    assert_eq!(triple(&found).await.0, "K");
    assert_eq!(found.region, None);
}

#[test]
fn the_section_profile_default_precedes_the_section_default() {
    let home = Home::new()
        .config("[profile default]\nregion = with\n[default]\nregion = without\noutput = json\n");
    assert_eq!(home.find(&default()).unwrap().region.as_deref(), Some("with"));
}

#[test]
fn region_and_endpoint_come_from_the_profile_whatever_the_source_of_the_keys() {
    let home = Home::new()
        .config("[default]\nregion = eu-west-3\nendpoint_url = https://s3.example.com\n");
    for sources in [keys("K", "s"), Sources { anonymous: true, ..default() }] {
        let found = home.find(&sources).unwrap();
        assert_eq!(found.region.as_deref(), Some("eu-west-3"));
        assert_eq!(found.endpoint.as_deref(), Some("https://s3.example.com"));
    }
}

#[test]
fn the_endpoint_of_a_service_precedes_the_common_endpoint() {
    let config = "[profile p]\nservices = local\nendpoint_url = https://all.example.com\n\
                  [services local]\ndynamodb =\n  endpoint_url = https://d.example.com\ns3 =\n  endpoint_url = https://s3.example.com\n\
                  [profile q]\nservices = missing\nendpoint_url = https://all.example.com\n\
                  [profile r]\ns3 =\n  endpoint_url = https://nested.example.com\n";
    let home = Home::new().config(config);
    let endpoint = |profile: &str| {
        let sources = Sources { anonymous: true, ..named(profile) };
        home.find(&sources).unwrap().endpoint
    };
    assert_eq!(endpoint("p").as_deref(), Some("https://s3.example.com"));
    assert_eq!(endpoint("q").as_deref(), Some("https://all.example.com"));
    assert_eq!(endpoint("r"), None);
}

#[test]
fn configured_endpoints_can_be_ignored() {
    let sources = Sources { anonymous: true, ..default() };
    let by_variable = Home::new()
        .config("[default]\nendpoint_url = https://s3.example.com\n")
        .variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
    assert_eq!(by_variable.find(&sources).unwrap().endpoint, None);
    let config = "[default]\nignore_configured_endpoint_urls = true\nendpoint_url = https://s3.example.com\n";
    assert_eq!(Home::new().config(config).find(&sources).unwrap().endpoint, None);
}

#[test]
fn the_variable_of_a_service_precedes_the_common_variable() {
    let all = Home::new().variable("AWS_ENDPOINT_URL", "https://all.example.com");
    assert_eq!(all.env().endpoint_of("S3").unwrap().as_deref(), Some("https://all.example.com"));
    let own = all.variable("AWS_ENDPOINT_URL_S3", "https://s3.example.com");
    assert_eq!(own.env().endpoint_of("S3").unwrap().as_deref(), Some("https://s3.example.com"));
    assert_eq!(own.env().endpoint_of("STS").unwrap().as_deref(), Some("https://all.example.com"));
    let ignored = own.variable("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "TRUE");
    assert_eq!(ignored.env().endpoint_of("S3").unwrap(), None);
}

#[test]
fn an_error_about_a_missing_profile_lists_the_existing_ones() {
    let home =
        Home::new().config("[profile one]\n[sso-session s]\n[lost]\n").credentials("[two]\n");
    for sources in [named("three"), Sources { profile: Some("three".to_owned()), ..keys("K", "s") }]
    {
        let words =
            ["option profile", "\"three\"", ".aws/credentials: two", ".aws/config: one", "and"];
        assert_says(&home.error(&sources), ErrorKind::InvalidConfig, &words);
    }
    assert_says(&home.error(&named("lost")), ErrorKind::InvalidConfig, &["[profile lost]"]);
    let by_variable = home.variable("AWS_PROFILE", "three").error(&default());
    assert_says(&by_variable, ErrorKind::InvalidConfig, &["AWS_PROFILE", "\"three\""]);
    let none = Home::new().error(&named("x"));
    assert_says(
        &none,
        ErrorKind::InvalidConfig,
        &[".aws/credentials: no such file", ".aws/config: no such file"],
    );
}

#[test]
fn a_profile_without_credentials_is_skipped_unless_an_option_names_it() {
    let home = Home::new().config("[profile p]\nregion = r\n").variable("AWS_PROFILE", "p");
    assert_eq!(home.find(&default()).unwrap().source, "instance");
    assert_says(&home.error(&named("p")), ErrorKind::InvalidConfig, &["\"p\"", "no credentials"]);
}

#[test]
fn half_a_pair_in_a_profile_is_an_error_that_names_the_other_half_and_the_file() {
    for (there, missing) in [
        ("aws_access_key_id", "aws_secret_access_key"),
        ("aws_secret_access_key", "aws_access_key_id"),
    ] {
        let home = Home::new().credentials(&format!("[default]\n{there} = x\n{missing} =\n"));
        let words =
            ["\"default\"", ".aws/credentials", &format!("{there} is set, but not {missing}")];
        assert_says(&home.error(&default()), ErrorKind::InvalidConfig, &words);
    }
}

#[test]
fn an_error_points_at_a_line_indented_by_mistake() {
    let home = Home::new()
        .credentials("[default]\naws_access_key_id = K\n  aws_secret_access_key = canary\n");
    let half = home.error(&default());
    assert_says(&half, ErrorKind::InvalidConfig, &["aws_secret_access_key"]);
    let home = Home::new().credentials(
        "[default]\naws_access_key_id = K\naws_secret_access_key = canary\n  region = r\n",
    );
    let broken = home.error(&default());
    assert_says(&broken, ErrorKind::InvalidConfig, &["indented by mistake", ".aws/credentials"]);
    assert!(!broken.message().contains("canary"));
}

#[test]
fn a_malformed_file_is_an_error_only_if_the_profile_is_needed() {
    let home = Home::new().credentials("[default]\naws_secret_access_key canary\n");
    let error = home.error(&default());
    assert_says(
        &error,
        ErrorKind::InvalidConfig,
        &[".aws/credentials, line 2: a property without ="],
    );
    assert!(!error.message().contains("canary"));
    assert_says(&home.error(&named("p")), ErrorKind::InvalidConfig, &["line 2"]);
    assert_eq!(home.find(&keys("K", "s")).unwrap().source, "options");
}

#[test]
fn an_unreadable_file_is_listed_and_the_search_continues() {
    let home = Home::new()
        .variable("AWS_CONFIG_FILE", "~/.aws")
        .variable("AWS_EC2_METADATA_DISABLED", "true");
    assert_says(&home.error(&default()), ErrorKind::Unauthenticated, &[".aws: ", "directory"]);
    assert_says(
        &home.error(&named("p")),
        ErrorKind::InvalidConfig,
        &["\"p\"", ".aws: ", "directory"],
    );
}

#[cfg(not(feature = "aws-config"))]
#[test]
fn an_error_about_the_sdk_names_profile_property_and_feature() {
    for (property, text) in [
        ("role_arn", "role_arn = arn:aws:iam::1:role/r\nsource_profile = base"),
        ("credential_source", "credential_source = Environment"),
        ("sso_session", "sso_session = s\nsso_account_id = 1\nsso_role_name = r"),
        ("sso_start_url", "sso_start_url = https://x.awsapps.com/start\nsso_region = r"),
        ("credential_process", "credential_process = /bin/false"),
    ] {
        // Keys beside it do not hide it, as in the AWS tools.
        let rest = "aws_access_key_id = K\naws_secret_access_key = s";
        let home = Home::new().config(&format!("[profile p]\n{text}\n{rest}\n"));
        let words = ["\"p\"", property, "feature aws-config"];
        assert_says(&home.error(&named("p")), ErrorKind::InvalidConfig, &words);
    }
}

#[test]
fn a_login_session_is_not_supported() {
    let home = Home::new().config("[default]\nlogin_session = arn:aws:iam::1:user/u\n");
    assert_says(
        &home.error(&default()),
        ErrorKind::InvalidConfig,
        &["login_session", "not supported"],
    );
}

fn keys_until(expires: &str, key_id: &str) -> String {
    format!(
        "[default]\naws_access_key_id = {key_id}\naws_secret_access_key = s\naws_session_token = t\n{expires}\n"
    )
}

#[tokio::test]
async fn expired_keys_are_an_error_until_the_profile_has_new_ones() {
    for property in ["aws_expiration", "x_security_token_expires", "expiration"] {
        for time in ["2020-01-01T00:00:00Z", "2020-01-01T01:00:00+01:00", "2020-01-01 00:00:00"] {
            let home =
                Home::new().credentials(&keys_until(&format!("{property} = {time}"), "OLDKEY"));
            let found = home.find(&default()).unwrap();
            let words = [
                "\"default\"",
                ".aws/credentials",
                "expired at 2020-01-01T00:00:00Z",
                "clock",
                "log in again",
            ];
            assert_says(&error(&found).await, ErrorKind::Unauthenticated, &words);

            let later = format_time(SystemTime::now() + Duration::from_secs(3600));
            home.file(".aws/credentials", &keys_until(&format!("{property} = {later}"), "NEWKEY"));
            assert_eq!(triple(&found).await.0, "NEWKEY");
        }
    }
}

#[tokio::test]
async fn an_expiry_that_is_not_a_time_is_ignored() {
    let home = Home::new().credentials(&keys_until("expiration = tomorrow", "K"));
    assert!(credential(&home.find(&default()).unwrap()).await.is_ok());
}
