//! The environment: `STORAGE_CONFIG`, `STORAGE_<NAME>_URL`, and `${VAR}` inside a file.

use std::path::Path;

use anystorage::Environment;

use super::support::{loader, read, refusal, refused};

fn write(directory: &Path, toml: &str) -> std::path::PathBuf {
    let path = directory.join("storages.toml");
    std::fs::write(&path, toml).unwrap();
    path
}

fn names(environment: Environment) -> Vec<String> {
    loader().with_environment(environment).env().unwrap().names().map(str::to_owned).collect()
}

#[test]
fn a_variable_defines_a_storage() {
    let environment = Environment::empty()
        .with("STORAGE_DEFAULT_URL", "probe:/a?prefix=media")
        .with("STORAGE_USER_UPLOADS_URL", "probe:/b")
        .with("STORAGE_URL", "probe:/c")
        .with("STORAGE__URL", "probe:/d")
        .with("STORAGE_DEFAULT_URLS", "probe:/e")
        .with("MY_STORAGE_DEFAULT_URL", "probe:/f")
        .with("STORAGE_TMP_DIR", "/tmp");
    assert_eq!(names(environment.clone()), ["default", "user_uploads"]);
    let storages = loader().with_environment(environment).env().unwrap().open_all().unwrap();
    assert_eq!(storages.default_storage().unwrap().info().location, "memory:/media");
}

#[test]
fn storage_config_names_a_file_and_url_variables_replace_its_storages() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(
        directory.path(),
        "[storages.default]\ndriver='nonesuch'\n[storages.media]\ndriver='probe'\nroot='x'\nprefix='file'",
    );
    let environment = Environment::empty()
        .with("STORAGE_CONFIG", path)
        .with("STORAGE_DEFAULT_URL", "probe:/x?prefix=variable")
        .with("STORAGE_NEW_URL", "probe:/x");
    let storages = loader().with_environment(environment).env().unwrap().open_all().unwrap();
    assert_eq!(storages.names().collect::<Vec<_>>(), ["default", "media", "new"]);
    assert_eq!(storages.default_storage().unwrap().info().location, "memory:/variable");
    assert_eq!(storages.get("media").unwrap().info().location, "memory:/file");
}

#[test]
fn a_variable_replaces_a_name_with_other_characters() {
    let directory = tempfile::tempdir().unwrap();
    let one = write(directory.path(), "[storages.user-uploads]\ndriver='probe'\nroot='x'");
    let environment = Environment::empty()
        .with("STORAGE_CONFIG", one)
        .with("STORAGE_USER_UPLOADS_URL", "probe:/x");
    assert_eq!(names(environment.clone()), ["user-uploads"]);

    write(
        directory.path(),
        "[storages.user-uploads]\ndriver='probe'\n[storages.user_uploads]\ndriver='probe'",
    );
    assert_eq!(names(environment.clone()), ["user-uploads", "user_uploads"]);

    write(
        directory.path(),
        "[storages.user-uploads]\ndriver='probe'\n[storages.'user.uploads']\ndriver='probe'",
    );
    let error = refused(loader().with_environment(environment).env().unwrap_err());
    assert!(
        error.contains("STORAGE_USER_UPLOADS_URL") && error.contains("user.uploads"),
        "{error}"
    );
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let environment =
        Environment::empty().with("STORAGE_CONFIG", "").with("STORAGE_DEFAULT_URL", "");
    assert_eq!(names(environment.clone()), Vec::<String>::new());
    let error = loader().with_environment(environment).env().unwrap().open("default").unwrap_err();
    assert!(refused(error).contains("no storage is configured"));
}

#[test]
fn an_error_names_the_invalid_variable() {
    let wrong = |url: &str| {
        let environment = Environment::empty().with("STORAGE_DEFAULT_URL", url);
        let definitions = loader().with_environment(environment).env().unwrap();
        refused(definitions.open_all().unwrap_err())
    };
    assert_eq!(
        wrong("http://x/"),
        "STORAGE_DEFAULT_URL: unknown URL scheme http; known URL schemes: probe:"
    );
    assert!(wrong("/srv/media").starts_with("STORAGE_DEFAULT_URL: not a URL of a storage"));
    assert!(
        wrong("probe:/x?rot=1")
            .starts_with("STORAGE_DEFAULT_URL: [storages.default]: unknown option rot")
    );
    assert!(wrong("probe://ada@host/x").contains("user name or a password"));
}

