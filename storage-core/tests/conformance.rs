//! The conformance suite on the memory driver.

use storage_core::{Memory, Storage, async_trait};
use storage_testkit::Harness;

struct InMemory;

#[async_trait]
impl Harness for InMemory {
    async fn storage(&self) -> Storage {
        Memory::storage()
    }

    fn keeps_bodies_in_memory(&self) -> bool {
        true
    }
}

storage_testkit::conformance!(memory, InMemory);
