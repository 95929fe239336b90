//! Names in messages: the first ones, because a site may have very many.

/// How many names a message contains.
const MAX_NAMED: usize = 5;

/// Returns the first names in quotes.
pub(crate) fn first_names(names: &[&str]) -> String {
    let first: Vec<_> = names.iter().take(MAX_NAMED).map(|name| format!("{name:?}")).collect();
    first.join(", ")
}

/// Returns the first names in quotes, and how many others there are.
pub(crate) fn first_names_and_count(names: &[&str]) -> String {
    let first = first_names(names);
    match names.len().saturating_sub(MAX_NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_names_are_shown_and_the_others_are_counted() {
        let five = ["a", "b", "c", "d", "\u{7}"];
        assert_eq!(first_names_and_count(&five), r#""a", "b", "c", "d", "\u{7}""#);
        let seven = ["a", "b", "c", "d", "e", "f", "g"];
        assert_eq!(first_names(&seven), r#""a", "b", "c", "d", "e""#);
        assert_eq!(first_names_and_count(&seven), r#""a", "b", "c", "d", "e" and 2 more"#);
    }
}
