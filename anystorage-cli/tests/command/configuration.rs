//! Configuration files and variables.

use crate::support::{Sandbox, run};

#[test]
fn the_option_config_replaces_the_file_of_the_environment() {
    let sandbox = Sandbox::new();
    sandbox.write("other.toml", "[storages.other]\ndriver = 'fs'\nroot = 'media'");
    sandbox.put("media:a", "a");
    assert_eq!(sandbox.run(&["--config", "other.toml", "cat", "other:a"]).done(), "a");
    let error = sandbox.run(&["--config", "other.toml", "cat", "media:a"]).failed(2);
    assert!(
        error.ends_with(
            r#"media:a: no storage is called "media"; known storages: other (InvalidConfig)"#
        ),
        "{error}"
    );
}

#[test]
fn a_variable_defines_or_replaces_a_storage() {
    let sandbox = Sandbox::new();
    sandbox.put("backup:a", "from backup");
    let url = format!("file://{}", sandbox.path("backup").display());
    for (variable, location) in [("STORAGE_MEDIA_URL", "media:a"), ("STORAGE_NEW_URL", "new:a")] {
        assert_eq!(
            run(sandbox.command(&["cat", location]).env(variable, &url)).done(),
            "from backup"
        );
        let mut with_option = sandbox.command(&["--config", "storages.toml", "cat", location]);
        assert_eq!(
            run(with_option.env(variable, &url).env_remove("STORAGE_CONFIG")).done(),
            "from backup"
        );
    }
}

#[test]
fn a_missing_configuration_is_an_error_that_names_the_variables() {
    let sandbox = Sandbox::new();
    let error = run(sandbox.command(&["ls", "media:"]).env_remove("STORAGE_CONFIG")).failed(2);
    assert!(error.contains("STORAGE_CONFIG") && error.contains("STORAGE_<NAME>_URL"), "{error}");
}

#[test]
fn a_local_path_needs_no_configuration() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/a.txt", "a");
    assert_eq!(
        run(sandbox.command(&["ls", "./dir"]).env("STORAGE_CONFIG", "nothing.toml")).done(),
        "a.txt\n"
    );
    // A file that is named explicitly has to exist.
    let error = sandbox.run(&["--config", "nothing.toml", "ls", "./dir"]).failed(2);
    assert!(error.contains("nothing.toml: cannot be read"), "{error}");
}

#[test]
fn an_invalid_storage_does_not_affect_the_others() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "storages.toml",
        "[storages.media]\ndriver = 'fs'\nroot = 'media'\n[storages.unset]\ndriver = 'fs'\nroot = '${GONE}'\n\
         [storages.unknown]\ndriver = 'ftp'\n[storages.wrong]\ndriver = 'fs'\nrot = 'x'",
    );
    sandbox.put("media:a", "a");
    assert!(sandbox.run(&["cat", "unset:a"]).failed(2).contains("GONE is not set"));
    assert!(
        sandbox.run(&["cat", "unknown:a"]).failed(2).contains(
            r#"unknown driver "ftp"; known drivers: cache, fs, http, http-cache, memory"#
        )
    );
    let error = sandbox.run(&["cat", "wrong:a"]).failed(2);
    assert!(
        error.contains(
            "storages.toml: [storages.wrong]: unknown option rot of driver fs; known options: root"
        ),
        "{error}"
    );
}

#[test]
fn a_syntax_error_contains_its_line() {
    let sandbox = Sandbox::new();
    sandbox.write("storages.toml", "[storages.media]\ndriver = 'fs'\nroot = media");
    let error = sandbox.run(&["ls", "media:"]).failed(2);
    assert!(error.contains("storages.toml: line 3, column 8: "), "{error}");
}

#[test]
fn variables_in_the_file_are_replaced() {
    let sandbox = Sandbox::new();
    sandbox.write("storages.toml", "[storages.media]\ndriver = 'fs'\nroot = '${WHERE}/x'");
    let output =
        run(sandbox.command(&["put", "storages.toml", "media:a"]).env("WHERE", "by-variable"));
    output.done();
    assert!(sandbox.exists("by-variable/x/a"));
}
