//! Tests of filters: each sentence of the documentation, keys that resemble syntax, and a model.

use proptest::prelude::*;

use super::*;

fn rules(text: &str) -> Filter {
    Filter::builder().rules_from(text, "rules").build().unwrap()
}

/// Returns those of the keys that the filter admits.
fn admitted<'a>(filter: &Filter, keys: &[&'a str]) -> Vec<&'a str> {
    keys.iter().copied().filter(|key| filter.admits(key)).collect()
}

fn message(builder: FilterBuilder) -> String {
    let error = builder.build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    error.to_string()
}

#[test]
fn an_empty_filter_admits_every_key() {
    for filter in [Filter::default(), Filter::builder().build().unwrap(), rules("# none\n\n")] {
        assert!(filter.is_empty() && filter.rules().is_empty());
        assert!(filter.admits("a") && filter.admits("a/b") && filter.may_admit_below("a/"));
    }
}

#[test]
fn the_last_rule_that_matches_decides() {
    let keys = ["a.png", "a.txt", "b/a.png"];
    let filter = Filter::builder().exclude("*").include("*.png").build().unwrap();
    assert_eq!(admitted(&filter, &keys), ["a.png", "b/a.png"]);
    let filter = Filter::builder().include("*.png").exclude("*").build().unwrap();
    assert!(admitted(&filter, &keys).is_empty());
    let filter = Filter::builder().exclude("*.png").include("/b/").build().unwrap();
    assert_eq!(admitted(&filter, &keys), ["a.txt", "b/a.png"]);
    let filter = Filter::builder().include("*.png").exclude("b/").build().unwrap();
    assert_eq!(admitted(&filter, &keys), ["a.png"]);
}

#[test]
fn a_first_include_excludes_what_no_rule_matches() {
    let filter = Filter::builder().include("*.png").build().unwrap();
    assert_eq!(admitted(&filter, &["a.png", "b/c.png", "a.txt"]), ["a.png", "b/c.png"]);
    let filter = Filter::builder().include("/data/").exclude("*.tmp").build().unwrap();
    assert_eq!(admitted(&filter, &["data/a", "data/a.tmp", "x/data/a", "data"]), ["data/a"]);
}

#[test]
fn a_first_exclude_admits_what_no_rule_matches() {
    let filter = Filter::builder().exclude("*.tmp").include("a.tmp").build().unwrap();
    assert_eq!(admitted(&filter, &["a.tmp", "b.tmp", "c"]), ["a.tmp", "c"]);
}

#[test]
fn a_directory_pattern_excludes_everything_below_and_not_a_key_of_that_name() {
    let filter = rules("logs/");
    let keys = ["logs", "logs/a", "x/logs/b/c", "logs2/a", "x/logs", "logs.old"];
    assert_eq!(admitted(&filter, &keys), ["logs", "logs2/a", "x/logs", "logs.old"]);
    assert!(!filter.admits("logs/"));
}

#[test]
fn a_slash_at_the_beginning_or_within_anchors_a_pattern_at_the_root() {
    let keys = ["x", "a/x", "x/b", "a/x/b"];
    assert_eq!(admitted(&rules("/x"), &keys), ["a/x", "a/x/b"]);
    assert_eq!(admitted(&rules("a/x"), &keys), ["x", "x/b"]);
    assert_eq!(admitted(&rules("x"), &keys), Vec::<&str>::new());
    assert_eq!(admitted(&rules("**/x/b"), &keys), ["x", "a/x"]);
    assert_eq!(admitted(&rules("x/**"), &keys), ["x", "a/x", "a/x/b"]);
}

#[test]
fn a_star_and_a_class_do_not_match_a_slash() {
    let keys = ["a/b", "a/c/b", "axb"];
    assert_eq!(admitted(&rules("/a/*b"), &keys), ["a/c/b", "axb"]);
    assert_eq!(admitted(&rules("/a?b"), &keys), ["a/b", "a/c/b"]);
    assert_eq!(admitted(&rules("/a[!x]b"), &keys), keys);
    assert_eq!(admitted(&rules("/a[.-0]b"), &keys), keys);
}

