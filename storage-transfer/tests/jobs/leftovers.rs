//! What an earlier job has left at the place of another one.

use storage_core::{ErrorKind, Memory, Storage};
use storage_transfer::{Directory, Job, JobSpec, SyncOptions};

/// Returns all of a storage.
fn directory(storage: &Storage) -> Directory {
    Directory::new(storage, "").unwrap()
}

#[tokio::test]
async fn a_job_does_not_take_the_shards_of_a_removed_job_for_its_own() {
    let [first, second, target, state] = [(); 4].map(|()| Memory::storage());
    first.save("a", "1").await.unwrap();
    second.save("b", "2").await.unwrap();
    let at = Directory::new(&state, "job").unwrap();
    let (first, target) = (directory(&first), directory(&target));
    let spec = |from: &str| JobSpec::new(from, "target:", &SyncOptions::new());
    let job = Job::plan(&at, spec("first:"), (&first, &target), 4).await.unwrap();
    assert!(job.work(&first, &target).await.unwrap().is_done());
    // A removal that was interrupted: `job.json` is listed before the shards.
    state.delete("job/job.json").await.unwrap();

    let second = directory(&second);
    let error = Job::plan(&at, spec("second:"), (&second, &target), 4).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("another job"), "{error}");
    assert!(!target.storage().exists("b").await.unwrap());
}
