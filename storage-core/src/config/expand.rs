//! `${VAR}` in the strings of a configuration.

use super::options::{Options, Origin, Value};
use crate::error::{Error, Result};

/// Replaces `${VAR}` in every string below a table by what `lookup` answers. `$${` stands for `${`
/// itself.
///
/// After it a [`Secret`](super::Secret) may hold `${`, which is a text like any other then.
///
/// Happens after the file has been parsed, so a variable's value is text and cannot become syntax;
/// what was put in is not looked at again.
///
/// # Errors
/// `InvalidConfig` that names the variable that is missing, or shows where a `}` is.
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
        let (name, behind) =
            after.split_once('}').ok_or_else(|| Error::config("a ${ without its }"))?;
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
