//! Every `rust` block of `docs/writing-a-driver.md` stands, line for line, in one of the source
//! files of this example.
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::path::{Path, PathBuf};

fn guide() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/writing-a-driver.md")
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Returns the lines without their common indentation, because the guide shows methods outside
/// their `impl`.
fn outdented(lines: &[&str]) -> Vec<String> {
    let indents = lines
        .iter()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.len() - line.trim_start().len());
    let indent = indents.min().unwrap_or_default();
    lines.iter().map(|line| line.get(indent..).unwrap_or_default().to_owned()).collect()
}

fn rust_blocks(guide: &str) -> Vec<(usize, Vec<&str>)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, Vec<&str>)> = None;
    for (number, line) in guide.lines().enumerate() {
        match &mut open {
            Some(_) if line == "```" => blocks.extend(open.take()),
            Some((_, lines)) => lines.push(line),
            None if line == "```rust" => open = Some((number + 1, Vec::new())),
            None => {}
        }
    }
    assert!(open.is_none(), "a code block of the guide does not end");
    blocks
}

fn stands_in(block: &[&str], source: &str) -> bool {
    let (wanted, source) = (outdented(block), source.lines().collect::<Vec<_>>());
    source.windows(block.len()).any(|window| outdented(window) == wanted)
}

#[test]
fn every_code_block_of_the_guide_is_code_of_this_example() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(guide()).unwrap();
    let files = [here.join("src"), here.join("tests")]
        .iter()
        .flat_map(|dir| files_below(dir))
        .collect::<Vec<_>>();
    let sources: Vec<_> = files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let blocks = rust_blocks(&guide);
    assert!(blocks.len() >= 10, "the guide shows {} blocks of code", blocks.len());
    for (line, block) in blocks {
        let found = sources.iter().any(|source| stands_in(&block, source));
        assert!(
            found,
            "the code after line {line} of the guide is not in the example:\n{}",
            block.join("\n")
        );
    }
}

#[test]
fn every_case_that_the_guide_names_exists() {
    let guide = std::fs::read_to_string(guide()).unwrap();
    let quoted = guide.split('`').skip(1).step_by(2);
    let cases: Vec<_> = quoted
        .filter(|text| text.contains("::") && text.contains("_") && !text.contains('('))
        // A path that begins with a type is not a case.
        .filter(|text| text.starts_with(char::is_lowercase))
        .collect();
    assert!(cases.len() >= 10, "the guide names {cases:?}");
    for case in cases {
        assert_eq!(storage_testkit::case(case).name(), case);
    }
}

#[test]
fn a_block_with_a_changed_line_is_not_found() {
    let source = "impl A {\n    fn a() {\n        b();\n    }\n}\n";
    assert!(stands_in(&["fn a() {", "    b();", "}"], source));
    assert!(!stands_in(&["fn a() {", "    c();", "}"], source));
    assert!(!stands_in(&["fn a() {", "b();", "}"], source));
}
