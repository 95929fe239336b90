//! `[storages.*]` tables in TOML.

use anystorage::{ErrorKind, Storages};

use super::support::{loader, read, refusal, refused};

#[test]
fn a_table_defines_a_storage() {
    let storages = read(
        r#"
        [storages.default]
        driver = "probe"
        root = "/srv"
        level = 3
        ratio = 0.5
        strict = true
        mode = "safe"
        hosts = ["a", "b"]
        window = { width = 4 }
        [storages.other]
        driver = "probe"
        root = "/other"
        prefix = "below"
        "#,
    )
    .open_all()
    .unwrap();
    assert_eq!(storages.names().collect::<Vec<_>>(), ["default", "other"]);
    assert_eq!(storages.get("other").unwrap().info().location, "memory:/below");
    assert_eq!(storages.default_storage().unwrap().info().location, "memory:");
}

#[test]
fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
    let definitions =
        read("[storages.a]\ndriver='probe'\nroot='x'\n[storages.b]\ndriver='probe'\nroot='x'");
    assert_eq!(
        refused(definitions.open("c").unwrap_err()),
        r#"no storage is called "c"; known storages: a, b"#
    );
    let storages = definitions.open_all().unwrap();
    assert_eq!(
        refused(storages.get("c").unwrap_err()),
        r#"no storage is called "c"; known storages: a, b"#
    );
    assert_eq!(
        refused(storages.default_storage().unwrap_err()),
        r#"no storage is called "default"; known storages: a, b"#
    );
}

#[test]
fn an_empty_configuration_is_an_error_with_a_hint() {
    let error = refused(Storages::default().default_storage().unwrap_err());
    assert!(error.contains("STORAGE_CONFIG") && error.contains("STORAGE_<NAME>_URL"), "{error}");
}

#[test]
fn an_unknown_option_is_an_error_that_lists_the_known_ones() {
    let error = refusal("[storages.default]\ndriver = 'probe'\nroot = '/srv'\nprefx = 'a'");
    assert_eq!(
        error,
        "[storages.default]: unknown option prefx of driver probe; known options: root, level, ratio, strict, mode, token, \
         hosts, window, and for every driver prefix, read_only, public_url, timeout, retries, default_headers"
    );
}

#[test]
fn an_error_names_a_missing_option() {
    assert_eq!(
        refusal("[storages.default]\ndriver = 'probe'"),
        "[storages.default]: option root of driver probe is missing"
    );
}

#[test]
fn an_unknown_driver_is_an_error_that_lists_the_known_ones() {
    assert_eq!(
        refusal("[storages.default]\ndriver = 'prob'"),
        r#"[storages.default]: unknown driver "prob"; known drivers: alias, probe"#
    );
}

#[test]
fn a_missing_driver_is_an_error_with_a_hint() {
    let error = refusal("[storages.default]\nroot = '/srv'");
    assert!(error.starts_with("[storages.default]: option driver is missing"), "{error}");
}

#[test]
fn a_value_of_the_wrong_type_is_an_error_with_the_expected_type() {
    for (line, option, wanted) in [
        ("level = 'many'", "level", "u32"),
        ("level = -1", "level", "u32"),
        ("level = 1.5", "level", "u32"),
        ("strict = 'maybe'", "strict", "a boolean"),
        ("mode = 'slow'", "mode", "fast, safe"),
        ("hosts = 'a'", "hosts", "a sequence"),
        ("window = 3", "window", "struct"),
        ("window = { width = 'wide' }", "window.width", "u8"),
        ("window = { widht = 3 }", "window", "known keys: width"),
        ("window = { }", "window", "key width is missing"),
        ("timeout = 'soon'", "timeout", "a duration"),
        ("retries = 'often'", "retries", "u32"),
        ("read_only = 1", "read_only", "a boolean"),
        ("public_url = 'media'", "public_url", "URL"),
        ("prefix = '../up'", "prefix", "segment"),
        ("prefix = ['a']", "prefix", "a string"),
        ("default_headers = 'no-store'", "default_headers", "struct"),
        ("default_headers = { Cache-Contrl = 'no-store' }", "default_headers", "cache_contrl"),
        ("default_headers = { Cache-Control = '' }", "default_headers", "cache_control"),
    ] {
        let error =
            refusal(&format!("[storages.default]\ndriver = 'probe'\nroot = '/srv'\n{line}"));
        assert!(
            error.starts_with(&format!("[storages.default]: option {option}: ")),
            "{line}: {error}"
        );
        assert!(error.contains(wanted), "{line}: {error}");
    }
    assert_eq!(
        refusal("[storages.default]\ndriver = 3"),
        "[storages.default]: option driver: expected a string"
    );
}

#[test]
fn numbers_and_booleans_may_be_written_as_text() {
    let text = "[storages.default]\ndriver='probe'\nroot=2026\nlevel='3'\nratio='0.5'\nstrict='true'\nretries='2'\n\
                read_only='true'\ntimeout=30";
    read(text).open("default").unwrap();
}

