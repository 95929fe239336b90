//! Where the command finds its storages.

use crate::support::{Sandbox, run};

#[test]
fn an_option_names_a_file_in_place_of_the_variables() {
    let sandbox = Sandbox::new();
    sandbox.write("other.toml", "[storages.other]\ndriver = 'fs'\nroot = 'media'");
    sandbox.put("media:a", "a");
    assert_eq!(sandbox.run(&["--config", "other.toml", "cat", "other:a"]).done(), "a");
    let said = sandbox.run(&["--config", "other.toml", "cat", "media:a"]).failed(2);
    assert!(
        said.ends_with(r#"media:a: no storage is called "media"; known are other (InvalidConfig)"#),
        "{said}"
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
fn no_configuration_at_all_says_how_to_give_one() {
    let sandbox = Sandbox::new();
    let said = run(sandbox.command(&["ls", "media:"]).env_remove("STORAGE_CONFIG")).failed(2);
    assert!(said.contains("STORAGE_CONFIG") && said.contains("STORAGE_<NAME>_URL"), "{said}");
}

#[test]
fn a_path_needs_no_configuration() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/a.txt", "a");
    assert_eq!(
        run(sandbox.command(&["ls", "./dir"]).env("STORAGE_CONFIG", "nothing.toml")).done(),
        "a.txt\n"
    );
    // But a file that was asked for has to be there.
    let said = sandbox.run(&["--config", "nothing.toml", "ls", "./dir"]).failed(2);
    assert!(said.contains("nothing.toml: cannot be read"), "{said}");
}

#[test]
fn a_storage_is_not_in_the_way_of_another() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "storages.toml",
        "[storages.media]\ndriver = 'fs'\nroot = 'media'\n[storages.unset]\ndriver = 'fs'\nroot = '${GONE}'\n\
         [storages.unknown]\ndriver = 'ftp'\n[storages.wrong]\ndriver = 'fs'\nrot = 'x'",
    );
    sandbox.put("media:a", "a");
    assert!(sandbox.run(&["cat", "unset:a"]).failed(2).contains("GONE is not set"));
    assert!(
        sandbox
            .run(&["cat", "unknown:a"])
            .failed(2)
            .contains(r#"unknown driver "ftp"; known are fs, http, http-cache, memory"#)
    );
    let said = sandbox.run(&["cat", "wrong:a"]).failed(2);
    assert!(
        said.contains(
            "storages.toml: [storages.wrong]: unknown option rot of driver fs; known are root"
        ),
        "{said}"
    );
}

#[test]
fn a_syntax_error_tells_the_line() {
    let sandbox = Sandbox::new();
    sandbox.write("storages.toml", "[storages.media]\ndriver = 'fs'\nroot = media");
    let said = sandbox.run(&["ls", "media:"]).failed(2);
    assert!(said.contains("storages.toml: line 3, column 8: "), "{said}");
}

#[test]
fn variables_are_replaced_in_the_file() {
    let sandbox = Sandbox::new();
    sandbox.write("storages.toml", "[storages.media]\ndriver = 'fs'\nroot = '${WHERE}/x'");
    let output =
        run(sandbox.command(&["put", "storages.toml", "media:a"]).env("WHERE", "by-variable"));
    output.done();
    assert!(sandbox.is_there("by-variable/x/a"));
}
