//! `docs/daily-tasks.md` shows the code of this example, and states how many lines it has.
//!
//! A block `rust` is the code of the task and is counted. A block `rust,more` shows an alternative.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use anystorage::{Environment, Loader};

const PAGE: &str = include_str!("../../../docs/daily-tasks.md");

const SOURCES: [&str; 5] = [
    include_str!("../src/objects.rs"),
    include_str!("../src/pictures.rs"),
    include_str!("../src/web.rs"),
    include_str!("tasks.rs"),
    include_str!("../../archives/src/zip.rs"),
];

/// The sections of the page, and the rows of its table that count their code.
const ROWS: [(&str, &str); 13] = [
    ("A disk in development, S3 in production", "a disk in development, S3 in production"),
    ("Save an upload, with a limit", "save an upload, at most 10 MiB"),
    ("Never overwrite", "never overwrite"),
    ("List", "list with sizes"),
    ("Delete a directory", "delete a directory"),
    ("Links that expire", "signed link, S3"),
    ("Serve files", "serve with ranges"),
    (
        "Upload from a browser, past the application",
        "upload from a browser, size and type enforced",
    ),
    ("Variants of pictures", "a variant of a picture"),
    ("A zip of a thousand photos", "a zip of 1,000 objects"),
    ("Seek", "a reader that seeks"),
    ("Tests with failures", "a test with a failure"),
    ("A column that refers to a file", "a column, and saving to it"),
];

/// A block of code: its section, its language, and its lines.
struct Block {
    section: &'static str,
    language: &'static str,
    lines: Vec<&'static str>,
}

fn blocks() -> Vec<Block> {
    let (mut blocks, mut section, mut open) = (Vec::new(), "", None::<Block>);
    for line in PAGE.lines() {
        match &mut open {
            Some(_) if line == "```" => blocks.extend(open.take()),
            Some(block) => block.lines.push(line),
            None => {
                section = line.strip_prefix("## ").unwrap_or(section);
                open = line.strip_prefix("```").map(|language| Block {
                    section,
                    language,
                    lines: Vec::new(),
                });
            }
        }
    }
    assert!(open.is_none(), "a code block does not end");
    blocks
}

/// Returns the number of lines of code, without the function around it.
fn count(block: &Block) -> usize {
    let is_function = |line: &&str| line.contains("fn ");
    let body = match block.lines.iter().any(is_function) {
        true => block.lines.iter().skip_while(|line| !line.ends_with('{')).skip(1).collect(),
        false => block.lines.iter().collect::<Vec<_>>(),
    };
    let counts = |line: &&&str| {
        let line = line.trim();
        let is_closing = line.chars().all(|character| "})];,?".contains(character));
        // How the function around the code ends.
        let is_end = ["Ok(())", "Ok(router)", "Ok(StatusCode::CREATED)"].contains(&line);
        !is_closing && !is_end
    };
    body.into_iter().filter(counts).count()
}

/// Returns the first cell with a number of a row, without its lines of configuration.
fn stated(row: &str) -> usize {
    let line = PAGE.lines().find(|line| line.starts_with(&format!("| {row} |")));
    let cell = line.unwrap_or_else(|| panic!("no row {row:?}")).split('|').nth(2).unwrap();
    cell.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn every_block_of_the_page_is_code_of_this_example() {
    let shown: Vec<_> =
        blocks().into_iter().filter(|block| block.language.starts_with("rust")).collect();
    assert!(shown.len() >= 14, "the page shows {} blocks of code", shown.len());
    for block in shown {
        let code = block.lines.join("\n") + "\n";
        let found = SOURCES.iter().any(|source| source.contains(&code));
        assert!(found, "the code of {:?} is not in the example:\n{code}", block.section);
    }
}

#[test]
fn the_table_states_the_number_of_lines_of_each_task() {
    for (section, row) in ROWS {
        let of_section = |language: &'static str| {
            blocks()
                .into_iter()
                .filter(move |block| block.section == section && block.language == language)
        };
        let lines: usize = of_section("rust").chain(of_section("js")).map(|b| count(&b)).sum();
        assert_eq!(stated(row), lines, "{section}");
    }
    let link = blocks().into_iter().filter(|block| block.section == "Links that expire");
    let link = link.filter(|block| block.language.starts_with("rust"));
    assert_eq!(stated("signed link, disk"), link.map(|block| count(&block)).sum::<usize>());
}

#[tokio::test]
async fn every_configuration_of_the_page_opens() {
    let root = tempfile::tempdir().unwrap();
    let environment = Environment::empty().with("LINK_SECRET", "a secret of many bytes");
    let loader = Loader::new().with_environment(environment);
    let configurations = blocks().into_iter().filter(|block| block.language == "toml");
    let mut opened = 0;
    for block in configurations {
        let text = block.lines.join("\n").replace("/srv/media", root.path().to_str().unwrap());
        // Without the credentials that a machine in production has.
        let text = text.replace("driver = \"s3\"", "driver = \"s3\"\nanonymous = true");
        loader.toml_str(&text).unwrap().open_all().unwrap().default_storage().unwrap();
        opened += 1;
    }
    assert_eq!(opened, 2);
}
