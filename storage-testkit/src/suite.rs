//! [`conformance!`](crate::conformance), which generates a test for each case, and the functions
//! that the tests call.

use std::collections::HashMap;

use crate::case::{Case, Outcome, on_a_runtime};
use crate::cases::cases;
use crate::harness::Harness;
use crate::own_process::in_own_process;
use crate::requirement::Requirement;

/// Generates a module with a `#[test]` for each case of the suite.
///
/// The arguments are the name of the module and an expression of a type that implements
/// [`Harness`](crate::Harness). Each test evaluates the expression once, outside of any runtime.
///
/// The test of a case that does not apply to the driver passes and prints the reason to standard
/// output. The test `skipped_cases_are_named` prints all of them.
///
/// ```
/// use storage_core::{Memory, Storage, async_trait};
///
/// struct InMemory;
///
/// #[async_trait]
/// impl storage_testkit::Harness for InMemory {
///     async fn storage(&self) -> Storage {
///         Memory::storage()
///     }
/// }
///
/// storage_testkit::conformance!(memory, InMemory);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance {
    ($module:ident, $harness:expr $(,)?) => {
        $crate::__all_cases!(__conformance_tests $module, $harness);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ([$module:ident, $harness:expr]
     $($theme:ident { $($case:ident [$($requirement:ident),*];)* })*) => {
        mod $module {
            // The import is unused if the harness expression needs no name of the outer module.
            #[allow(unused_imports)]
            use super::*;

            fn harness() -> impl $crate::Harness {
                $harness
            }

            $(mod $theme {
                $(#[test]
                fn $case() {
                    $crate::check(
                        concat!(module_path!(), "::", stringify!($case)),
                        concat!(stringify!($theme), "::", stringify!($case)),
                        super::harness(),
                    );
                })*
            })*

            #[test]
            fn skipped_cases_are_named() {
                $crate::name_skipped(&harness());
            }
        }
    };
}

/// Returns the case with this name, such as `"save::a_failed_stream_leaves_the_old_object"`.
///
/// # Panics
/// If the suite contains no such case.
#[must_use]
pub fn case(name: &str) -> Case {
    let found = cases().iter().find(|case| case.name == name);
    *found.unwrap_or_else(|| panic!("there is no case {name:?}"))
}

/// Runs one case on a new storage of the harness. Body of the tests that the macro makes. `test` is
/// the full path of the test.
///
/// # Panics
/// If the driver violates the contract.
#[doc(hidden)]
pub fn check(test: &str, name: &str, harness: impl Harness) {
    if case(name).measures_memory() && !harness.keeps_bodies_in_memory() {
        return in_own_process(test, || report(name, harness));
    }
    report(name, harness);
}

fn report(name: &str, harness: impl Harness) {
    let outcome = case(name).run(harness);
    if let Outcome::Failed(reason) = &outcome {
        panic!("{name}: {reason}");
    }
    if let Some(reason) = outcome.skip_reason() {
        print_line(&format!("skipped: {name}: {reason}"));
    }
}

/// Prints the cases that do not apply to a driver. Body of a test that the macro makes.
///
/// # Panics
/// If the harness provides no way to fill the storage: hardly any case applies then.
#[doc(hidden)]
pub fn name_skipped(harness: &impl Harness) {
    let skipped = skipped(harness);
    for (case, outcome) in &skipped {
        let reason = outcome.skip_reason().unwrap_or_default();
        print_line(&format!("skipped: {}: {reason}", case.name()));
    }
    print_line(&format!("{} of {} cases skipped", skipped.len(), cases().len()));
    let is_empty = skipped.iter().any(|(_, it)| *it == Outcome::NotApplicable(Requirement::Seed));
    assert!(!is_empty, "the harness provides no way to fill the storage: see Harness::fixture");
}

/// Returns the cases that do not apply to the storages of the harness, with the reasons.
fn skipped(harness: &impl Harness) -> Vec<(&'static Case, Outcome)> {
    on_a_runtime(async {
        let fixture = harness.fixture().await;
        let mut known: HashMap<Requirement, bool> = HashMap::new();
        let mut skipped = Vec::new();
        for case in cases() {
            if let Some(reason) = harness.skip_reason(case.name) {
                skipped.push((case, Outcome::Skipped(reason.to_owned())));
                continue;
            }
            for requirement in case.requirements {
                let is_met = match known.get(requirement) {
                    Some(is_met) => *is_met,
                    None => requirement.is_met(harness, &fixture).await,
                };
                known.insert(*requirement, is_met);
                if !is_met {
                    skipped.push((case, Outcome::NotApplicable(*requirement)));
                    break;
                }
            }
        }
        skipped
    })
}

// Tests report on standard output.
#[allow(clippy::print_stdout)]
fn print_line(line: &str) {
    println!("{line}");
}
