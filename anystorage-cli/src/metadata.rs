//! The options of `cp` and `mv` about metadata: what the copy has where the source's cannot be kept
//! as it is.

use anystorage::{Error, ErrorKind, Metadata, Result};

use crate::exit::say;
use crate::progress::Progress;

/// What to do with the source's metadata.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct MetadataArgs {
    /// Content-Type of the copy, in place of the source's
    #[arg(long, value_name = "T", value_parser = content_type)]
    content_type: Option<String>,
    /// Metadata that is invalid (Content-Type: jpg): keep, which is an error if it cannot be kept,
    /// or drop-invalid
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value = "keep",
        hide_possible_values = true
    )]
    metadata: Invalid,
}

/// What to do with metadata that another program stored and no storage here may keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Invalid {
    /// Fail, and name the options.
    #[default]
    Keep,
    /// Leave out the invalid fields, and name them.
    DropInvalid,
}

impl MetadataArgs {
    /// Returns the metadata of a copy of standard input, which has none of its own.
    pub(crate) fn of_new(&self) -> Metadata {
        let mut metadata = Metadata::new();
        metadata.content_type.clone_from(&self.content_type);
        metadata
    }

    /// Returns whether a copy would have other metadata than its source, so that a storage cannot
    /// simply keep it.
    pub(crate) fn would_change(&self, source: &Metadata) -> bool {
        let other_type = self.content_type.is_some() && self.content_type != source.content_type;
        other_type
            || (self.metadata == Invalid::DropInvalid && !source.clone().valid_part().1.is_empty())
    }

    /// Returns the copy's metadata. Names on standard error what is dropped.
    ///
    /// # Errors
    /// `InvalidInput` if a field is invalid and no option decides about it.
    pub(crate) fn of_copy(
        &self,
        place: &str,
        source: &Metadata,
        progress: &Progress,
    ) -> Result<Metadata> {
        let mut wanted = source.clone();
        if self.content_type.is_some() {
            wanted.content_type.clone_from(&self.content_type);
        }
        let (valid, refused) = wanted.valid_part();
        match self.metadata {
            Invalid::Keep => refused.first().map_or(Ok(valid), |error| Err(not_kept(error))),
            Invalid::DropInvalid => {
                for error in &refused {
                    progress.suspend(|| {
                        say(&format!("{place}: dropped from the metadata: {}", error.message()))
                    });
                }
                Ok(valid)
            }
        }
    }
}

fn not_kept(error: &Error) -> Error {
    let options = match error.message().starts_with("content_type: ") {
        true => "--content-type sets another, --metadata drop-invalid leaves invalid fields out",
        false => "--metadata drop-invalid leaves invalid fields out",
    };
    let message = format!("the source's metadata is invalid: {}; {options}", error.message());
    Error::new(ErrorKind::InvalidInput, message)
}

fn content_type(text: &str) -> Result<String, String> {
    let checked = Metadata::new().content_type(text).validated();
    checked.map(|_| text.to_owned()).map_err(|error| error.message().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalid() -> Metadata {
        Metadata::new()
            .content_type("jpg")
            .content_disposition("attachment; filename=é.jpg")
            .cache_control("no-store")
    }

    fn copied(arguments: &MetadataArgs) -> Result<Metadata> {
        arguments.of_copy("a", &invalid(), &Progress::bytes(false, None))
    }

    #[test]
    fn invalid_metadata_is_an_error_that_names_the_options() {
        let said = copied(&MetadataArgs::default()).unwrap_err().to_string();
        assert!(said.contains("content_type: ") && said.contains("--content-type"), "{said}");
        assert!(said.contains("--metadata drop-invalid"), "{said}");
        let typed =
            MetadataArgs { content_type: Some("image/jpeg".to_owned()), ..MetadataArgs::default() };
        let said = copied(&typed).unwrap_err().to_string();
        assert!(
            said.contains("content_disposition: ") && !said.contains("--content-type"),
            "{said}"
        );
    }

    #[test]
    fn dropping_keeps_what_is_valid() {
        let mut arguments = MetadataArgs { content_type: None, metadata: Invalid::DropInvalid };
        assert_eq!(copied(&arguments).unwrap(), Metadata::new().cache_control("no-store"));
        arguments.content_type = Some("image/jpeg".to_owned());
        assert_eq!(copied(&arguments).unwrap().content_type.as_deref(), Some("image/jpeg"));
    }

    #[test]
    fn a_storage_may_keep_the_metadata_itself_unless_an_option_changes_it() {
        assert!(!MetadataArgs::default().would_change(&invalid()));
        let dropping = MetadataArgs { content_type: None, metadata: Invalid::DropInvalid };
        assert!(dropping.would_change(&invalid()) && !dropping.would_change(&Metadata::new()));
        let typed =
            MetadataArgs { content_type: Some("text/css".to_owned()), ..MetadataArgs::default() };
        assert!(typed.would_change(&Metadata::new()));
        assert!(!typed.would_change(&Metadata::new().content_type("text/css")));
    }
}
