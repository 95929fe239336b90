//! An object whose metadata a test decides: weak ETags, invalid headers, versions that follow one
//! another.

use bytes::Bytes;
use storage_core::{Key, ObjectMeta, Storage};
use storage_testkit::scripted::{BodyKind, Scripted};

/// A version of the one object, `a.txt`.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) meta: ObjectMeta,
    pub(crate) bytes: Bytes,
}

impl Version {
    pub(crate) fn new(bytes: impl Into<Bytes>, set: impl FnOnce(&mut ObjectMeta)) -> Self {
        let bytes = bytes.into();
        let mut meta = ObjectMeta::new(Key::new("a.txt").unwrap(), bytes.len() as u64);
        set(&mut meta);
        Self { meta, bytes }
    }
}

/// Creates a storage whose object is the first version at the first `stat` or `open`, the second
/// one at the next, and so on.
pub(crate) fn scripted(versions: impl IntoIterator<Item = Version>) -> Storage {
    let versions = versions.into_iter().map(|version| (version.meta, version.bytes));
    let driver = Scripted::with_versions(versions);
    driver.bodies_are(BodyKind::Memory);
    Storage::new(driver)
}
