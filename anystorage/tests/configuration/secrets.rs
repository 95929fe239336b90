//! No output contains a secret, even if the configuration has a mistake.

use anystorage::config::StoragesConfig;
use anystorage::{Environment, Error};

use super::support::{everything, loader, registry};

const CANARY: &str = "CANARY-6f1e";

fn assert_hidden(what: &str, error: &Error) {
    let all = everything(error);
    assert!(!all.contains(CANARY), "{what} shows the secret: {all}");
}

#[test]
fn errors_of_a_file_contain_no_values() {
    let wrong_values = [
        "level = 'CANARY-6f1e'",
        "ratio = 'CANARY-6f1e'",
        "strict = 'CANARY-6f1e'",
        "mode = 'CANARY-6f1e'",
        "token = { a = 'CANARY-6f1e' }",
        "token = ['CANARY-6f1e']",
        "hosts = 'CANARY-6f1e'",
        "window = 'CANARY-6f1e'",
        "window = { width = 'CANARY-6f1e' }",
        "unknown = 'CANARY-6f1e'",
        "token = 'CANARY-6f1e'\nunknown = 1",
        "timeout = 'CANARY-6f1e'",
        "retries = 'CANARY-6f1e'",
        "read_only = 'CANARY-6f1e'",
        "public_url = 'CANARY-6f1e'",
        "public_url = 'https://ada:CANARY-6f1e@example.com/'",
        "public_url = 'mailto:CANARY-6f1e'",
        "public_url = 'https://example.com/?token=CANARY-6f1e'",
        "prefix = '../CANARY-6f1e'",
        "default_headers = 'CANARY-6f1e'",
        "default_headers = { expires = 'CANARY-6f1e' }",
        "default_headers = { cache_control = '\\u0000 CANARY-6f1e ' }",
        "token = 'CANARY-6f1e",
        "token = CANARY-6f1e",
        "token = 'CANARY-6f1e'\ntoken = 'CANARY-6f1e'",
        "token = 'CANARY-6f1e ${GONE}'",
        "token = 'CANARY-6f1e ${'",
    ];
    for line in wrong_values {
        let text = format!("[storages.default]\ndriver = 'probe'\nroot = 'x'\n{line}");
        let error = match loader().toml_str(&text) {
            Ok(definitions) => {
                assert!(!format!("{definitions:?}").contains(CANARY), "{line}");
                definitions.open_all().expect_err(line)
            }
            Err(error) => error,
        };
        assert_hidden(line, &error);
    }
    for text in [
        "[storages]\ndefault = 'CANARY-6f1e'",
        "storages = 'CANARY-6f1e'",
        "[storages.default]\ndriver = ['CANARY-6f1e']",
        "[storages.default]\ndriver = 'alias'\norigin = ['CANARY-6f1e']",
        "[storages.default]\ndriver = 'alias'\norigin = 'https://ada:CANARY-6f1e@example.com/'",
        "[storages.default]\ndriver = 'alias'\norigin = { driver = 'probe', level = 'CANARY-6f1e' }",
    ] {
        let error =
            loader().toml_str(text).and_then(|definitions| definitions.open_all()).expect_err(text);
        assert_hidden(text, &error);
    }
}

#[test]
fn errors_of_a_url_do_not_contain_the_url() {
    for url in [
        "probe://ada:CANARY-6f1e@host/x",
        "probe://CANARY-6f1e@host/x",
        "ftp://ada:CANARY-6f1e@host/x",
        "probe:/x?token=CANARY-6f1e&unknown=1",
        "probe:/x?level=CANARY-6f1e",
        "probe:/x?token=CANARY-6f1e&token=CANARY-6f1e",
        "probe:/x#CANARY-6f1e",
        "probe://ada:CANARY-6f1e@ho st/x",
        "://CANARY-6f1e",
        "alias:CANARY-6f1e",
    ] {
        assert_hidden(url, &loader().open(url).expect_err(url));
        let environment = Environment::empty().with("STORAGE_DEFAULT_URL", url);
        let loader = loader().with_environment(environment);
        assert!(!format!("{loader:?}").contains(CANARY), "{url}");
        let definitions = loader.env().unwrap();
        assert!(!format!("{definitions:?}").contains(CANARY), "{url}");
        assert_hidden(url, &definitions.open_all().expect_err(url));
    }
}

#[test]
fn errors_of_an_embedded_configuration_contain_no_values() {
    for json in [
        r#""CANARY-6f1e""#,
        r#"["CANARY-6f1e"]"#,
        r#"{"default": "CANARY-6f1e"}"#,
        r#"{"default": ["CANARY-6f1e"]}"#,
        r#"{"default": {"token": "CANARY-6f1e"}}"#,
        r#"{"default": {"driver": {"a": "CANARY-6f1e"}}}"#,
        r#"{"default": {"driver": "probe", "timeout": "CANARY-6f1e"}}"#,
        r#"{"default": {"driver": "probe", "public_url": "https://ada:CANARY-6f1e@example.com/"}}"#,
    ] {
        let error = serde_json::from_str::<StoragesConfig>(json).expect_err(json);
        assert!(!format!("{error} {error:?}").contains(CANARY), "{json}: {error}");
    }
}

#[test]
fn debug_output_contains_no_values() {
    let text = "[storages.default]\ndriver='probe'\nroot='CANARY-6f1e'\ntoken='${TOKEN}'\nhosts=['CANARY-6f1e']\n\
                [storages.alias]\ndriver='alias'\norigin={driver='probe', root='x', token='CANARY-6f1e'}";
    let loader = loader().with_environment(Environment::empty().with("TOKEN", CANARY));
    let definitions = loader.toml_str(text).unwrap();
    let storages = definitions.open_all().unwrap();
    for shown in [format!("{loader:?}"), format!("{definitions:#?}"), format!("{storages:#?}")] {
        assert!(!shown.contains(CANARY), "{shown}");
    }
    let config: StoragesConfig =
        serde_json::from_str(r#"{"default": {"driver": "probe", "token": "CANARY-6f1e"}}"#)
            .unwrap();
    assert!(!format!("{config:?}").contains(CANARY));
    assert_hidden("a missing option", &registry().open_named(&config, "default").unwrap_err());
}
