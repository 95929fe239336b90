//! [`Hashers`]: all checksums of one payload, computed in one pass.

use crate::checksum::{ChecksumAlgorithm, Checksums};
use crate::error::Result;

/// Computes one checksum for each algorithm.
#[cfg(feature = "checksums")]
#[derive(Debug)]
pub(crate) struct Hashers(Vec<crate::hasher::Hasher>);

#[cfg(feature = "checksums")]
impl Hashers {
    pub(crate) fn new(algorithms: Vec<ChecksumAlgorithm>) -> Self {
        Self(algorithms.into_iter().map(crate::hasher::Hasher::new).collect())
    }

    pub(crate) fn update(&mut self, chunk: &[u8]) -> Result<()> {
        self.0.iter_mut().for_each(|hasher| hasher.update(chunk));
        Ok(())
    }

    pub(crate) fn finish(&mut self) -> Result<Checksums> {
        Ok(self.0.drain(..).map(crate::hasher::Hasher::finish).collect())
    }
}

/// Computes nothing, and fails if a checksum is required.
#[cfg(not(feature = "checksums"))]
#[derive(Debug)]
pub(crate) struct Hashers(Vec<ChecksumAlgorithm>);

#[cfg(not(feature = "checksums"))]
impl Hashers {
    pub(crate) fn new(algorithms: Vec<ChecksumAlgorithm>) -> Self {
        Self(algorithms)
    }

    pub(crate) fn update(&mut self, _chunk: &[u8]) -> Result<()> {
        self.finish().map(drop)
    }

    pub(crate) fn finish(&mut self) -> Result<Checksums> {
        match self.0.first() {
            None => Ok(Checksums::new()),
            Some(algorithm) => Err(crate::error::Error::unsupported(format!(
                "this program is built without checksums, so {algorithm} cannot be computed; enable \
                 the feature \"checksums\""
            ))),
        }
    }
}
