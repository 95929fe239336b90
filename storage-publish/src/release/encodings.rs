//! [`Encoding`]: the precompressed forms of a file, and which files are worth compressing.

use std::fmt;
use std::io::Write;

use flate2::{Compression, GzBuilder};
use serde::{Deserialize, Serialize};
use storage_core::{Error, Result};

/// The largest share of the plain size that a precompressed form may have, in percent.
const MAX_PERCENT: u64 = 95;

/// The largest window of brotli, as a power of two: 2 MiB. That of Zstandard is twice as large. A
/// larger one makes few files smaller, and a compressor allocates many times its window.
const MAX_WINDOW_LOG: u32 = 21;

/// The largest file in bytes that is compressed. It is held in memory meanwhile.
pub(crate) const MAX_ENCODED_FILE: u64 = 32 * 1024 * 1024;

/// A content coding (RFC 9110, section 8.4.1) in which a file is stored beside its plain form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Encoding {
    /// Brotli (RFC 7932), quality 11. Needs the feature `brotli`.
    #[serde(rename = "br")]
    Brotli,
    /// Gzip (RFC 1952), level 9, without a time, so that equal bytes have an equal form.
    #[serde(rename = "gzip")]
    Gzip,
    /// Zstandard (RFC 8878), level 19. Needs the feature `zstd`.
    #[serde(rename = "zstd")]
    Zstd,
}

impl Encoding {
    /// All encodings.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Gzip, Self::Zstd];

    /// Returns the name of the content coding: `"br"`, `"gzip"` or `"zstd"`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Returns the suffix of the sibling's name: `".br"`, `".gz"` or `".zst"`.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }

    /// Fails with `Unsupported` if this build has no compressor for the encoding.
    pub(crate) fn check_built(self) -> Result<()> {
        let is_built = match self {
            Self::Gzip => true,
            Self::Brotli => cfg!(feature = "brotli"),
            Self::Zstd => cfg!(feature = "zstd"),
        };
        if is_built {
            return Ok(());
        }
        let feature = if self == Self::Brotli { "brotli" } else { "zstd" };
        Err(Error::unsupported(format!(
            "this program is built without the encoding {self}: remove it from `encodings`, or \
             enable the feature {feature:?} of storage-publish"
        )))
    }

    /// Returns how much memory in bytes compressing a file of this size takes, beside the plain and
    /// the encoded bytes. Measured with the compressors that this crate uses.
    pub(crate) fn working_memory(self, size: u64) -> u64 {
        let window = 1 << window_log(size);
        match self {
            Self::Gzip => 1024 * 1024,
            Self::Brotli => 32 * window,
            Self::Zstd => 16 * window,
        }
    }

