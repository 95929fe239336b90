//! The options of `cp` and `mv` for the metadata of the copy.

use anystorage::transfer::LostMetadata;
use anystorage::{Error, ErrorKind, Metadata};

use crate::exit::print_line;
use crate::progress::Progress;

/// How a copy gets its metadata.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct MetadataArgs {
    /// Content-Type of the copy; defaults to that of the source
    #[arg(long, value_name = "T", value_parser = content_type)]
    content_type: Option<String>,
    /// What to do with invalid metadata (Content-Type: jpg): keep, which is an error if the
    /// destination cannot keep it, or drop-invalid
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value = "keep",
        hide_possible_values = true
    )]
    metadata: InvalidMetadata,
}

/// What to do with metadata that another program stored and that the contract rejects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum InvalidMetadata {
    /// Fail with an error that names the options.
    #[default]
    Keep,
    /// Leave out the invalid fields, and report them.
    DropInvalid,
}

impl MetadataArgs {
    /// Returns the metadata of a copy of standard input.
    pub(crate) fn for_new(&self) -> Metadata {
        let mut metadata = Metadata::new();
        metadata.content_type.clone_from(&self.content_type);
        metadata
    }

    /// Whether the metadata of a copy differs from that of its source.
    pub(crate) fn would_change(&self, source: &Metadata) -> bool {
        let other_type = self.content_type.is_some() && self.content_type != source.content_type;
        other_type
            || (self.metadata == InvalidMetadata::DropInvalid
                && !source.clone().valid_part().1.is_empty())
    }

    /// Whether a copy keeps the metadata of its source as it is, so that it need not be read.
    pub(crate) fn keeps_all(&self) -> bool {
        self.content_type.is_none() && self.metadata == InvalidMetadata::Keep
    }

    /// Returns the metadata that a copy should have.
    pub(crate) fn of_copy(&self, source: &Metadata) -> Metadata {
        let mut wanted = source.clone();
        if self.content_type.is_some() {
            wanted.content_type.clone_from(&self.content_type);
        }
        wanted
    }

    /// Returns what happens with metadata that the destination cannot keep.
    pub(crate) fn lost(&self) -> LostMetadata {
        match self.metadata {
            InvalidMetadata::Keep => LostMetadata::Fail,
            InvalidMetadata::DropInvalid => LostMetadata::DropAndReport,
        }
    }

    /// Adds the options to the error of a copy that failed because of an invalid field.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let keeps_fields = self.metadata == InvalidMetadata::Keep;
        if keeps_fields && error.kind() == ErrorKind::InvalidInput && is_refused_field(&error) {
            return invalid_metadata_error(&error);
        }
        error
    }
}

/// Prints the fields that a copy of this place drops.
pub(crate) fn print_dropped(place: &str, dropped: &[Error], progress: &Progress) {
    for error in dropped {
        progress.suspend(|| {
            print_line(&format!("{place}: dropped from the metadata: {}", error.message()));
        });
    }
}

/// Whether the transfer engine refused a field of metadata. Its message then begins with the name.
pub(crate) fn is_refused_field(error: &Error) -> bool {
    const FIELDS: [&str; 7] = [
        "content_type",
        "content_encoding",
        "content_disposition",
        "content_language",
        "cache_control",
        "expires",
        "user_metadata",
    ];
    let field = error.message().split_once(": ").map_or("", |(field, _)| field);
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported)
        && FIELDS.contains(&field)
}

fn invalid_metadata_error(error: &Error) -> Error {
    let options = match error.message().starts_with("content_type: ") {
        true => "--content-type replaces it, --metadata drop-invalid drops invalid fields",
        false => "--metadata drop-invalid drops invalid fields",
    };
    let message = format!("the metadata of the source is invalid: {}; {options}", error.message());
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

    fn explained(arguments: &MetadataArgs) -> String {
        let refused = arguments.of_copy(&invalid()).valid_part().1.swap_remove(0);
        arguments.explain(refused).to_string()
    }

    #[test]
    fn invalid_metadata_is_an_error_that_names_the_options() {
        let error = explained(&MetadataArgs::default());
        assert!(error.contains("content_type: ") && error.contains("--content-type"), "{error}");
        assert!(error.contains("--metadata drop-invalid"), "{error}");
        let typed =
            MetadataArgs { content_type: Some("image/jpeg".to_owned()), ..MetadataArgs::default() };
        let error = explained(&typed);
        assert!(
            error.contains("content_disposition: ") && !error.contains("--content-type"),
            "{error}"
        );
    }

    #[test]
    fn another_error_is_not_explained_by_the_metadata() {
        let full = Error::new(ErrorKind::StorageFull, "full");
        assert_eq!(MetadataArgs::default().explain(full).message(), "full");
        let other = Error::new(ErrorKind::InvalidInput, "no field: invalid");
        assert_eq!(MetadataArgs::default().explain(other).message(), "no field: invalid");
    }

    #[test]
    fn only_options_that_take_effect_change_the_metadata() {
        assert!(!MetadataArgs::default().would_change(&invalid()));
        let dropping = MetadataArgs { content_type: None, metadata: InvalidMetadata::DropInvalid };
        assert!(dropping.would_change(&invalid()) && !dropping.would_change(&Metadata::new()));
        let typed =
            MetadataArgs { content_type: Some("text/css".to_owned()), ..MetadataArgs::default() };
        assert!(typed.would_change(&Metadata::new()));
        assert!(!typed.would_change(&Metadata::new().content_type("text/css")));
    }
}