#[test]
fn letters_of_another_case_do_not_match() {
    assert_eq!(
        admitted(&rules("*.PNG\nLogs/"), &["a.png", "a.PNG", "logs/a"]),
        ["a.png", "logs/a"]
    );
}

#[test]
fn a_child_of_an_excluded_directory_can_be_included_again() {
    let filter = rules("/build/\n!/build/keep/\n/build/keep/*.tmp");
    let keys = ["build/a", "build/keep/a", "build/keep/a.tmp", "src/a"];
    assert_eq!(admitted(&filter, &keys), ["build/keep/a", "src/a"]);
}

#[test]
fn the_include_of_all_directories_has_no_effect_on_keys() {
    for text in ["*\n!*/\n!*.png", "!*/\n!*.png"] {
        assert_eq!(admitted(&rules(text), &["a.png", "b/c.png", "b/c.txt"]), ["a.png", "b/c.png"]);
    }
}

#[test]
fn each_odd_key_is_excluded_by_its_own_pattern_alone() {
    let keys = [
        "a b",
        "a b ",
        "a",
        " a",
        "#a",
        "!a",
        "-a",
        "--a",
        "[a]",
        "*",
        "a*",
        "?",
        "\\",
        "a\\b",
        "a\\",
        "{a}",
        "a,b",
        "é",
        "e\u{301}",
        "\u{e000}",
        "\u{10000}",
        "~",
        "a%20b",
        "a+b",
        ".a",
        ".",
        "a.",
        "...",
        "a:b",
        "$HOME",
        "A",
    ];
    for excluded in keys {
        let mut pattern = String::from("/");
        for c in excluded.chars() {
            if "\\*?[]{}, ".contains(c) {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        if excluded == "." {
            continue;
        }
        let filter = Filter::builder().exclude(&pattern).build().unwrap();
        let others: Vec<_> = keys.into_iter().filter(|key| *key != excluded).collect();
        assert_eq!(admitted(&filter, &keys), others, "{pattern:?}");
        let below = format!("{excluded}/x");
        assert!(!filter.admits(&below), "{pattern:?} {below:?}");
    }
}

#[test]
fn a_pattern_of_a_call_keeps_the_signs_that_have_a_meaning_in_a_file() {
    let keys = ["#a", "!a", "a", "a ", "a  "];
    for pattern in ["#a", "!a", "a", "a ", "a  "] {
        let others: Vec<_> = keys.into_iter().filter(|key| *key != pattern).collect();
        let excluding = Filter::builder().exclude(pattern).build().unwrap();
        assert_eq!(admitted(&excluding, &keys), others, "{pattern:?}");
        let including = Filter::builder().include(pattern).build().unwrap();
        assert_eq!(admitted(&including, &keys), [pattern], "{pattern:?}");
    }
}

#[test]
fn lines_of_a_file_have_comments_final_spaces_and_either_line_end() {
    let filter = rules("\u{feff}# comment\r\n\r\na  \r\nb\\ \n\\#c\n\\!d\n   \n e\n");
    assert_eq!(filter.rules(), ["a", "b\\ ", "\\#c", "\\!d", " e"]);
    let keys = ["a", "a  ", "b ", "b", "#c", "!d", " e", "e"];
    assert_eq!(admitted(&filter, &keys), ["a  ", "b", "e"]);
}

#[test]
fn a_directory_whose_name_ends_in_a_backslash_can_be_excluded() {
    let filter = rules("a\\\\/\n");
    assert_eq!(admitted(&filter, &["a\\/x", "a/x", "a\\"]), ["a/x", "a\\"]);
    let filter = rules("a\\\\\\\\/\n");
    assert_eq!(admitted(&filter, &["a\\\\/x", "a\\/x"]), ["a\\/x"]);
}

#[test]
fn names_that_are_not_keys_are_not_taken_for_others() {
    let filter = rules("/a");
    assert_eq!(admitted(&filter, &["a", "./a", "././a", "a/"]), ["./a", "././a"]);
}

#[test]
fn braces_are_alternatives() {
    assert_eq!(admitted(&rules("*.{jpg,png}"), &["a.jpg", "a.png", "a.gif"]), ["a.gif"]);
    assert_eq!(admitted(&rules("{ä,ö}*"), &["äh", "öh", "üh"]), ["üh"]);
}

#[test]
fn an_invalid_pattern_is_an_error_that_contains_it() {
    let wrong =
        ["", "/", "//", "a//b", "./a", "a/..", "a\tb", "a\nb", "[a", "[z-a]", "a\\", "{a", "[ä]x"];
    for pattern in wrong {
        for builder in [Filter::builder().exclude(pattern), Filter::builder().include(pattern)] {
            let message = message(builder.include("fine"));
            assert!(message.contains(&format!("{pattern:?}")), "{message}");
            assert!(!message.contains("fine"), "{message}");
        }
    }
}

#[test]
fn an_invalid_line_is_an_error_with_the_file_and_the_line() {
    for (text, line) in [("a\n[b\n", 2), ("a\n\n#\n!\n", 4), ("./x", 1), ("!/", 1)] {
        let message = message(Filter::builder().rules_from(text, "my.rules"));
        assert!(message.contains(&format!("my.rules, line {line}:")), "{message}");
    }
}

#[test]
fn the_rules_build_an_equal_filter_again() {
    let filter = Filter::builder()
        .include("*.png")
        .exclude("#a ")
        .exclude("!b")
        .exclude("\u{feff}a")
        .include("#c")
        .rules_from("logs/  \n!keep\n# comment\n", "f")
        .build()
        .unwrap();
    let lines = ["!*.png", "\\#a\\ ", "\\!b", "\u{feff}a", "!#c", "logs/", "!keep"];
    assert_eq!(filter.rules(), lines);
    for first in 0..lines.len() {
        let again = Filter::builder().rules(&lines[first..], "f").build().unwrap();
        assert_eq!(again.rules(), &lines[first..]);
    }
    assert_eq!(rules(&filter.rules().join("\n")).rules(), lines);
    assert_eq!(format!("{:?}", rules("a")), r#"Filter(["a"])"#);
}

#[test]
fn nothing_is_admitted_below_a_directory_that_is_excluded_last() {
    for text in [
        "/backup/",
        "backup",
        "!*.png\n/backup/",
        "/backup/\n!/data/*.png",
        "!/data/",
        "!/data/**\n!data/x",
        "*",
        "*\n!*/",
    ] {
        assert!(!rules(text).may_admit_below("backup/"), "{text:?}");
        assert!(!rules(text).may_admit_below("backup/deep"), "{text:?}");
    }
}

#[test]
fn a_directory_may_have_admitted_keys_unless_it_is_certain_that_it_has_none() {
    for text in [
        "/backup/\n!*.png",
        "/backup/\n!/backup/keep",
        "/backup/\n!/b*/x",
        "/backup/\n!**/x",
        "/backup/\n!{backup,x}/y",
        "/backup/*",
        "/backup2/",
        "!*.png",
        "!/backup/a/b",
        "/backup/\n!/backup",
    ] {
        assert!(rules(text).may_admit_below("backup/"), "{text:?}");
    }
    assert!(rules("*").may_admit_below(""));
}

/// A rule of the model: gitignore's meaning for the wildcards `*`, `?` and `**`.
#[derive(Debug, Clone)]
struct ModelRule {
    is_include: bool,
    is_anchored: bool,
    is_for_directories: bool,
    segments: Vec<String>,
}

impl ModelRule {
    fn line(&self) -> String {
        let sign = if self.is_include { "!" } else { "" };
        let root = if self.is_anchored { "/" } else { "" };
        let end = if self.is_for_directories { "/" } else { "" };
        format!("{sign}{root}{}{end}", self.segments.join("/"))
    }

    fn concerns(&self, key: &[&str]) -> bool {
        (1..=key.len()).any(|end| {
            let is_directory = end < key.len();
            (is_directory || !self.is_for_directories) && self.matches(&key[..end])
        })
    }

    fn matches(&self, name: &[&str]) -> bool {
        let pattern: Vec<_> = self.segments.iter().map(String::as_str).collect();
        if self.is_anchored || pattern.len() > 1 {
            return path_matches(&pattern, name);
        }
        name.last().is_some_and(|last| segment_matches(pattern[0].as_bytes(), last.as_bytes()))
    }

    fn is_traversal(&self) -> bool {
        self.is_include && matches!(self.line().as_str(), "!*/" | "!**/" | "!/**/" | "!**/*/")
    }
}

fn path_matches(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        // At the end `**` needs something below.
        (["**"], rest) => !rest.is_empty(),
        (["**", tail @ ..], rest) => {
            (0..=rest.len()).any(|skipped| path_matches(tail, &rest[skipped..]))
        }
        ([first, tail @ ..], [segment, rest @ ..]) => {
            segment_matches(first.as_bytes(), segment.as_bytes()) && path_matches(tail, rest)
        }
        _ => false,
    }
}

fn segment_matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', tail @ ..], rest) => {
            (0..=rest.len()).any(|skipped| segment_matches(tail, &rest[skipped..]))
        }
        ([b'?', tail @ ..], [_, rest @ ..]) => segment_matches(tail, rest),
        ([a, tail @ ..], [b, rest @ ..]) => a == b && segment_matches(tail, rest),
        _ => false,
    }
}

