//! [`Process`]: finds out that the process of another worker has ended, so that a worker on the same
//! machine need not wait for its lease.

use std::fs;
use std::io::ErrorKind;

/// A process of a machine that runs Linux, from one start of the machine to the next.
///
/// Process ids are used again, so the time of the start belongs to it. Containers have process ids
/// of their own, so the namespace does, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    boot: String,
    namespace: String,
    id: u32,
    started: u64,
}

impl Process {
    /// Returns this process, or `None` if the system does not show it.
    pub(crate) fn current() -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        let namespace = fs::read_link("/proc/self/ns/pid").ok()?.to_str()?.to_owned();
        let id = std::process::id();
        // The ids below `/proc` may be those of another namespace.
        if fs::read_link("/proc/self").ok()?.to_str()? != id.to_string() {
            return None;
        }
        let started = started(&fs::read_to_string("/proc/self/stat").ok()?)?;
        Some(Self { boot, namespace, id, started })
    }

    /// Returns the name of a worker of this process: a random text, and the process.
    pub(crate) fn owner(process: Option<&Self>, nonce: &str) -> String {
        match process {
            Some(Self { boot, namespace, id, started }) => {
                format!("{nonce} {boot} {namespace} {id} {started}")
            }
            None => nonce.to_owned(),
        }
    }

    /// Returns the process of a worker by its name.
    fn of_owner(owner: &str) -> Option<Self> {
        let mut fields = owner.split(' ').skip(1);
        let (boot, namespace) = (fields.next()?.to_owned(), fields.next()?.to_owned());
        let (id, started) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Self { boot, namespace, id, started })
    }

    /// Returns whether the process of another worker has certainly ended. Returns `false` for one
    /// of another machine.
    pub(crate) fn knows_end_of(&self, owner: &str) -> bool {
        let Some(other) = Self::of_owner(owner) else { return false };
        if other.boot != self.boot || other.namespace != self.namespace {
            return false;
        }
        match fs::read_to_string(format!("/proc/{}/stat", other.id)) {
            Ok(stat) => started(&stat).is_some_and(|started| started != other.started),
            // The first process is visible unless those of other users are hidden (`hidepid`).
            Err(error) => error.kind() == ErrorKind::NotFound && fs::metadata("/proc/1").is_ok(),
        }
    }
}

/// Returns when a process was started, in ticks since the start of the machine: the 22nd field.
fn started(stat: &str) -> Option<u64> {
    // The second field is a name in parentheses, which may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_process_is_found_although_its_name_contains_spaces_and_parentheses() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1000 200";
        assert_eq!(started(stat), Some(4711));
        assert_eq!(started("7 (a) S 1"), None);
    }

    #[test]
    fn a_process_that_runs_has_not_ended() {
        let process = Process::current().unwrap();
        assert!(!process.knows_end_of(&Process::owner(Some(&process), "0123")));
    }

    #[test]
    fn a_process_that_was_waited_for_has_ended() {
        let process = Process::current().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let other = Process { id: child.id(), ..process.clone() };
        child.wait().unwrap();
        assert!(process.knows_end_of(&Process::owner(Some(&other), "0123")));
    }

    #[test]
    fn a_process_whose_id_is_used_again_has_ended() {
        let process = Process::current().unwrap();
        let other = Process { started: process.started + 1, ..process.clone() };
        assert!(process.knows_end_of(&Process::owner(Some(&other), "0123")));
    }

    #[test]
    fn nothing_is_known_about_processes_of_other_machines_and_namespaces() {
        let process = Process::current().unwrap();
        let gone = Process { started: process.started + 1, ..process.clone() };
        let elsewhere = Process { boot: "other".to_owned(), ..gone.clone() };
        let contained = Process { namespace: "pid:[1]".to_owned(), ..gone };
        for other in [elsewhere, contained] {
            assert!(!process.knows_end_of(&Process::owner(Some(&other), "0123")));
        }
        for owner in ["0123", "", "0123 a b c d", "0123 a b 1"] {
            assert!(!process.knows_end_of(owner));
        }
    }
}
