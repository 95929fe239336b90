//! [`expand_variables`]: replaces `${VAR}` in the strings of a configuration.

use super::options::{Options, Origin, Value};
use crate::error::{Error, Result};

/// Replaces `${VAR}` in every string of a table and its inner tables by the value that `lookup`
/// returns. `$${` stands for `${` itself.
///
/// Call it after parsing the file, so that the value of a variable cannot become syntax. Values are
/// not expanded again. Afterwards a [`Secret`](super::Secret) may contain `${`.
///
/// # Errors
/// `InvalidConfig`, with the name of a missing variable or of an option with a `${` that has no
/// `}`.
///
/// ```
/// use storage_core::config::{expand_variables, Options, Value};
///
/// let mut options = Options::new().with("root", "${HOME}/media");
/// expand_variables(&mut options, &|name| (name == "HOME").then(|| "/home/ada".to_owned()))?;
/// assert_eq!(options.get("root"), Some(&Value::from("/home/ada/media")));
/// # Ok::<(), storage_core::Error>(())
/// ```
pub fn expand_variables(
    options: &mut Options,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<()> {
    options.origin = Origin::Expanded;
    for (name, value) in &mut options.values {
        expand_value(value, lookup)
            .map_err(|error| Error::config(format!("option {name}: {}", error.message())))?;
    }
    Ok(())
}

fn expand_value(value: &mut Value, lookup: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    match value {
        Value::String(text) if text.contains("${") => *text = expand_text(text, lookup)?,
        Value::Array(items) => items.iter_mut().try_for_each(|item| expand_value(item, lookup))?,
        Value::Table(table) => expand_variables(table, lookup)?,
        _ => {}
    }
    Ok(())
}

fn expand_text(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(escaped) = before.strip_suffix('$') {
            expanded.push_str(escaped);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        let (name, behind) = after.split_once('}').ok_or_else(|| {
            Error::config("a ${ has no closing }: write ${NAME}, or $${ for the text ${")
        })?;
        let value = lookup(name).ok_or_else(|| {
            Error::config(format!(
                "the environment variable {name} is not set (write $${{{name}}} for the text itself)"
            ))
        })?;
        expanded.push_str(before);
        expanded.push_str(&value);
        rest = behind;
    }
    expanded.push_str(rest);
    Ok(expanded)
}
