//! [`Harness`]: creates the storages of a driver for the suite.

use async_trait::async_trait;
use storage_core::{Key, MultipartLimits, Storage};

/// Makes storages for the suite, and states where a driver differs from others within the contract.
///
/// [`storage`](Self::storage) is required. The suite reads the driver's verbs and modes from its
/// [`Capabilities`](storage_core::Capabilities); the other methods describe what capabilities do
/// not.
///
/// Every case makes its own harness. What the storages need, such as a temporary directory or a
/// server, can therefore be a field of the harness and end with it.
///
/// ```
/// use storage_core::{Memory, Storage, async_trait};
/// use storage_testkit::Harness;
///
/// struct InMemory;
///
/// #[async_trait]
/// impl Harness for InMemory {
///     async fn storage(&self) -> Storage {
///         Memory::storage()
///     }
///
///     fn keeps_bodies_in_memory(&self) -> bool {
///         true
///     }
/// }
/// ```
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// Makes an empty storage that shares nothing with the storages made before. The property test
    /// calls it many times on one harness.
    async fn storage(&self) -> Storage;

    /// Makes the storage under test, and one to fill it through. Override it for a storage that
    /// does not support writes, such as a read-only layer. Defaults to [`storage`](Self::storage)
    /// for both.
    async fn fixture(&self) -> Fixture {
        let storage = self.storage().await;
        Fixture { seed: storage.clone(), storage }
    }

    /// Returns whether the backend cannot store this valid [`Key`], for example because a segment
    /// exceeds the 255 bytes of a file name. A save under it may then fail with `InvalidKey`, and
    /// must store nothing. Defaults to `false`.
    fn rejects_key(&self, _key: &Key) -> bool {
        false
    }

    /// Returns whether `a` and `a/b` cannot both be objects, as on a file system. The second save
    /// then fails with `Conflict` and changes nothing. Defaults to `false`.
    fn is_tree(&self) -> bool {
        false
    }

    /// Returns whether the objects are in the memory of this process, so that a body of 300 MiB
    /// needs as much. Defaults to `false`.
    fn keeps_bodies_in_memory(&self) -> bool {
        false
    }

    /// Makes a storage whose backend fails: it is unreachable, or access to it is denied. The cases
    /// check that the driver does not report a missing object then. Defaults to `None`, which skips
    /// them.
    async fn broken_backend(&self) -> Option<Storage> {
        None
    }

    /// Makes a storage that contains the objects
    /// [`BESIDE_FOLDER_MARKERS`](crate::extra_entries::BESIDE_FOLDER_MARKERS) and the folder
    /// markers [`FOLDER_MARKERS`](crate::extra_entries::FOLDER_MARKERS). Defaults to `None`, for a
    /// backend without folder markers.
    async fn folder_markers(&self) -> Option<Storage> {
        None
    }

    /// Makes a storage that contains the objects
    /// [`AROUND_UNREADABLE_DIRECTORY`](crate::extra_entries::AROUND_UNREADABLE_DIRECTORY) and
    /// cannot read the directory
    /// [`UNREADABLE_DIRECTORY`](crate::extra_entries::UNREADABLE_DIRECTORY) among them. Defaults to
    /// `None`, for a backend where no such directory can be made.
    async fn unreadable_directory(&self) -> Option<Storage> {
        None
    }

    /// Returns what the storage must accept in multipart uploads: through a layer, what the driver
    /// below accepts, and [`MultipartLimits::none`] if it must refuse them. Defaults to `None`,
    /// which compares nothing.
    fn multipart_limits(&self) -> Option<MultipartLimits> {
        None
    }

    /// Returns why a case, such as `"list::all_keys_are_listed_in_byte_order"`, is skipped, in a
    /// few words. The suite prints the reason. Skip a case only because of a known defect of the
    /// server that the tests use, never because of a defect of the driver. Defaults to `None`.
    fn skip_reason(&self, _case: &str) -> Option<&str> {
        None
    }

    /// Returns the maximum number of bytes of one body that the driver may hold at a time. Defaults
    /// to 32 MiB. Override it for a configuration that sends or reads several large parts at once.
    fn max_body_memory(&self) -> u64 {
        32 * 1024 * 1024
    }

    /// Returns passwords, keys and tokens of the configuration. They must not appear in errors or
    /// `Debug` output. Defaults to none.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A storage under test, and a writable one on the same objects.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Fixture {
    /// The storage under test.
    pub storage: Storage,
    /// The storage through which cases save what they read.
    pub seed: Storage,
}

impl Fixture {
    /// Creates a fixture from two storages on the same objects.
    #[must_use]
    pub fn new(storage: Storage, seed: Storage) -> Self {
        Self { storage, seed }
    }
}
