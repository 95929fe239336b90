//! The format of the profile files.

use super::parse::{ParseError, Sections, parse};

fn value<'a>(sections: &'a Sections, section: &str, property: &str) -> &'a str {
    &sections[section][property].value
}

fn parse_error(text: &str) -> ParseError {
    parse(text).err().expect("a mistake")
}

#[test]
fn sections_and_properties_are_found_with_comments_and_white_space_around_them() {
    let text = "\u{feff}# first\r\n; second\r\n\t \r\n[ profile\t one ] ; third\r\nName \t=  val=ue \t\r\n\r\n[two]# fourth\nother=x\n";
    let sections = parse(text).unwrap_or_default();
    assert_eq!(sections.keys().collect::<Vec<_>>(), ["profile one", "two"]);
    assert_eq!(value(&sections, "profile one", "name"), "val=ue");
    assert_eq!(value(&sections, "two", "other"), "x");
}

#[test]
fn a_comment_in_a_value_begins_after_white_space() {
    let sections = parse("[a]\nb = x#y;z # comment ; more\nc = x ;\nd = p;\n").unwrap_or_default();
    assert_eq!(value(&sections, "a", "b"), "x#y;z");
    assert_eq!(value(&sections, "a", "c"), "x");
    assert_eq!(value(&sections, "a", "d"), "p;");
}

#[test]
fn nested_settings_do_not_belong_to_the_section() {
    let text = "[default]\nregion = r\ns3 =\n  endpoint_url = http://x # comment\n\n  # comment\n  region=inner\noutput = json\n";
    let sections = parse(text).unwrap_or_default();
    assert_eq!(value(&sections, "default", "region"), "r");
    assert!(!sections["default"].contains_key("endpoint_url"));
    assert_eq!(value(&sections, "default", "output"), "json");
    let nested = &sections["default"]["s3"].nested;
    assert_eq!(nested["endpoint_url"], "http://x");
    assert_eq!(nested["region"], "inner");
}

#[test]
fn an_indented_line_continues_the_value_before_it() {
    let sections = parse("[a]\nb = x\n -y\n\tz # z\n").unwrap_or_default();
    assert_eq!(value(&sections, "a", "b"), "x\n-y\nz # z");
}

#[test]
fn a_repeated_section_continues_the_first_and_the_last_value_counts() {
    let sections = parse("[a]\nx = 1\nY = 1\n[b]\n[a]\ny = 2\nz = 3\nz = 4\n").unwrap_or_default();
    let values: Vec<_> = ["x", "y", "z"].map(|name| value(&sections, "a", name)).into();
    assert_eq!(values, ["1", "2", "4"]);
    assert!(sections["b"].is_empty());
}

#[test]
fn a_syntax_error_names_the_line_without_quoting_it() {
    assert_eq!(
        parse_error("\n[a\n"),
        ParseError { line: 2, what: "a section's name does not end with ]" }
    );
    assert_eq!(parse_error("secret\n").line, 1);
    assert_eq!(
        parse_error("a = b\n"),
        ParseError { line: 1, what: "a property before the first section" }
    );
    assert_eq!(parse_error("[a]\nb : c\n"), ParseError { line: 2, what: "a property without =" });
    assert_eq!(
        parse_error("[a]\n= c\n"),
        ParseError { line: 2, what: "a property without a name" }
    );
    assert_eq!(
        parse_error("[a]\n b = c\n"),
        ParseError { line: 2, what: "an indented line that belongs to no property" }
    );
    assert_eq!(parse_error("[a]\nb = c\n[a]\n d\n").line, 4);
    assert_eq!(
        parse_error("[a]\ns3 =\n word\n"),
        ParseError { line: 3, what: "a property without =" }
    );
}
