//! Files that an upload has left on the disk, for the tests of servers and applications.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often, and how long each time, [`Leftovers::assert_none`] waits: up to 30 seconds.
const ATTEMPTS: u32 = 600;
const PAUSE: Duration = Duration::from_millis(50);

/// The files below a directory at one time, also those that are not objects.
#[derive(Debug)]
pub struct Leftovers {
    directory: PathBuf,
    before: Vec<PathBuf>,
}

impl Leftovers {
    /// Records the files that are there before the test.
    #[must_use]
    pub fn since_now(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), before: files_below(directory) }
    }

    /// Waits until the same files are there. A blocking write that has begun may end after its
    /// future was dropped, so a file that is there at first is no failure.
    ///
    /// # Panics
    /// If other files are there after 30 seconds.
    pub async fn assert_none(&self) {
        for _ in 0..ATTEMPTS {
            if files_below(&self.directory) == self.before {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        assert_eq!(files_below(&self.directory), self.before);
    }
}

/// Returns the files below a directory, in the order of their names. A directory that is removed
/// meanwhile has none.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    paths.sort_unstable();
    paths
        .into_iter()
        .flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_file_that_stays_is_a_leftover_and_one_that_goes_is_none() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("there"), "").unwrap();
        let leftovers = Leftovers::since_now(directory.path());
        leftovers.assert_none().await;
        std::fs::create_dir(directory.path().join("d")).unwrap();
        leftovers.assert_none().await;
        let file = directory.path().join("d/new");
        std::fs::write(&file, "").unwrap();
        let goes = async {
            tokio::time::sleep(PAUSE).await;
            std::fs::remove_file(&file).unwrap();
        };
        tokio::join!(goes, leftovers.assert_none());
        std::fs::write(&file, "").unwrap();
        let stays = tokio::spawn(async move { leftovers.assert_none().await });
        assert!(stays.await.unwrap_err().is_panic());
    }
}
