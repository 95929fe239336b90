//! Storages with many objects, and jobs between them.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use storage_core::{ErrorKind, Memory, Operation, Storage};
use storage_testkit::faults::{Faults, Planned};
use storage_transfer::{Directory, Job, JobSpec, SyncOptions};

/// A lease that expires soon. Tests run with a paused clock where time matters.
pub(crate) const LEASE: Duration = Duration::from_millis(600);

/// A source, a destination and a place for the job.
#[derive(Clone)]
pub(crate) struct Sides {
    pub(crate) source: Storage,
    pub(crate) target: Storage,
    pub(crate) state: Storage,
}

impl Sides {
    pub(crate) fn new() -> Self {
        Self { source: Memory::storage(), target: Memory::storage(), state: Memory::storage() }
    }

    /// Creates a source with this many small objects.
    pub(crate) async fn with_objects(count: usize) -> Self {
        let sides = Self::new();
        let saves = (0..count).map(|number| {
            let key = format!("{:03}/{number:06}", number % 7);
            let save = sides.source.save(key, number.to_string());
            async move { save.await.unwrap() }
        });
        stream::iter(saves).buffer_unordered(64).collect::<Vec<_>>().await;
        sides
    }

    /// Makes the first save of this copy fail.
    pub(crate) fn with_failing_save(self, key: &str) -> (Self, Planned) {
        let faults = Faults::new();
        let save = faults.on(Operation::Save).of(key).call(1);
        let failing = save.fail(ErrorKind::PermissionDenied);
        let target = self.target.layer(|inner| faults.layer(inner));
        (Self { target, ..self }, failing)
    }

    pub(crate) fn from(&self) -> Directory {
        Directory::new(&self.source, "").unwrap()
    }

    pub(crate) fn to(&self) -> Directory {
        Directory::new(&self.target, "copy").unwrap()
    }

    pub(crate) fn at(&self) -> Directory {
        Directory::new(&self.state, "job").unwrap()
    }

    pub(crate) async fn plan(&self, options: &SyncOptions, shards: usize) -> Job {
        self.plan_with_lease(options, shards, LEASE).await
    }

    pub(crate) async fn plan_with_lease(
        &self,
        options: &SyncOptions,
        shards: usize,
        lease: Duration,
    ) -> Job {
        let spec = JobSpec::new("a:", "b:", options).lease(lease);
        let (from, to) = (self.from(), self.to());
        Job::plan(&self.at(), spec, (&from, &to), shards).await.unwrap()
    }

    /// Returns the names of the documents of the job below a directory.
    pub(crate) async fn documents(&self, directory: &str) -> Vec<String> {
        let keys = self.state.list(format!("job/{directory}")).keys().await.unwrap();
        keys.iter().map(ToString::to_string).collect()
    }

    /// Returns the number of unfinished uploads of the destination.
    pub(crate) async fn uploads(&self) -> usize {
        self.target.multipart_uploads("").try_collect::<Vec<_>>().await.unwrap().len()
    }

    /// Asserts that the destination has all that the source has, and nothing else.
    pub(crate) async fn assert_equal(&self) {
        let source = self.source.list("").objects().await.unwrap();
        let target = self.target.list("copy/").objects().await.unwrap();
        let names = |objects: &[storage_core::ObjectEntry], skip: usize| -> Vec<(String, u64)> {
            let name = |object: &storage_core::ObjectEntry| object.key.as_str()[skip..].to_owned();
            objects.iter().map(|object| (name(object), object.size)).collect()
        };
        assert_eq!(names(&source, 0), names(&target, "copy/".len()));
    }
}
