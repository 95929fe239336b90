//! Times in the documents of S3 and of the services that return credentials (RFC 3339).

use std::time::SystemTime;

use storage_core::internal::parse_rfc3339;

/// Parses a time with `Z` or another offset from UTC. Returns `None` for any other text.
pub(crate) fn parse_time(text: &str) -> Option<SystemTime> {
    parse_rfc3339(text).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_time_with_any_offset_is_parsed() {
        let time = UNIX_EPOCH + Duration::from_millis(1_796_083_200_500);
        for text in [
            "2026-12-01T00:00:00.5Z",
            "2026-12-01T00:00:00.500+00:00",
            "2026-12-01T01:00:00.500+01:00",
            "2026-11-30T18:30:00.5-05:30",
            "2026-12-01 00:00:00.5Z",
        ] {
            assert_eq!(parse_time(text), Some(time), "{text}");
        }
    }

    #[test]
    fn a_text_without_an_offset_is_no_time() {
        for text in ["", "2026-12-01", "2026-12-01T00:00:00", "1796083200", "2026-13-01T00:00:00Z"]
        {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
