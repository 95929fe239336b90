//! Compares a driver with the memory driver, the model of the contract, on random sequences of
//! operations.
//!
//! A sequence contains saves in every mode, opens with ranges and conditions, copies, renames,
//! deletes, listings and multipart uploads, in any order, on a few keys with unusual names. After
//! each step both drivers must return the same: results, error kinds, bodies, metadata, listings.
//! If they differ, the test shortens the sequence as far as possible and prints it.
//!
//! The suite runs 48 sequences. [`agrees_with_memory`] runs any number:
//!
//! ```
//! # use storage_core::{Memory, Storage, async_trait};
//! # struct InMemory;
//! # #[async_trait]
//! # impl storage_testkit::Harness for InMemory {
//! #     async fn storage(&self) -> Storage { Memory::storage() }
//! # }
//! storage_testkit::property::agrees_with_memory(InMemory, 20);
//! ```

mod compare;
mod step;
mod uploads;

use std::sync::Arc;

use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use storage_core::Memory;
use tokio::runtime::Handle;

use crate::case::{Checked, Failure, on_a_runtime};
use crate::harness::Harness;
use crate::kit::Kit;
use compare::Pair;
use step::Step;

/// Number of sequences that the suite runs.
const SEQUENCES: u32 = 48;

/// Upper bound for the number of steps of a sequence.
const MAX_STEPS: usize = 60;

/// Runs random sequences of operations on new storages of the harness and on the memory driver.
///
/// # Panics
/// If the two differ, with the shortest sequence found that shows the difference. Also if it is
/// called from within a Tokio runtime, because it starts its own.
pub fn agrees_with_memory(harness: impl Harness, sequences: u32) {
    let harness: Arc<dyn Harness> = Arc::new(harness);
    if let Err(failure) = on_a_runtime(run(harness, sequences)) {
        panic!("{failure}");
    }
}

pub(crate) async fn random_operations_agree_with_the_memory_driver(kit: &Kit) -> Checked {
    run(Arc::clone(&kit.harness), SEQUENCES).await
}

/// Runs the sequences on a thread of the blocking pool, because the runner of proptest blocks.
async fn run(harness: Arc<dyn Harness>, sequences: u32) -> Checked {
    let runtime = Handle::current();
    let tried = tokio::task::spawn_blocking(move || {
        let config = Config { cases: sequences, failure_persistence: None, ..Config::default() };
        let steps = proptest::collection::vec(step::any(), 1..=MAX_STEPS);
        TestRunner::new(config).run(&steps, |steps| {
            runtime
                .block_on(try_steps(&*harness, &steps))
                .map_err(|failure| TestCaseError::fail(failure.to_string()))
        })
    });
    match tried.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(TestError::Fail(reason, steps))) => {
            Err(Failure::new(format!("{reason}\nafter these steps: {steps:#?}")))
        }
        Ok(Err(TestError::Abort(reason))) => {
            Err(Failure::new(format!("no sequences to try: {reason}")))
        }
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

async fn try_steps(harness: &dyn Harness, steps: &[Step]) -> Checked {
    let pair = Pair::new(harness, harness.fixture().await.storage, Memory::storage());
    for (number, step) in steps.iter().enumerate() {
        pair.take(step)
            .await
            .map_err(|failure| failure.within(&format!("step {number}, {step:?}")))?;
    }
    pair.are_the_same().await
}
