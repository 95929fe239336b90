//! Storages from URLs.

use super::support::{loader, refused};

fn refusal(url: &str) -> String {
    refused(loader().open(url).unwrap_err())
}

#[test]
fn the_query_contains_options_as_text() {
    let storage = loader()
        .open("probe:/x?level=3&strict=true&ratio=0.5&mode=safe&prefix=a%20b&retries=2")
        .unwrap();
    assert_eq!(storage.info().location, "memory:/a b");
}

#[test]
fn an_unknown_scheme_is_an_error_that_lists_the_known_ones() {
    assert_eq!(refusal("ftp://example.com/"), "unknown URL scheme ftp; known URL schemes: probe:");
}

#[test]
fn a_driver_without_a_url_form_is_an_error_with_the_reason() {
    assert_eq!(
        refusal("alias:media"),
        "driver alias has no URL form: configure it in a config file"
    );
}

#[test]
fn an_error_names_an_unknown_repeated_or_invalid_option() {
    assert!(
        refusal("probe:/x?rot=1")
            .starts_with("unknown option rot of driver probe; known options: root, ")
    );
    assert_eq!(refusal("probe:/x?level=1&level=2"), "option level is given twice in the URL");
    assert_eq!(refusal("probe:/x?root=y"), "option root is given twice in the URL");
    assert!(refusal("probe:/x?level=many").starts_with("option level: "));
    assert!(refusal("probe:/x?retries=").starts_with("option retries: "));
}

#[test]
fn user_name_and_password_are_refused() {
    for url in [
        "probe://ada@host/x",
        "probe://ada:hunter2@host/x",
        "probe://:hunter2@host/x",
        "ftp://ada@host/",
    ] {
        let error = refusal(url);
        assert!(
            error.contains("user name or a password") && error.contains("configuration file"),
            "{url}: {error}"
        );
    }
}

#[test]
fn secret_options_are_refused_in_every_url() {
    let error = refusal("probe:/x?token=hunter2");
    assert!(
        error.starts_with("option token: a URL holds no secrets: set it in a config file"),
        "{error}"
    );
    let environment =
        anystorage::Environment::empty().with("STORAGE_MEDIA_URL", "probe:/x?token=hunter2");
    let error = refused(loader().with_environment(environment).open("media").unwrap_err());
    assert!(error.contains("a URL holds no secrets"), "{error}");
}

#[cfg(all(unix, feature = "fs"))]
#[test]
fn a_signing_key_in_a_file_url_is_refused() {
    let url = "file:///nonesuch?signing_key=0123456789abcdef&public_url=https://example.com/";
    let error = refused(anystorage::open(url).unwrap_err());
    assert!(error.contains("option signing_key: a URL holds no secrets"), "{error}");
}

#[test]
fn a_fragment_is_refused() {
    assert!(refusal("probe:/x#y").contains("%23"));
}

#[test]
fn a_path_is_an_error_that_contains_the_url_form() {
    assert!(refusal("./media").contains("file:///absolute/path"));
    assert!(refusal("/srv/media").contains("file:///absolute/path"));
}

#[test]
fn text_without_a_colon_is_the_name_of_a_storage() {
    let environment =
        anystorage::Environment::empty().with("STORAGE_MEDIA_URL", "probe:/x?prefix=m");
    let loader = loader().with_environment(environment);
    assert_eq!(loader.open("media").unwrap().info().location, "memory:/m");
    assert_eq!(
        refused(loader.open("medai").unwrap_err()),
        r#"no storage is called "medai"; known storages: media"#
    );
}

#[test]
fn memory_is_a_scheme_and_a_driver() {
    assert_eq!(anystorage::open("memory:?prefix=a").unwrap().info().location, "memory:/a");
    for url in ["memory:x", "memory:/x", "memory://x", "memory:///"] {
        assert!(refused(anystorage::open(url).unwrap_err()).contains("memory:"), "{url}");
    }
}

#[cfg(all(unix, feature = "fs"))]
#[tokio::test]
async fn a_file_url_opens_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("a b");
    let url = format!("file://{}", root.to_str().unwrap().replace(' ', "%20"));
    let storage = anystorage::open(&url).unwrap();
    storage.save("x/y.txt", "hello").await.unwrap();
    assert_eq!(std::fs::read_to_string(root.join("x/y.txt")).unwrap(), "hello");
}

#[cfg(all(unix, feature = "fs"))]
#[test]
fn a_root_with_a_shell_variable_is_an_error_with_a_hint() {
    for root in ["~/media", "$HOME/media"] {
        let text = format!("[storages.default]\ndriver = 'fs'\nroot = '{root}'");
        let error = refused(anystorage::Storages::from_toml_str(&text).unwrap_err());
        assert!(
            error.starts_with("[storages.default]: option root: ") && error.contains("${HOME}/..."),
            "{error}"
        );
    }
}

#[cfg(all(unix, feature = "fs"))]
#[test]
fn the_fs_driver_is_registered_if_its_feature_is_on() {
    assert!(anystorage::registry().drivers().any(|driver| driver == "fs"));
    let missing =
        anystorage::Storages::from_toml_str("[storages.default]\ndriver = 'fs'").unwrap_err();
    assert!(
        refused(missing).starts_with("[storages.default]: option root of driver fs is missing")
    );
    let unknown =
        anystorage::Storages::from_toml_str("[storages.default]\ndriver = 'fs'\nrot = '/srv'")
            .unwrap_err();
    assert!(
        refused(unknown).starts_with(
            "[storages.default]: unknown option rot of driver fs; known options: root, "
        )
    );
}
