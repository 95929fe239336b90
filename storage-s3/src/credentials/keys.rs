//! Keys that somebody wrote down: in options, in variables, in a profile, in an answer.

use object_store::aws::AwsCredential;
use storage_core::config::Secret;
use storage_core::{Error, Result};

use super::Sources;
use super::environment::Environment;

const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
const TOKEN: &str = "AWS_SESSION_TOKEN";

/// Checks keys before they are signed with. White space around them, as a file's last line has it,
/// is dropped.
///
/// # Errors
/// What is wrong, without a value. Key id and token travel in headers, which hold no line breaks.
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
        return Err("the key id or the secret contains characters that no key has, such as a line break: is the line \
                    after it indented by mistake?"
            .to_owned());
    }
    let token = token.filter(|token| !token.is_empty());
    if !token.is_none_or(is_visible) {
        return Err(
            "the session token contains characters that no token has, such as a line break"
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

/// The keys among the options, if there are any.
pub(super) fn of_options(sources: &Sources) -> Result<Option<AwsCredential>> {
    let Sources { access_key_id, secret_access_key, session_token, .. } = sources;
    let wrong =
        |message| Error::config(format!("options access_key_id and secret_access_key: {message}"));
    let (key_id, secret) = match (access_key_id, secret_access_key) {
        (Some(key_id), Some(secret)) => (key_id, secret),
        (Some(_), None) => return Err(half("option access_key_id", "option secret_access_key")),
        (None, Some(_)) => return Err(half("option secret_access_key", "option access_key_id")),
        (None, None) if session_token.is_some() => {
            return Err(half(
                "option session_token",
                "options access_key_id and secret_access_key",
            ));
        }
        (None, None) => return Ok(None),
    };
    let token = session_token.as_ref().map(Secret::expose);
    credential(key_id.expose(), secret.expose(), token).map(Some).map_err(wrong)
}

/// The keys among the environment variables, if there are any. A session token alone says nothing.
pub(super) fn of_environment(env: &Environment) -> Result<Option<AwsCredential>> {
    let (key_id, secret) = match (env.text(KEY_ID)?, env.text(SECRET)?) {
        (Some(key_id), Some(secret)) => (key_id, secret),
        (Some(_), None) => return Err(half(KEY_ID, SECRET)),
        (None, Some(_)) => return Err(half(SECRET, KEY_ID)),
        (None, None) => return Ok(None),
    };
    credential(&key_id, &secret, env.text(TOKEN)?.as_deref())
        .map(Some)
        .map_err(|message| Error::config(format!("{KEY_ID} and {SECRET}: {message}")))
}

/// One half of what comes in pairs. The other is not looked for elsewhere: keys of two sources
/// never belong together.
pub(super) fn half(there: &str, missing: &str) -> Error {
    Error::config(format!("{there} is set, but not {missing}: set both in the same place, or none"))
}
