//! The order of the sources.

use storage_core::ErrorKind;
use storage_core::config::Secret;

use super::{Home, assert_says, keys, named, triple};
use crate::credentials::Sources;

const FILE: &str = "[default]\naws_access_key_id = FILEKEY\naws_secret_access_key = file-secret\n\
                    [work]\naws_access_key_id = WORKKEY\naws_secret_access_key = work-secret\n";

/// Returns a home in which every source except the options has credentials.
fn everything() -> Home {
    let home = Home::new().credentials(FILE);
    let token = home.file("token", "a.b.c");
    home.variables([
        ("AWS_ACCESS_KEY_ID", "ENVKEY"),
        ("AWS_SECRET_ACCESS_KEY", "env-secret"),
        ("AWS_SESSION_TOKEN", "env-token"),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/x"),
    ])
    .variable("AWS_WEB_IDENTITY_TOKEN_FILE", token)
}

fn without(home: Home, names: &[&str]) -> Home {
    let Home { dir, mut variables } = home;
    variables.retain(|(name, _)| !names.contains(name));
    Home { dir, variables }
}

const ENV_KEYS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

#[tokio::test]
async fn options_precede_every_other_source() {
    let sources = Sources { session_token: Some(Secret::new("t")), ..keys("OPTKEY", "opt-secret") };
    let found = everything().find(&sources).unwrap();
    assert_eq!(found.source, "options");
    assert_eq!(triple(&found).await, ("OPTKEY".into(), "opt-secret".into(), Some("t".into())));
}

#[tokio::test]
async fn keys_in_options_precede_a_profile_in_options() {
    let sources = Sources { profile: Some("work".to_owned()), ..keys("OPTKEY", "opt-secret") };
    assert_eq!(triple(&everything().find(&sources).unwrap()).await.0, "OPTKEY");
}

#[tokio::test]
async fn variables_precede_the_default_profile() {
    let found = everything().variable("AWS_PROFILE", "work").find(&Sources::default()).unwrap();
    assert_eq!(found.source, "environment");
    assert_eq!(
        triple(&found).await,
        ("ENVKEY".into(), "env-secret".into(), Some("env-token".into()))
    );
}

#[tokio::test]
async fn a_profile_in_options_precedes_variables() {
    let found = everything().variable("AWS_PROFILE", "default").find(&named("work")).unwrap();
    assert_eq!(found.source, "profile");
    assert_eq!(triple(&found).await, ("WORKKEY".into(), "work-secret".into(), None));
}

#[tokio::test]
async fn the_variable_aws_profile_selects_the_profile() {
    let home = without(everything(), &ENV_KEYS).variable("AWS_PROFILE", "work");
    assert_eq!(triple(&home.find(&Sources::default()).unwrap()).await.0, "WORKKEY");
}

#[tokio::test]
async fn the_default_profile_precedes_web_identity_container_and_instance() {
    let found = without(everything(), &ENV_KEYS).find(&Sources::default()).unwrap();
    assert_eq!(found.source, "profile");
    assert_eq!(triple(&found).await.0, "FILEKEY");
}

