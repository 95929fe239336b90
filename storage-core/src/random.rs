//! Random numbers for delays.

use crate::keys;

/// Returns a random number from 0 to 1, so that the retries of calls that failed together are
/// spread out. Returns 1, for the longest delay, if the system has no random numbers.
#[must_use]
pub fn fraction() -> f64 {
    keys::random_bytes::<2>().map_or(1.0, |bytes| f64::from(u16::from_be_bytes(bytes)) / 65535.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_fractions_differ_and_are_from_0_to_1() {
        let all: Vec<f64> = (0..20).map(|_| fraction()).collect();
        assert!(all.iter().all(|fraction| (0.0..=1.0).contains(fraction)), "{all:?}");
        assert!(all.iter().any(|fraction| *fraction != all[0]), "{all:?}");
    }
}