#[tokio::test]
async fn the_common_options_become_layers() {
    let storage = read(
        r#"
        [storages.default]
        driver = "probe"
        root = "/srv"
        prefix = "media"
        public_url = "https://media.example.com/"
        timeout = "90s"
        retries = 3
        default_headers = { Cache-Control = "no-store" }
        "#,
    )
    .open("default")
    .unwrap();
    let meta = storage.save("a.txt", "a").await.unwrap();
    assert_eq!(meta.metadata.cache_control.as_deref(), Some("no-store"));
    assert_eq!(
        storage.url("a.txt").await.unwrap().as_str(),
        "https://media.example.com/media/a.txt"
    );

    let read_only = "[storages.default]\ndriver='probe'\nroot='x'\nread_only=true";
    let refused = read(read_only).open("default").unwrap().save("a", "a").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
}

#[test]
fn a_date_may_be_written_without_quotes() {
    let text = "[storages.default]\ndriver='probe'\nroot='x'\ndefault_headers = { expires = 2027-01-01T00:00:00Z }";
    read(text).open("default").unwrap();
}

#[test]
fn a_syntax_error_contains_its_line() {
    let error = refusal("[storages.default]\ndriver = \"probe\"\nroot = /srv");
    assert!(error.starts_with("line 3, column 8: "), "{error}");
    assert_eq!(refusal("[storages.a]\n[storages.a]"), "line 2, column 11: duplicate key");
}

#[test]
fn other_tables_are_ignored() {
    read("title = 'shop'\n[server]\nport = 80\nsecret = '${NOT_OURS}'\n[storages.default]\ndriver='probe'\nroot='x'")
        .open_all()
        .unwrap();
}

#[test]
fn a_document_without_storages_is_refused() {
    assert_eq!(refusal("[storage.default]\ndriver = 'probe'"), "there is no [storages.NAME] table");
    assert_eq!(
        refusal("storages = 'probe'"),
        "storages: expected tables, as in [storages.default]"
    );
    assert_eq!(
        refusal("[[storages]]\ndriver = 'probe'"),
        "storages: expected tables, as in [storages.default]"
    );
    let error = refusal("[storages]\ndefault = 'probe:'");
    assert!(error.starts_with("[storages.default]: expected a table"), "{error}");
    assert_eq!(read("[storages]").names().count(), 0);
}

#[test]
fn errors_of_a_file_contain_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("storages.toml");
    let shown = path.display().to_string();

    std::fs::write(&path, "[storages.default]\ndriver = 'probe'\nroot = 'x'").unwrap();
    loader().toml_file(&path).unwrap().open_all().unwrap();

    std::fs::write(&path, "[storages.default]\ndriver = 'probe'\nrot = 'x'").unwrap();
    let definitions = loader().toml_file(&path).unwrap();
    for error in [
        refused(definitions.open("default").unwrap_err()),
        refused(definitions.open_all().unwrap_err()),
    ] {
        assert!(
            error.starts_with(&format!("{shown}: [storages.default]: unknown option rot")),
            "{error}"
        );
    }

    std::fs::write(&path, "[storages.default").unwrap();
    let error = refused(loader().toml_file(&path).unwrap_err());
    assert!(error.starts_with(&format!("{shown}: line 1, column ")), "{error}");

    std::fs::write(&path, b"\xff").unwrap();
    assert_eq!(refused(loader().toml_file(&path).unwrap_err()), format!("{shown}: cannot be read"));

    std::fs::remove_file(&path).unwrap();
    let error = loader().toml_file(&path).unwrap_err();
    assert!(std::error::Error::source(&error).is_some(), "{error:?}");
    assert_eq!(refused(error), format!("{shown}: cannot be read"));
}

#[test]
fn an_invalid_storage_does_not_affect_others_unless_all_are_built() {
    let definitions = read(
        "[storages.good]\ndriver='probe'\nroot='x'\n[storages.bad]\ndriver='probe'\nretries='x'\n\
         [storages.worse]\ndriver='nonesuch'",
    );
    assert_eq!(definitions.names().collect::<Vec<_>>(), ["bad", "good", "worse"]);
    assert!(definitions.contains("bad") && !definitions.contains("best"));
    definitions.open("good").unwrap();
    assert!(refused(definitions.open("bad").unwrap_err()).contains("retries"));
    assert!(
        refused(definitions.open_all().unwrap_err()).contains("[storages.bad]: option retries")
    );
}

#[test]
fn the_constructors_of_storages_report_the_same_errors() {
    let text = "[storages.default]\ndriver = 'nonesuch'";
    assert!(
        refused(Storages::from_toml_str(text).unwrap_err())
            .contains(r#"unknown driver "nonesuch""#)
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("storages.toml");
    std::fs::write(&path, text).unwrap();
    assert!(
        refused(Storages::from_toml_file(&path).unwrap_err())
            .contains(r#"unknown driver "nonesuch""#)
    );
}
