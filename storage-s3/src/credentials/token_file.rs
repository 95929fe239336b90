//! Files with a token that another process renews.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::error::CredentialError;

/// Upper bound for reading a token, in bytes. The largest tokens have about 20 KiB.
const MAX_BYTES: u64 = 256 * 1024;

/// Returns the token in a file, without surrounding white space.
pub(super) async fn read(path: &Path) -> Result<String, CredentialError> {
    let owned = path.to_owned();
    let read = tokio::task::spawn_blocking(move || contents(&owned)).await;
    let text = read
        .map_err(|_| CredentialError::new("reading the token did not finish").retryable())?
        .map_err(|error| {
            CredentialError::new(format!(
                "the token file {} cannot be read: {error}",
                path.display()
            ))
        })?;
    let token = text.trim();
    if token.is_empty() {
        return Err(CredentialError::new(format!("the token file {} is empty", path.display())));
    }
    Ok(token.to_owned())
}

fn contents(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}
