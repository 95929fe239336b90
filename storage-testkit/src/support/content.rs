//! Bytes that identify their position.

use bytes::Bytes;

/// Returns `len` bytes with a period that no buffer size divides, so that misplaced bytes are
/// detected. Another `seed` results in other bytes at every position.
pub(crate) fn pattern(seed: u8, len: usize) -> Bytes {
    const PERIOD: usize = 251;
    let period: Vec<u8> =
        (0..PERIOD).map(|at| (at as u8).wrapping_mul(7).wrapping_add(seed)).collect();
    let mut bytes = period.repeat(len / PERIOD + 1);
    bytes.truncate(len);
    bytes.into()
}

/// Asserts that two long bodies are the same, without printing them.
#[track_caller]
pub(crate) fn assert_same(found: &[u8], expected: &[u8]) {
    if found == expected {
        return;
    }
    let differs = found
        .iter()
        .zip(expected)
        .position(|(a, b)| a != b)
        .unwrap_or(found.len().min(expected.len()));
    panic!(
        "the bytes differ from position {differs}: {} bytes found, {} expected",
        found.len(),
        expected.len()
    );
}