#[test]
fn an_error_names_the_file_of_storage_config() {
    let environment = Environment::empty().with("STORAGE_CONFIG", "/nonesuch/storages.toml");
    let error = refused(loader().with_environment(environment).env().unwrap_err());
    assert_eq!(error, "/nonesuch/storages.toml: cannot be read");
}

#[cfg(unix)]
#[test]
fn an_error_names_a_variable_that_is_not_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    let bytes = std::ffi::OsStr::from_bytes(b"probe:/\xff");
    let definitions = loader()
        .with_environment(Environment::empty().with("STORAGE_DEFAULT_URL", bytes))
        .env()
        .unwrap();
    let error = refused(definitions.open("default").unwrap_err());
    assert_eq!(
        error,
        "STORAGE_DEFAULT_URL: the environment variable STORAGE_DEFAULT_URL is not UTF-8 text"
    );

    let loader = loader().with_environment(Environment::empty().with("ODD", bytes));
    let definitions = loader.toml_str("[storages.default]\ndriver='probe'\nroot='${ODD}'").unwrap();
    let error = refused(definitions.open("default").unwrap_err());
    assert_eq!(error, "[storages.default]: the environment variable ODD is not UTF-8 text");
}

#[test]
fn variables_in_the_strings_of_a_file_are_replaced() {
    let environment = Environment::empty()
        .with("WHERE", "me")
        .with("DIR", "dia")
        .with("QUOTE", "'\n[storages.x]");
    let definitions = loader()
        .with_environment(environment)
        .toml_str(
            "[storages.default]\ndriver='probe'\nroot='$${WHERE}${QUOTE}'\nprefix='${WHERE}${DIR}/$x'\n\
             hosts=['${WHERE}']\ndefault_headers={cache_control='max-age=1, ${DIR}'}",
        )
        .unwrap();
    assert_eq!(definitions.open("default").unwrap().info().location, "memory:/media/$x");
    assert_eq!(definitions.names().count(), 1);
}

#[test]
fn a_doubled_dollar_escapes_a_variable() {
    let definitions = read("[storages.default]\ndriver='probe'\nroot='x'\nprefix='$${WHERE}'");
    assert_eq!(definitions.open("default").unwrap().info().location, "memory:/${WHERE}");
}

#[test]
fn an_error_names_a_missing_variable() {
    let error = refusal("[storages.default]\ndriver='probe'\nroot='a/${GONE}/b'");
    assert!(
        error.starts_with(
            "[storages.default]: option root: the environment variable GONE is not set"
        ),
        "{error}"
    );
    let error = refusal("[storages.default]\ndriver='probe'\nroot='x'\nhosts=['${GONE']");
    assert_eq!(
        error,
        "[storages.default]: option hosts: a ${ has no closing }: write ${NAME}, or $${ for the \
         text ${"
    );
}

#[test]
fn an_explicit_environment_replaces_that_of_the_process() {
    assert!(std::env::var_os("PATH").is_some(), "the test needs a variable that is set");
    let text = "[storages.default]\ndriver='probe'\nroot='x'\nhosts=['${PATH}']";
    assert!(refusal(text).contains("PATH is not set"));
    loader()
        .with_environment(Environment::process())
        .toml_str(text)
        .unwrap()
        .open("default")
        .unwrap();
}

#[test]
fn a_missing_variable_in_an_unrelated_table_is_not_an_error() {
    let text =
        "[storages.good]\ndriver='probe'\nroot='x'\n[storages.bad]\ndriver='probe'\nroot='${GONE}'";
    read(text).open("good").unwrap();
    assert!(refused(read(text).open_all().unwrap_err()).contains("GONE"));
}

#[cfg(feature = "mirror")]
#[test]
fn variables_are_replaced_in_the_origin_of_a_mirror() {
    let environment = Environment::empty().with("DRIVER", "probe").with("NAME", "media");
    let loader = loader().with_environment(environment);
    let options = "listen = \"127.0.0.1:0\"\ncache_dir = \"/c\"\nmax_size = \"1GiB\"\n";
    for origin in [
        "origin = \"${DRIVER}:/objects\"",
        "origin = \"${NAME}\"\n[storages.media]\ndriver = \"probe\"\nroot = \"a\"",
        "[origin]\ndriver = \"${DRIVER}\"\nroot = \"a\"",
    ] {
        let setup = loader.mirror_str(&format!("{options}{origin}\n")).unwrap();
        assert_eq!(setup.origin.info().name, "memory", "{origin}");
    }
}
