//! Runs the examples of `docs/command.md`.

use std::process::Command;

use crate::support::Sandbox;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/command.md");

/// Returns the content of all code blocks of a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    let blocks = page.split(&begin).skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// Splits a block into commands, each with the output that the page shows.
fn commands(block: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), String::new())),
            (None, Some((_, shown))) => *shown += &format!("{line}\n"),
            (None, None) => panic!("the block begins without a command: {line}"),
        }
    }
    commands
}

#[test]
fn the_examples_of_the_page_print_what_it_shows() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let sandbox = Sandbox::new();
    sandbox.write("storages.toml", &blocks(&page, "toml")[0]);
    for (name, content) in
        [("2023/lake.jpg", "lake"), ("2024/ada.jpg", "hi"), ("2024/notes.txt", "summer\n")]
    {
        sandbox.write(&format!("photos/{name}"), content);
    }
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_anystorage")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let all: Vec<_> = blocks(&page, "console").iter().flat_map(|block| commands(block)).collect();
    assert!(all.len() > 30, "only {} examples were found", all.len());
    for (command, shown) in all {
        let run = Command::new("sh")
            .args(["-c", &format!("({command}) 2>&1")])
            .current_dir(sandbox.path(""))
            .env_clear()
            .env("PATH", &path)
            .env("STORAGE_CONFIG", "storages.toml")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&run.stdout), shown, "$ {command}");
    }
}

#[test]
fn every_command_and_every_long_option_of_the_page_exists() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let sandbox = Sandbox::new();
    let mut helps = String::new();
    for command in [
        "ls",
        "du",
        "stat",
        "exists",
        "cat",
        "put",
        "get",
        "cp",
        "mv",
        "sync",
        "check",
        "transfer plan",
        "transfer work",
        "transfer status",
        "transfer failed",
        "transfer resume",
        "transfer cancel",
        "rm",
        "meta set",
        "url",
        "serve",
        "uploads list",
        "uploads abort",
        "config check",
        "publish",
        "releases",
        "rollback",
        "drivers",
        "mirror",
        "mirror purge",
        "mirror prefetch",
        "mirror status",
        "mirror top",
        "completions",
    ] {
        let arguments: Vec<_> = command.split(' ').chain(["--help"]).collect();
        helps += &sandbox.run(&arguments).done();
        let first = command.split(' ').next().unwrap();
        assert!(
            page.contains(&format!("`{first}`")) || page.contains(&format!("`{first} ")),
            "{first}"
        );
    }
    // Words such as `--expires` in the page.
    let options = page.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    for option in options.filter(|word| word.starts_with("--") && word.len() > 3) {
        assert!(helps.contains(option), "{option}");
    }
}
