//! Compares the code of `docs/frameworks.md` with the code that is compiled and tested here.

use std::path::Path;

/// The sections whose code is here, and its files.
const SECTIONS: [(&str, &[&str]); 3] = [
    ("loco", &["loco/src/app.rs", "loco/src/controller.rs", "loco/src/uploads.rs"]),
    ("poem", &["src/poem.rs"]),
    ("salvo", &["src/salvo.rs"]),
];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the blocks of code in a section.
fn blocks(page: &str, section: &str) -> Vec<String> {
    let start = page.find(&format!("\n## {section}\n")).expect("the page has the section") + 1;
    let text = &page[start..];
    let text = &text[..text.find("\n## ").unwrap_or(text.len())];
    let blocks = text.split("```rust,ignore\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_page_shows_code_that_is_tested() {
    let page = read("../../docs/frameworks.md");
    let mut compared = 0;
    for (section, files) in SECTIONS {
        let sources = files.iter().map(|file| read(file)).collect::<Vec<_>>();
        let blocks = blocks(&page, section);
        assert!(!blocks.is_empty(), "{section} has no code");
        for block in blocks {
            let is_tested = sources.iter().any(|source| source.contains(&block));
            assert!(is_tested, "the code of {section} is not in {files:?}:\n{block}");
            compared += 1;
        }
    }
    assert_eq!(page.matches("```rust,ignore").count(), compared, "code that is not compared");
}
