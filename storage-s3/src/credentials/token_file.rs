//! Files that hold a token, which somebody else renews.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::failure::Failure;

/// The most that is read. A token of the largest kind has some 20 KiB.
const MAX_BYTES: u64 = 256 * 1024;

/// The token that a file holds now, without white space around it.
pub(super) async fn read(path: &Path) -> Result<String, Failure> {
    let owned = path.to_owned();
    let read = tokio::task::spawn_blocking(move || contents(&owned)).await;
    let text = read
        .map_err(|_| Failure::new("reading the token did not finish").passing())?
        .map_err(|error| {
            Failure::new(format!("the token file {} cannot be read: {error}", path.display()))
        })?;
    let token = text.trim();
    if token.is_empty() {
        return Err(Failure::new(format!("the token file {} is empty", path.display())));
    }
    Ok(token.to_owned())
}

fn contents(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}
