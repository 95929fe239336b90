//! Sizes for people: `1.5 KiB`, and sizes of options.

/// Returns a size with a unit of powers of 1024, and one decimal from 1 KiB on.
pub(crate) fn human(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, "KiB");
    for larger in ["MiB", "GiB", "TiB", "PiB", "EiB"] {
        // A value that would be rounded to 1024.0 gets the larger unit.
        if value < 1023.95 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    format!("{value:.1} {unit}")
}

/// Reads a size as in configurations: `10MiB`.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    anystorage::config::byte_size::parse(text)
        .ok_or_else(|| "write a number of bytes, as in 8388608, 10MiB or 1GB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn a_size_has_the_largest_unit_of_which_there_is_one() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_048_575, "1.0 MiB"),
            (20 << 20, "20.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(human(bytes), shown);
        }
    }
}
