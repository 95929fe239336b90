//! [`Harness`]: what a driver's author tells the suite.

use async_trait::async_trait;
use storage_core::{Key, Storage};

/// Makes storages for the suite to try, and says where a driver may differ from others.
///
/// One method is required. The others tell of what the contract leaves to the driver; which verbs
/// and modes it has, the suite reads from [`Capabilities`](storage_core::Capabilities).
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
///
/// Every case makes a harness of its own, so whatever the storages need (a temporary directory, a
/// server) can live in the harness and end with it.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// A fresh, empty storage that shares nothing with those made before. The property test asks a
    /// harness for many.
    async fn storage(&self) -> Storage;

    /// The storage under test together with one to fill it through. They differ for a storage that
    /// cannot be written to: a read-only layer, a mirror.
    async fn fixture(&self) -> Fixture {
        let storage = self.storage().await;
        Fixture { seed: storage.clone(), storage }
    }

    /// Whether the backend cannot hold this key, though it obeys the rules of [`Key`]: a segment of
    /// more than 255 bytes on a file system, say. A save under it may then be `InvalidKey`, and
    /// nothing may be stored.
    fn refuses(&self, _key: &Key) -> bool {
        false
    }

    /// Whether `a` and `a/b` cannot both be objects, as on a file system. The second save is then
    /// `Conflict` and changes nothing.
    fn is_tree(&self) -> bool {
        false
    }

    /// Whether objects live in this process, so that a 300 MiB one is bound to take its memory.
    fn keeps_bodies_in_memory(&self) -> bool {
        false
    }

    /// A storage whose backend cannot be reached, is not allowed to be read, or fails otherwise: to
    /// prove that `exists` does not take trouble for absence.
    async fn broken_backend(&self) -> Option<Storage> {
        None
    }

    /// Makes a storage that holds the objects
    /// [`BESIDE_FOLDER_MARKERS`](crate::foreign::BESIDE_FOLDER_MARKERS) and the folder markers
    /// [`FOLDER_MARKERS`](crate::foreign::FOLDER_MARKERS), or returns `None` if the backend has
    /// none.
    async fn folder_markers(&self) -> Option<Storage> {
        None
    }

    /// Makes a storage that holds the objects
    /// [`AROUND_UNREADABLE_DIRECTORY`](crate::foreign::AROUND_UNREADABLE_DIRECTORY), of which the
    /// directory [`UNREADABLE_DIRECTORY`](crate::foreign::UNREADABLE_DIRECTORY) cannot be read, or
    /// returns `None` if there is no way to make one.
    async fn unreadable_directory(&self) -> Option<Storage> {
        None
    }

    /// Why a case cannot hold here, though the driver does what it should: a known fault of the
    /// server that the tests run against, in a few words. The case
    /// (`"list::all_keys_come_in_byte_order"`) is then skipped, by name and with the reason. Not
    /// for faults of the driver.
    fn excuses(&self, _case: &str) -> Option<&str> {
        None
    }

    /// The most bytes of one body that the driver may hold at a time: more than the 32 MiB that do
    /// for most if it sends or reads several large parts at once, as it is configured.
    fn holds_at_most(&self) -> u64 {
        32 * 1024 * 1024
    }

    /// Texts that the storage was configured with and that must not show in errors or `Debug`
    /// output: passwords, keys, tokens.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A storage under test, and one that shows the same objects and can be written to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Fixture {
    /// The storage under test.
    pub storage: Storage,
    /// What saved through this one must be found in `storage`.
    pub seed: Storage,
}

impl Fixture {
    /// Two handles on the same objects.
    #[must_use]
    pub fn new(storage: Storage, seed: Storage) -> Self {
        Self { storage, seed }
    }
}
