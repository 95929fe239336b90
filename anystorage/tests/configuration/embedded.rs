//! Storages in an application's own configuration, in any format.

use anystorage::config::{StorageConfig, StoragesConfig};
use anystorage::{Loader, Storages};
use serde::Deserialize;

use super::support::{loader, refused, registry};

#[derive(Debug, Deserialize)]
struct App {
    name: String,
    storages: StoragesConfig,
    #[serde(default)]
    backup: Option<StorageConfig>,
}

const TOML: &str = r#"
    name = "shop"
    [storages.default]
    driver = "probe"
    root = "/srv"
    level = 3
    prefix = "media"
    window = { width = 4 }
    [backup]
    driver = "alias"
    origin = { driver = "probe", root = "/backup" }
"#;

const JSON: &str = r#"{
    "name": "shop",
    "storages": {
        "default": {
            "driver": "probe", "root": "/srv", "level": 3, "prefix": "media", "window": { "width": 4 }
        }
    },
    "backup": { "driver": "alias", "origin": { "driver": "probe", "root": "/backup" } }
}"#;

#[test]
fn toml_and_json_configurations_are_equal() {
    let from_toml: App = toml::from_str(TOML).unwrap();
    let from_json: App = serde_json::from_str(JSON).unwrap();
    for app in [&from_toml, &from_json] {
        assert_eq!(app.name, "shop");
        let storages = loader().config(&app.storages).open_all().unwrap();
        assert_eq!(storages.default_storage().unwrap().info().location, "memory:/media");
        registry().open_config(app.backup.as_ref().unwrap()).unwrap();
    }
    assert_eq!(from_toml.storages, from_json.storages);
    assert_eq!(from_toml.backup, from_json.backup);
}

#[test]
fn mistakes_are_reported_as_for_a_file() {
    let app: App =
        serde_json::from_str(r#"{"name":"", "storages": {"default": {"driver": "probe"}}}"#)
            .unwrap();
    let error = refused(loader().config(&app.storages).open_all().unwrap_err());
    assert_eq!(error, "[storages.default]: option root of driver probe is missing");

    let driverless =
        serde_json::from_str::<App>(r#"{"name":"", "storages": {"default": {}}}"#).unwrap_err();
    assert!(
        driverless.to_string().contains("[storages.default]: option driver is missing"),
        "{driverless}"
    );
}

#[test]
fn a_secret_with_an_unreplaced_variable_is_refused() {
    let token = |token: &str| -> StoragesConfig {
        let token = serde_json::to_string(token).unwrap();
        serde_json::from_str(&format!(
            r#"{{"default": {{"driver": "probe", "root": "x", "token": {token}}}}}"#
        ))
        .unwrap()
    };
    let error = refused(loader().config(&token("${TOKEN}")).open_all().unwrap_err());
    assert!(
        error.starts_with(
            "[storages.default]: option token: it holds ${, but nothing replaces variables"
        ),
        "{error}"
    );
    loader().config(&token("$${TOKEN}")).open_all().unwrap();
    let text =
        "[storages.default]\ndriver='alias'\norigin={driver='probe', root='x', token='$${TOKEN}'}";
    loader().toml_str(text).unwrap().open_all().unwrap();
}

#[test]
fn from_config_uses_the_drivers_of_this_crate() {
    let app: App = serde_json::from_str(JSON).unwrap();
    let error = refused(Storages::from_config(&app.storages).unwrap_err());
    assert!(
        error.starts_with(r#"[storages.default]: unknown driver "probe"; known drivers:"#),
        "{error}"
    );
    let error = refused(Loader::new().config(&StoragesConfig::new()).open("default").unwrap_err());
    assert!(error.contains("no storage is configured"), "{error}");
}
