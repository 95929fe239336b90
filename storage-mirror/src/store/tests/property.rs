//! Random sequences of operations compared with a plain map: entries have the right bytes, removed
//! entries are gone, and the disk use stays within the limit.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::Filling;
use super::*;

const MAX_SIZE: u64 = 400_000;
const KEYS: u8 = 12;

#[derive(Debug, Clone)]
enum Step {
    Fill {
        key: u8,
        len: usize,
    },
    /// Begins a fill that a later step may end.
    Begin {
        key: u8,
        len: usize,
    },
    End {
        nth: usize,
        whole: bool,
    },
    Get {
        key: u8,
    },
    Purge {
        key: u8,
    },
    PurgeAll,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0..KEYS;
    let len = || prop_oneof![0..3_000usize, 0..200_000usize, 300_000..500_000usize];
    let step = prop_oneof![
        6 => (key(), len()).prop_map(|(key, len)| Step::Fill { key, len }),
        3 => (key(), len()).prop_map(|(key, len)| Step::Begin { key, len }),
        3 => (0..4usize, any::<bool>()).prop_map(|(nth, whole)| Step::End { nth, whole }),
        8 => key().prop_map(|key| Step::Get { key }),
        2 => key().prop_map(|key| Step::Purge { key }),
        1 => Just(Step::PurgeAll),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..60)
}

fn name(key: u8) -> String {
    // Two groups of keys, of which one has a prefix that the other lacks.
    if key.is_multiple_of(2) { format!("a/{key}") } else { format!("a{key}") }
}

/// A store and its expected content.
struct Model {
    scratch: Scratch,
    store: Option<Store>,
    /// The version and the length of each key, if it is still stored.
    versions: HashMap<u8, (u64, usize)>,
    begun: Vec<(u8, u64, usize, Filling)>,
    version: u64,
}

impl Model {
    fn new() -> Self {
        let scratch = Scratch::in_memory();
        let store = Some(scratch.open(MAX_SIZE));
        Self { scratch, store, versions: HashMap::new(), begun: Vec::new(), version: 0 }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Fill { key, len } => {
                if let Some(begun) = self.begin(key, len) {
                    self.end(begun, true);
                }
            }
            Step::Begin { key, len } => {
                let begun = self.begin(key, len);
                self.begun.extend(begun);
            }
            Step::End { nth, whole } if nth < self.begun.len() => {
                let begun = self.begun.swap_remove(nth);
                self.end(begun, whole);
            }
            Step::End { .. } => {}
            Step::Get { key } => self.get(key),
            Step::Purge { key } => {
                self.store().purge(&name(key)).unwrap();
                self.purged(|purged| purged == key);
            }
            Step::PurgeAll => {
                self.store().purge_prefix("a/").unwrap();
                self.purged(|purged| name(purged).starts_with("a/"));
            }
            Step::Restart => {
                self.begun.clear();
                self.store = None;
                self.store = Some(self.scratch.open(MAX_SIZE));
            }
        }
    }

    fn begin(&mut self, key: u8, len: usize) -> Option<(u8, u64, usize, Filling)> {
        self.version += 1;
        match self.store().begin(&name(key)).create(meta(&name(key), len as u64)) {
            Ok(filling) => Some((key, self.version, len, filling)),
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::TooLarge | ErrorKind::StorageFull),
                    "{error}"
                );
                assert!(error.kind() == ErrorKind::StorageFull || len > 350_000, "{error}");
                assert!(error.kind() == ErrorKind::TooLarge || !self.begun.is_empty(), "{error}");
                None
            }
        }
    }

    fn end(&mut self, begun: (u8, u64, usize, Filling), whole: bool) {
        let (key, version, len, mut filling) = begun;
        if !whole {
            return;
        }
        let is_purged = filling.is_purged();
        let was_kept = self.is_kept(key);
        let write = pattern(version, len).chunks(70_000).try_for_each(|chunk| filling.write(chunk));
        match write.and_then(|()| filling.commit()) {
            Ok(_) => {
                assert!(!is_purged);
                // An entry whose fill began later stays.
                if !was_kept || self.versions[&key].0 < version {
                    self.versions.insert(key, (version, len));
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                assert!(is_purged);
            }
        }
    }

    fn is_kept(&self, key: u8) -> bool {
        self.store().peek(&name(key)).is_some()
    }

    fn get(&self, key: u8) {
        let Some(entry) = self.store().get(&name(key)) else { return };
        let body = match self.store().hot(&entry) {
            Some(body) => body.to_vec(),
            None if entry.size() <= super::super::MAX_IN_MEMORY => {
                self.store().load(&entry).unwrap().to_vec()
            }
            None => read(self.store(), &entry).unwrap(),
        };
        let (version, len) = self.versions[&key];
        assert!(body == pattern(version, len), "{} is not the last filled version", name(key));
    }

    fn purged(&mut self, is_purged: impl Fn(u8) -> bool) {
        for key in (0..KEYS).filter(|key| is_purged(*key)) {
            self.versions.remove(&key);
            assert!(!self.is_kept(key));
        }
        for (key, _, _, filling) in &self.begun {
            assert!(filling.is_purged() || !is_purged(*key));
        }
    }

    fn check(&self) {
        let usage = self.store().usage();
        assert!(usage.bytes + usage.reserved <= MAX_SIZE, "{usage:?}");
        assert!(disk_use(&self.scratch.path()) <= usage.bytes + usage.reserved, "{usage:?}");
        let kept: u64 = entry_files(&self.scratch.path()).len() as u64;
        assert_eq!(usage.objects, kept);
        assert_eq!(fill_files(&self.scratch.path()).len(), self.begun.len());
        if self.begun.is_empty() {
            assert_eq!((usage.reserved, usage.bytes), (0, disk_use(&self.scratch.path())));
        }
        for entry in self.store().entries() {
            let key = (0..KEYS).find(|key| name(*key) == entry.key()).unwrap();
            assert_eq!(entry.size(), self.versions[&key].1 as u64);
        }
        assert_eq!(usage.corrupt, 0);
    }
}

#[test]
fn random_operations_keep_the_limits_and_the_bytes() {
    let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
    let ran = TestRunner::new(config).run(&steps(), |steps| {
        let mut model = Model::new();
        for step in &steps {
            model.take(step);
            model.check();
        }
        (0..KEYS).for_each(|key| model.get(key));
        Ok(())
    });
    if let Err(error) = ran {
        panic!("{error}");
    }
}
