//! `delete_many` that deletes too much or too little, or returns wrong results.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use storage_core::{
    Driver, Error, ErrorKind, Key, ListOptions, Prefix, Result, SaveOptions, async_trait,
};

use crate::flaw::{Flaw, Sound, caught};

/// A flaw of `delete_many`.
macro_rules! flawed_delete_many {
    ($flaw:ident, |$inner:ident, $keys:ident| $body:expr) => {
        #[derive(Default)]
        struct $flaw;

        #[async_trait]
        impl Flaw for $flaw {
            async fn delete_many(&self, $inner: &Sound, $keys: &[Key]) -> Vec<Result<()>> {
                $body
            }
        }
    };
}

flawed_delete_many!(DoesNothing, |_inner, keys| keys.iter().map(|_| Ok(())).collect());

#[test]
fn a_deletion_that_does_nothing_is_caught() {
    caught::<DoesNothing>(&[
        "delete_many::all_listed_objects_are_deleted_and_the_rest_stays",
        "delete_many::each_result_is_in_the_place_of_its_key",
        "delete_many::a_key_that_is_given_twice_is_deleted",
        "delete_prefix::an_empty_prefix_deletes_everything",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

// A missing object is an error of the backend, but not of `delete_many`.
flawed_delete_many!(MissesTheMissing, |inner, keys| {
    let mut results = Vec::new();
    for key in keys {
        results.push(inner.memory.stat(key).await.map(drop));
    }
    inner.memory.delete_many(keys).await;
    results
});

#[test]
fn a_deletion_that_fails_for_missing_objects_is_caught() {
    caught::<MissesTheMissing>(&[
        "delete_many::a_missing_object_counts_as_deleted",
        "delete_many::all_objects_of_1200_keys_are_deleted",
        "property::random_operations_agree_with_the_memory_driver",
    ]);
}

flawed_delete_many!(StopsAtTheFirstError, |inner, keys| {
    let mut results = Vec::new();
    for key in keys {
        if inner.memory.stat(key).await.is_err() {
            break;
        }
        results.push(inner.memory.delete(key).await);
    }
    results
});

#[test]
fn a_deletion_with_too_few_results_is_caught() {
    caught::<StopsAtTheFirstError>(&[
        "delete_many::each_result_is_in_the_place_of_its_key",
        "delete_many::a_missing_object_counts_as_deleted",
    ]);
}

flawed_delete_many!(ReturnsOneResultForEachDistinctKey, |inner, keys| {
    let different: BTreeSet<_> = keys.iter().cloned().collect();
    inner.memory.delete_many(&Vec::from_iter(different)).await
});

#[test]
fn a_single_result_for_a_key_that_is_given_twice_is_caught() {
    caught::<ReturnsOneResultForEachDistinctKey>(&[
        "delete_many::a_key_that_is_given_twice_is_deleted",
    ]);
}

// One failed key fails all.
flawed_delete_many!(OneResultForAll, |inner, keys| {
    if keys.iter().any(|key| key.segments().any(|segment| segment.len() > 255)) {
        let refusal = || Error::new(ErrorKind::InvalidKey, "a name in the request is too long");
        return keys.iter().map(|_| Err(refusal())).collect();
    }
    inner.memory.delete_many(keys).await
});

#[test]
fn a_key_that_makes_the_other_deletions_fail_is_caught() {
    caught::<OneResultForAll>(&["delete_many::each_result_is_in_the_place_of_its_key"]);
}

flawed_delete_many!(TakesAHundred, |inner, keys| {
    inner.memory.delete_many(&keys[..keys.len().min(100)]).await;
    keys.iter().map(|_| Ok(())).collect()
});

#[test]
fn a_deletion_of_the_first_hundred_keys_is_caught() {
    caught::<TakesAHundred>(&["delete_many::all_objects_of_1200_keys_are_deleted"]);
}

flawed_delete_many!(DeletesDirectories, |inner, keys| {
    for key in keys {
        let listed = inner.memory.list(&Prefix::from(key.clone()), &ListOptions::default());
        for entry in listed.collect::<Vec<_>>().await {
            inner.memory.delete(&entry.and_then(Key::try_from).unwrap()).await.unwrap();
        }
    }
    keys.iter().map(|_| Ok(())).collect()
});

#[test]
fn a_deletion_of_all_that_begins_with_a_key_is_caught() {
    caught::<DeletesDirectories>(&[
        "delete_many::similar_keys_and_keys_below_stay",
        "delete_many::a_missing_object_counts_as_deleted",
    ]);
}

// Keys are text in XML, and must be escaped.
flawed_delete_many!(DoesNotEscape, |inner, keys| {
    let read =
        |key: &Key| key.as_str().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let keys: Vec<_> = keys.iter().map(|key| Key::new(read(key)).unwrap()).collect();
    inner.memory.delete_many(&keys).await
});

#[test]
fn keys_that_are_not_escaped_are_caught() {
    caught::<DoesNotEscape>(&["delete_many::unusual_keys_are_deleted_and_similar_ones_stay"]);
}

flawed_delete_many!(EmptiesFirst, |inner, keys| {
    for key in keys {
        inner.memory.save(key, "".into(), &SaveOptions::default()).await.unwrap();
    }
    tokio::task::yield_now().await;
    inner.memory.delete_many(keys).await
});

#[test]
fn a_deletion_that_empties_the_objects_first_is_caught() {
    caught::<EmptiesFirst>(&[
        "cancellation::a_delete_many_dropped_at_any_point_leaves_complete_objects_or_none",
    ]);
}
