//! Checks keys from options, environment variables, a profile or a response.

use object_store::aws::AwsCredential;
use storage_core::config::Secret;
use storage_core::{Error, Result};

use super::Sources;
use super::environment::Environment;

const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
const TOKEN: &str = "AWS_SESSION_TOKEN";

/// Checks keys before they are used. Removes surrounding white space, which the last line of a file
/// may contain.
///
/// # Errors
/// A message without the values, if the key id or the secret is empty, or if one of the three
/// contains an invalid character. Key id and token are sent in headers, which cannot contain line
/// breaks.
pub(super) fn credential(
    key_id: &str,
    secret: &str,
    token: Option<&str>,
) -> Result<AwsCredential, String> {
    let (key_id, secret, token) = (key_id.trim(), secret.trim(), token.map(str::trim));
    if key_id.is_empty() || secret.is_empty() {
        return Err("the key id or the secret is empty".to_owned());
    }
    if secret.contains(char::is_control) || !is_visible(key_id) {
        return Err("the key id or the secret contains characters that a key cannot contain, such as a line break: is the line \
                    after it indented by mistake?"
            .to_owned());
    }
    let token = token.filter(|token| !token.is_empty());
    if !token.is_none_or(is_visible) {
        return Err(
            "the session token contains characters that a token cannot contain, such as a line break"
                .to_owned(),
        );
    }
    Ok(AwsCredential {
        key_id: key_id.to_owned(),
        secret_key: secret.to_owned(),
        token: token.map(str::to_owned),
    })
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns the keys of the options, if they are set.
pub(super) fn from_options(sources: &Sources) -> Result<Option<AwsCredential>> {
    let Sources { access_key_id, secret_access_key, session_token, .. } = sources;
    let wrong =
        |message| Error::config(format!("options access_key_id and secret_access_key: {message}"));
    let (key_id, secret) = match (access_key_id, secret_access_key) {
        (Some(key_id), Some(secret)) => (key_id, secret),
        (Some(_), None) => {
            return Err(missing_half("option access_key_id", "option secret_access_key"));
        }
        (None, Some(_)) => {
            return Err(missing_half("option secret_access_key", "option access_key_id"));
        }
        (None, None) if session_token.is_some() => {
            return Err(missing_half(
                "option session_token",
                "options access_key_id and secret_access_key",
            ));
        }
        (None, None) => return Ok(None),
    };
    let token = session_token.as_ref().map(Secret::expose);
    credential(key_id.expose(), secret.expose(), token).map(Some).map_err(wrong)
}

/// Returns the keys of the environment variables, if they are set. A session token alone is
/// ignored.
pub(super) fn from_environment(env: &Environment) -> Result<Option<AwsCredential>> {
    let (key_id, secret) = match (env.text(KEY_ID)?, env.text(SECRET)?) {
        (Some(key_id), Some(secret)) => (key_id, secret),
        (Some(_), None) => return Err(missing_half(KEY_ID, SECRET)),
        (None, Some(_)) => return Err(missing_half(SECRET, KEY_ID)),
        (None, None) => return Ok(None),
    };
    credential(&key_id, &secret, env.text(TOKEN)?.as_deref())
        .map(Some)
        .map_err(|message| Error::config(format!("{KEY_ID} and {SECRET}: {message}")))
}

/// Returns the error for one half of a pair. The other half is never taken from another source,
/// because keys of two sources do not belong together.
pub(super) fn missing_half(present: &str, missing: &str) -> Error {
    Error::config(format!(
        "{present} is set, but not {missing}: set both in the same place, or none"
    ))
}