#[test]
fn web_identity_precedes_a_container_and_a_container_precedes_an_instance() {
    let home = without(everything(), &ENV_KEYS).credentials("");
    assert_eq!(home.find(&Sources::default()).unwrap().source, "web identity");
    let home = without(home, &["AWS_WEB_IDENTITY_TOKEN_FILE"]);
    assert_eq!(home.find(&Sources::default()).unwrap().source, "container");
    let home = without(home, &["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]);
    assert_eq!(home.find(&Sources::default()).unwrap().source, "instance");
}

#[test]
fn an_anonymous_driver_has_no_credentials() {
    let found = everything().find(&Sources { anonymous: true, ..Sources::default() }).unwrap();
    assert!(found.provider.is_none());
    assert_eq!(found.source, "anonymous");
}

#[test]
fn anonymous_and_keys_exclude_each_other() {
    let sources = Sources { anonymous: true, ..keys("K", "s") };
    assert_says(
        &Home::new().error(&sources),
        ErrorKind::InvalidConfig,
        &["anonymous", "access_key_id"],
    );
}

#[test]
fn half_a_pair_of_options_is_an_error_that_names_the_other_half() {
    let half = |key_id: Option<&str>, secret: Option<&str>, token: Option<&str>| Sources {
        access_key_id: key_id.map(Secret::new),
        secret_access_key: secret.map(Secret::new),
        session_token: token.map(Secret::new),
        ..Sources::default()
    };
    // The other half is never taken from another source.
    let home = everything();
    let missing_secret = home.error(&half(Some("K"), None, None));
    assert_says(
        &missing_secret,
        ErrorKind::InvalidConfig,
        &["access_key_id is set", "not option secret_access_key"],
    );
    let missing_id = home.error(&half(None, Some("s"), None));
    assert_says(
        &missing_id,
        ErrorKind::InvalidConfig,
        &["secret_access_key is set", "not option access_key_id"],
    );
    let token_alone = home.error(&half(None, None, Some("t")));
    assert_says(&token_alone, ErrorKind::InvalidConfig, &["session_token is set", "access_key_id"]);
}

#[test]
fn half_a_pair_of_variables_is_an_error_that_names_the_other_half() {
    for (there, missing) in [(ENV_KEYS[0], ENV_KEYS[1]), (ENV_KEYS[1], ENV_KEYS[0])] {
        let error = without(everything(), &[missing]).error(&Sources::default());
        assert_says(
            &error,
            ErrorKind::InvalidConfig,
            &[&format!("{there} is set"), &format!("not {missing}")],
        );
    }
}

#[test]
fn empty_variables_count_as_not_set() {
    let home = Home::new().variables([
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", " "),
        ("AWS_PROFILE", ""),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", ""),
    ]);
    assert_eq!(home.find(&Sources::default()).unwrap().source, "instance");
}

#[tokio::test]
async fn white_space_around_keys_is_dropped() {
    let found = Home::new().find(&keys(" K\n", "s\n")).unwrap();
    assert_eq!(triple(&found).await, ("K".into(), "s".into(), None));
}

#[test]
fn keys_that_a_header_cannot_contain_are_refused() {
    let with_token = Sources { session_token: Some(Secret::new("a\nb")), ..keys("K", "s") };
    for sources in
        [keys("a\r\nb", "s"), keys("K", "s\nt"), keys("schlüssel", "s"), keys("", "s"), with_token]
    {
        assert_says(&Home::new().error(&sources), ErrorKind::InvalidConfig, &["access_key_id"]);
    }
}

#[test]
fn an_error_without_credentials_lists_every_source() {
    let home = Home::new().variable("AWS_EC2_METADATA_DISABLED", "True");
    let error = home.error(&Sources::default());
    let words = [
        "options (",
        "environment (AWS_ACCESS_KEY_ID is not set)",
        "profile default (",
        ".aws/credentials: no such file",
        ".aws/config: no such file",
        "web identity (AWS_WEB_IDENTITY_TOKEN_FILE",
        "container (",
        "instance (AWS_EC2_METADATA_DISABLED",
        "secret_access_key",
        "anonymous = true",
    ];
    assert_says(&error, ErrorKind::Unauthenticated, &words);
    let at: Vec<_> = words[..8].iter().map(|word| error.message().find(word).unwrap()).collect();
    assert!(at.is_sorted(), "in order: {error}");
    assert!(!error.is_retryable());
}

#[test]
fn a_token_file_without_a_role_is_an_error() {
    let error =
        Home::new().variable("AWS_WEB_IDENTITY_TOKEN_FILE", "/t").error(&Sources::default());
    assert_says(&error, ErrorKind::InvalidConfig, &["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"]);
}

#[cfg(unix)]
#[test]
fn an_error_names_a_variable_that_is_not_utf_8() {
    use std::os::unix::ffi::OsStringExt;
    let value = std::ffi::OsString::from_vec(vec![b'K', 0xff]);
    let error = Home::new().variable("AWS_ACCESS_KEY_ID", value).error(&Sources::default());
    assert_says(&error, ErrorKind::InvalidConfig, &["AWS_ACCESS_KEY_ID", "UTF-8"]);
}