    /// Compresses bytes. Blocks for a time that grows with their number.
    ///
    /// # Errors
    /// `Unsupported` if the feature of the encoding is disabled.
    pub(crate) fn encode(self, plain: &[u8]) -> Result<Vec<u8>> {
        self.check_built()?;
        match self {
            Self::Gzip => gzip(plain),
            Self::Brotli => brotli(plain),
            Self::Zstd => zstd(plain),
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Returns whether a precompressed form is small enough to be kept.
pub(crate) fn is_worthwhile(plain: u64, encoded: u64) -> bool {
    u128::from(encoded) * 100 < u128::from(plain) * u128::from(MAX_PERCENT)
}

/// Returns whether files of a content type usually become smaller. Images, sounds, videos, archives
/// and WOFF fonts are compressed already.
pub(crate) fn is_compressible(content_type: &str) -> bool {
    const PLAIN_IMAGES: [&str; 4] =
        ["image/svg+xml", "image/bmp", "image/x-icon", "image/vnd.microsoft.icon"];
    const COMPRESSED: [&str; 14] = [
        "application/epub+zip",
        "application/font-woff",
        "application/gzip",
        "application/java-archive",
        "application/pdf",
        "application/vnd.rar",
        "application/x-7z-compressed",
        "application/x-bzip2",
        "application/x-gzip",
        "application/x-xz",
        "application/zip",
        "application/zstd",
        "font/woff",
        "font/woff2",
    ];
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.split_once('/') {
        Some(("image", _)) => PLAIN_IMAGES.contains(&essence.as_str()),
        Some(("audio" | "video", _)) => false,
        _ => !COMPRESSED.contains(&essence.as_str()),
    }
}

/// Returns the window for a file of this size as a power of two: at least 64 KiB.
fn window_log(size: u64) -> u32 {
    (u64::BITS - size.leading_zeros()).clamp(16, MAX_WINDOW_LOG)
}

fn gzip(plain: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::new(9));
    encoder.write_all(plain)?;
    Ok(encoder.finish()?)
}

#[cfg(feature = "brotli")]
fn brotli(plain: &[u8]) -> Result<Vec<u8>> {
    let params = brotli::enc::BrotliEncoderParams {
        quality: 11,
        lgwin: window_log(plain.len() as u64).cast_signed(),
        size_hint: plain.len(),
        ..Default::default()
    };
    let mut encoded = Vec::new();
    brotli::BrotliCompress(&mut &plain[..], &mut encoded, &params)?;
    Ok(encoded)
}

#[cfg(not(feature = "brotli"))]
fn brotli(_plain: &[u8]) -> Result<Vec<u8>> {
    Err(Error::unsupported("this program is built without brotli"))
}

/// Level 19 with smaller tables. Browsers must support a window of 8 MiB (RFC 9659, section 3).
#[cfg(feature = "zstd")]
fn zstd(plain: &[u8]) -> Result<Vec<u8>> {
    use zstd::zstd_safe::CParameter::{ChainLog, HashLog, WindowLog};
    let mut compressor = zstd::bulk::Compressor::new(19)?;
    let tables = [ChainLog(MAX_WINDOW_LOG + 1), HashLog(MAX_WINDOW_LOG)];
    for parameter in [WindowLog(MAX_WINDOW_LOG + 1)].into_iter().chain(tables) {
        compressor.set_parameter(parameter)?;
    }
    Ok(compressor.compress(plain)?)
}

#[cfg(not(feature = "zstd"))]
fn zstd(_plain: &[u8]) -> Result<Vec<u8>> {
    Err(Error::unsupported("this program is built without zstd"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_gzip_form_has_no_time_and_expands_to_the_plain_bytes() {
        let plain = b"body { color: red }".repeat(100);
        let encoded = Encoding::Gzip.encode(&plain).unwrap();
        assert_eq!(&encoded[4..8], [0; 4], "RFC 1952, section 2.3.1: MTIME");
        assert_eq!(encoded, Encoding::Gzip.encode(&plain).unwrap());
        let mut expanded = Vec::new();
        flate2::read::GzDecoder::new(&encoded[..]).read_to_end(&mut expanded).unwrap();
        assert_eq!(expanded, plain);
    }

    #[test]
    #[cfg(feature = "brotli")]
    fn a_brotli_form_expands_to_the_plain_bytes() {
        for size in [0, 1, 100_000] {
            let plain = b"a{b:c}".repeat(size);
            let encoded = Encoding::Brotli.encode(&plain).unwrap();
            let mut expanded = Vec::new();
            brotli::BrotliDecompress(&mut &encoded[..], &mut expanded).unwrap();
            assert_eq!(expanded, plain);
        }
    }

    #[test]
    #[cfg(feature = "zstd")]
    fn a_zstd_form_expands_to_the_plain_bytes() {
        let plain = b"a{b:c}".repeat(10_000);
        let encoded = Encoding::Zstd.encode(&plain).unwrap();
        assert_eq!(zstd::bulk::decompress(&encoded, plain.len()).unwrap(), plain);
    }

    #[test]
    fn a_form_is_kept_only_below_95_percent_of_the_plain_size() {
        assert!(is_worthwhile(100, 94));
        assert!(!is_worthwhile(100, 95));
        assert!(!is_worthwhile(0, 0));
        assert!(!is_worthwhile(u64::MAX, u64::MAX));
    }

    #[test]
    fn types_that_are_compressed_already_are_not_compressed_again() {
        for kind in ["image/png", "video/mp4", "font/woff2", "application/zip", "IMAGE/JPEG"] {
            assert!(!is_compressible(kind), "{kind}");
        }
        for kind in ["text/css; charset=utf-8", "image/svg+xml", "application/wasm", "font/ttf"] {
            assert!(is_compressible(kind), "{kind}");
        }
    }
}
