//! [`releases`]: the releases of a destination.

use std::time::SystemTime;

use storage_core::{Result, Storage};

use super::pointer;

/// The releases of a destination.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Releases {
    /// The current release. `None` before the first publish is complete.
    pub current: Option<CurrentRelease>,
    /// The other releases whose files may still be there. The one that ended last comes first.
    pub previous: Vec<PreviousRelease>,
    /// The release whose publish or rollback ended between two pages, or still runs.
    pub switching: Option<String>,
    /// The publisher that works here, or ended without giving its claim back.
    pub claim: Option<ReleaseClaim>,
}

/// The current release.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CurrentRelease {
    /// The id.
    pub release: String,
    /// When it became current.
    pub since: SystemTime,
}

/// A release that is not current.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PreviousRelease {
    /// The id.
    pub release: String,
    /// When it stopped being current, or when its publish failed.
    pub ended: SystemTime,
    /// Whether its publish ended before it became current.
    pub abandoned: bool,
}

/// The claim of a publisher.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ReleaseClaim {
    /// The name of the publisher.
    pub publisher: String,
    /// When another publisher may take the claim over.
    pub expires: SystemTime,
}

/// Returns the releases of a destination. Reads one document.
///
/// # Errors
/// `Unsupported` for another format, `Integrity` if the pointer is damaged, and errors of the
/// storage.
pub async fn releases(destination: &Storage) -> Result<Releases> {
    let pointer = match pointer::read(destination, None).await {
        Ok(read) => read.pointer,
        Err(error) if error.is_not_found() => return Ok(Releases::default()),
        Err(error) => return Err(error),
    };
    let previous = pointer.previous.into_iter().map(|previous| PreviousRelease {
        release: previous.release,
        ended: previous.ended,
        abandoned: previous.abandoned,
    });
    Ok(Releases {
        current: pointer
            .current
            .map(|current| CurrentRelease { release: current.release, since: current.since }),
        previous: previous.collect(),
        switching: pointer.switching,
        claim: pointer
            .claim
            .map(|claim| ReleaseClaim { publisher: claim.publisher, expires: claim.expires }),
    })
}
