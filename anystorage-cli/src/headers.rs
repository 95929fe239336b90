//! The options of `put` and `meta set` for the headers and the user metadata of objects.

use std::time::SystemTime;

use anystorage::Metadata;

/// The headers and the user metadata to set.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct HeaderArgs {
    /// Content-Type; put guesses it from the name and the first bytes if this is not set
    #[arg(long, value_name = "T")]
    content_type: Option<String>,
    /// Cache-Control
    #[arg(long, value_name = "C")]
    cache_control: Option<String>,
    /// Content-Encoding of content that is already encoded
    #[arg(long, value_name = "E")]
    content_encoding: Option<String>,
    /// Content-Disposition
    #[arg(long, value_name = "D")]
    content_disposition: Option<String>,
    /// Content-Language
    #[arg(long, value_name = "L")]
    content_language: Option<String>,
    /// Expires: an HTTP date or an RFC 3339 time
    #[arg(long, value_name = "DATE", value_parser = time)]
    expires: Option<SystemTime>,
    /// User metadata, a name and a value; may be repeated
    #[arg(long, value_name = "K=V", value_parser = pair)]
    meta: Vec<(String, String)>,
}

impl HeaderArgs {
    /// Returns the fields that are set, unchecked.
    pub(crate) fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::new();
        metadata.content_type.clone_from(&self.content_type);
        metadata.cache_control.clone_from(&self.cache_control);
        metadata.content_encoding.clone_from(&self.content_encoding);
        metadata.content_disposition.clone_from(&self.content_disposition);
        metadata.content_language.clone_from(&self.content_language);
        metadata.expires = self.expires;
        for (name, value) in &self.meta {
            metadata = metadata.user(name, value);
        }
        metadata
    }
}

fn time(text: &str) -> Result<SystemTime, String> {
    anystorage::parse_time(text).map_err(|error| error.message().to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| "write NAME=VALUE".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}
