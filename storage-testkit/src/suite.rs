//! The macro that makes a test of every case, and what those tests call.

use crate::alone::alone;
use crate::case::{Case, Verdict};
use crate::cases::cases;
use crate::harness::Harness;
use crate::need::Need;

/// Makes a module of tests out of the suite: one `#[test]` for every case, named as a sentence.
///
/// The second argument is an expression of a type that implements [`Harness`](crate::Harness). It
/// is evaluated once in each test, outside of any runtime. A case that does not apply to the driver
/// says so on standard output (`cargo test -- --nocapture` shows it); the test
/// `skipped_cases_are_named` tells all of them at once.
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
    ([$module:ident, $harness:expr] $($theme:ident { $($case:ident [$($need:ident),*];)* })*) => {
        mod $module {
            // The harness expression may well need nothing from around it.
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

/// The case of this name.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn case(name: &str) -> Case {
    let found = cases().iter().find(|case| case.name == name);
    *found.unwrap_or_else(|| panic!("there is no case {name:?}"))
}

/// Tries one case on a fresh storage of the harness: the body of the tests that the macro makes.
/// `test` is the full path of the test.
#[doc(hidden)]
pub fn check(test: &str, name: &str, harness: impl Harness) {
    if case(name).measures_memory() && !harness.keeps_bodies_in_memory() {
        return alone(test, || report(name, harness));
    }
    report(name, harness);
}

fn report(name: &str, harness: impl Harness) {
    let verdict = case(name).verdict(harness);
    if let Verdict::Failed(reason) = &verdict {
        panic!("{name}: {reason}");
    }
    if let Some(reason) = verdict.reason_to_skip() {
        say(&format!("skipped: {name}: {reason}"));
    }
}

/// Tells which cases do not apply to a driver: the body of a test that the macro makes.
///
/// # Panics
/// If the harness gives no way to fill the storage, since hardly a case applies then and nothing is
/// proved.
#[doc(hidden)]
pub fn name_skipped(harness: &impl Harness) {
    let skipped = crate::case::skipped(harness);
    for (case, verdict) in &skipped {
        say(&format!("skipped: {}: {}", case.name(), verdict.reason_to_skip().unwrap_or_default()));
    }
    say(&format!("{} of {} cases skipped", skipped.len(), cases().len()));
    let is_empty = skipped.iter().any(|(_, verdict)| *verdict == Verdict::Skipped(Need::Seed));
    assert!(!is_empty, "the harness gives no way to fill the storage: see Harness::fixture");
}

// A skipped case that nobody sees is a hole in the proof, and tests speak on standard output.
#[allow(clippy::print_stdout)]
fn say(line: &str) {
    println!("{line}");
}
