//! Random syncs do what a simple model says.

use std::collections::BTreeMap;

use proptest::prelude::*;
use storage_core::Storage;
use storage_transfer::{
    Comparison, Counts, DeleteExtras, Existing, MaxDelete, Refusal, SyncOptions, sync,
};

use crate::support::{memory, texts, whole};

type Tree = BTreeMap<String, String>;

fn tree() -> impl Strategy<Value = Tree> {
    let key = prop::sample::select(vec!["a", "a-b", "a.b", "a/b", "a/b/c", "a0", "b", "é", "z/z"]);
    let text = prop::sample::select(vec!["", "x", "y", "xy"]);
    prop::collection::btree_map(key.prop_map(str::to_owned), text.prop_map(str::to_owned), 0..8)
}

fn options() -> impl Strategy<Value = SyncOptions> {
    let max = prop_oneof![
        Just(None),
        (0u64..6).prop_map(|count| Some(MaxDelete::Count(count))),
        prop::sample::select(vec![0u8, 33, 50, 100]).prop_map(|max| Some(MaxDelete::Percent(max))),
    ];
    let delete = (any::<bool>(), max).prop_map(|(deletes, max)| {
        deletes.then(|| max.map_or(DeleteExtras::new(), |max| DeleteExtras::new().max(max)))
    });
    let existing = prop::sample::select(vec![
        Existing::Replace,
        Existing::Ignore,
        Existing::Update,
        Existing::Immutable,
    ]);
    let comparison = prop::sample::select(vec![Comparison::Size, Comparison::Checksum]);
    let rest = (delete, existing, comparison, any::<bool>(), any::<bool>());
    rest.prop_map(|(delete, existing, comparison, allow_empty_source, dry_run)| {
        let mut options = SyncOptions::new();
        (options.delete, options.existing, options.comparison) = (delete, existing, comparison);
        (options.allow_empty_source, options.dry_run) = (allow_empty_source, dry_run);
        options
    })
}

/// What a sync should do. All objects of the destination are newer than those of the source.
#[derive(Debug, Default)]
struct Model {
    target: Tree,
    counts: Counts,
    refused: Option<Refusal>,
}

impl Model {
    fn sync(source: &Tree, target: &Tree, options: &SyncOptions) -> Self {
        let mut model = Self { target: target.clone(), ..Self::default() };
        for (key, text) in source {
            match target.get(key) {
                None => {
                    model.counts.new += 1;
                    model.counts.bytes += text.len() as u64;
                    model.target.insert(key.clone(), text.clone());
                }
                Some(old) => model.existing(key, text, old, options),
            }
        }
        model.counts.source_objects = source.len() as u64;
        model.counts.target_objects = target.len() as u64;
        model.extras(source, target, options);
        if options.dry_run {
            model.target = target.clone();
            model.counts.deleted = 0;
        }
        model
    }

    fn existing(&mut self, key: &str, text: &str, old: &str, options: &SyncOptions) {
        let is_same = match options.comparison {
            Comparison::Checksum => text == old,
            _ => text.len() == old.len(),
        };
        match options.existing {
            Existing::Ignore => self.counts.left += 1,
            _ if is_same => self.counts.same += 1,
            Existing::Update => self.counts.left += 1,
            Existing::Immutable => self.counts.failed += 1,
            _ => {
                self.counts.changed += 1;
                self.counts.bytes += text.len() as u64;
                self.target.insert(key.to_owned(), text.to_owned());
            }
        }
    }

    fn extras(&mut self, source: &Tree, target: &Tree, options: &SyncOptions) {
        let extras: Vec<_> = target.keys().filter(|key| !source.contains_key(*key)).collect();
        self.counts.extra = extras.len() as u64;
        let Some(delete) = options.delete.filter(|_| !extras.is_empty()) else { return };
        if source.is_empty() && !options.allow_empty_source {
            self.refused = Some(Refusal::EmptySource);
            self.counts.kept = self.counts.extra;
        } else if delete.max.is_some_and(|max| !max.allows(self.counts.extra, target.len() as u64))
        {
            self.refused = Some(Refusal::TooManyExtras(self.counts.extra));
            self.counts.kept = self.counts.extra;
        } else if self.counts.failed > 0 {
            // All keys are in one range.
            self.counts.kept = self.counts.extra;
        } else {
            self.counts.deleted = self.counts.extra;
            extras.into_iter().for_each(|key| drop(self.target.remove(key)));
        }
    }
}

async fn storage_of(tree: &Tree) -> Storage {
    let objects: Vec<_> = tree.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
    memory(&objects).await
}

async fn agree(source: Tree, target: Tree, options: SyncOptions) {
    let from = storage_of(&source).await;
    let to = storage_of(&target).await;
    let model = Model::sync(&source, &target, &options);
    let summary = sync(&whole(&from), &whole(&to), options.clone()).await.unwrap();

    assert_eq!(texts(&from).await, source);
    assert_eq!(texts(&to).await, model.target);
    assert_eq!(summary.refused, model.refused);
    let mut counts = summary.counts;
    // What the decisions are based on is tested elsewhere.
    (counts.same_by_checksum, counts.same_by_size, counts.bytes_sent) = (0, 0, 0);
    assert_eq!(counts, model.counts);

    if !options.dry_run && summary.is_complete() {
        let again = sync(&whole(&from), &whole(&to), options).await.unwrap().counts;
        assert_eq!((again.new, again.changed, again.deleted), (0, 0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_sync_does_what_the_model_says(source in tree(), target in tree(), options in options()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(agree(source, target, options));
    }
}