fn model_admits(rules: &[ModelRule], key: &str) -> bool {
    let key: Vec<_> = key.split('/').collect();
    let last = rules.iter().rev().find(|rule| !rule.is_traversal() && rule.concerns(&key));
    let by_default = rules.first().is_none_or(|rule| !rule.is_include);
    last.map_or(by_default, |rule| rule.is_include)
}

fn model_rule() -> impl Strategy<Value = ModelRule> {
    let first = prop_oneof![4 => "[ab.]{0,1}[ab*?]", 1 => Just("**".to_owned())];
    let middle = prop_oneof![3 => "[ab*?]{1,2}", 1 => Just("**".to_owned())];
    let segments = (first, prop::collection::vec(middle, 0..3)).prop_map(|(first, mut more)| {
        more.insert(0, first);
        // Two adjacent stars within a name are a rarity of another kind.
        more.into_iter().map(|s| if s.len() > 2 { s.replace("**", "*") } else { s }).collect()
    });
    (any::<bool>(), any::<bool>(), any::<bool>(), segments).prop_map(
        |(is_include, is_anchored, is_for_directories, segments)| ModelRule {
            is_include,
            is_anchored,
            is_for_directories,
            segments,
        },
    )
}

proptest! {
    #[test]
    fn a_filter_admits_what_the_model_admits(
        list in prop::collection::vec(model_rule(), 0..5),
        keys in prop::collection::vec("[ab.]{0,1}[ab](/[ab]{1,2}){0,3}", 1..20),
    ) {
        let text: Vec<_> = list.iter().map(ModelRule::line).collect();
        let filter = rules(&text.join("\n"));
        for key in keys {
            prop_assert_eq!(filter.admits(&key), model_admits(&list, &key), "{:?} {}", text, key);
        }
    }

    #[test]
    fn a_directory_without_admitted_keys_has_none_in_any_sample(
        list in prop::collection::vec(model_rule(), 0..5),
        directory in "[ab](/[ab]){0,1}",
        below in prop::collection::vec("[ab]{1,2}(/[ab]{1,2}){0,2}", 1..20),
    ) {
        let text: Vec<_> = list.iter().map(ModelRule::line).collect();
        let filter = rules(&text.join("\n"));
        let admits = below.iter().any(|name| filter.admits(&format!("{directory}/{name}")));
        prop_assert!(!admits || filter.may_admit_below(&directory), "{:?} {}", text, directory);
    }
}
