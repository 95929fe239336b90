//! Errors name verb, driver and key, and a failure is never reported as a missing object.

use futures_util::{StreamExt, stream};
use storage_core::{Error, ErrorKind, Operation, Result, Storage};

use crate::case::Checked;
use crate::kit::{Kit, refused};

/// Asserts that an error names the verb, the driver and the key that the caller used.
fn names<T>(kit: &Kit, result: Result<T>, kind: ErrorKind, operation: Operation, key: &str) {
    let error = refused(result, kind);
    assert_eq!(error.operation(), Some(operation), "{error}");
    assert_eq!(error.key(), Some(key), "{error}");
    assert_eq!(error.driver(), Some(&*kit.storage.info().name), "{error}");
    assert!(!error.message().is_empty());
}

pub(crate) async fn an_error_names_verb_driver_and_key(kit: &Kit) -> Checked {
    names(kit, kit.storage.open("a/b.bin").await, ErrorKind::NotFound, Operation::Open, "a/b.bin");
    names(kit, kit.storage.stat("a/b.bin").await, ErrorKind::NotFound, Operation::Stat, "a/b.bin");
    kit.seed.save("a/b.bin", "b").await?;
    let open = kit.storage.open("a/b.bin").range(9..);
    names(kit, open.await, ErrorKind::RangeNotSatisfiable, Operation::Open, "a/b.bin");
    Ok(())
}

pub(crate) async fn an_error_of_a_writing_verb_names_verb_driver_and_key(kit: &Kit) -> Checked {
    let save = kit.storage.save("a/b.bin", "b").max_size(0);
    names(kit, save.await, ErrorKind::TooLarge, Operation::Save, "a/b.bin");
    if kit.storage.info().capabilities.copy {
        let copy = kit.storage.copy("a/b.bin", "c.bin");
        names(kit, copy.await, ErrorKind::NotFound, Operation::Copy, "a/b.bin");
    }
    if kit.storage.info().capabilities.rename {
        let rename = kit.storage.rename("a/b.bin", "c.bin");
        names(kit, rename.await, ErrorKind::NotFound, Operation::Rename, "a/b.bin");
    }
    Ok(())
}

/// Returns the storage of the harness whose backend fails.
async fn broken(kit: &Kit) -> Storage {
    let broken = kit.harness.broken_backend().await;
    broken
        .unwrap_or_else(|| panic!("the harness provided a broken backend before, and does not now"))
}

#[track_caller]
fn assert_fails_visibly<T>(verb: &str, result: Result<T>) {
    match result {
        Ok(_) => panic!("{verb} succeeded on a broken backend"),
        Err(error) => assert_ne!(
            error.kind(),
            ErrorKind::NotFound,
            "{verb} reported a failure as a missing object: {error}"
        ),
    }
}

pub(crate) async fn exists_fails_on_a_broken_backend(kit: &Kit) -> Checked {
    assert_fails_visibly("exists", broken(kit).await.exists("a/b.bin").await);
    Ok(())
}

pub(crate) async fn stat_and_open_do_not_report_not_found_on_a_broken_backend(
    kit: &Kit,
) -> Checked {
    let broken = broken(kit).await;
    assert_fails_visibly("stat", broken.stat("a/b.bin").await);
    assert_fails_visibly("open", broken.open("a/b.bin").await);
    Ok(())
}

pub(crate) async fn delete_fails_on_a_broken_backend(kit: &Kit) -> Checked {
    assert_fails_visibly("delete", broken(kit).await.delete("a/b.bin").await);
    Ok(())
}

pub(crate) async fn delete_many_fails_on_a_broken_backend(kit: &Kit) -> Checked {
    let broken = broken(kit).await;
    let results: Vec<_> = broken.delete_many(stream::iter(["a/b.bin", "c.bin"])).collect().await;
    assert_eq!(results.len(), 2);
    for (result, key) in results.into_iter().zip(["a/b.bin", "c.bin"]) {
        let Err(error) = result else { panic!("delete_many succeeded on a broken backend") };
        assert_ne!(
            error.kind(),
            ErrorKind::NotFound,
            "delete_many reported a failure as a missing object: {error}"
        );
        assert_eq!(
            (error.operation(), error.key()),
            (Some(Operation::Delete), Some(key)),
            "{error}"
        );
    }
    Ok(())
}

pub(crate) async fn list_fails_on_a_broken_backend(kit: &Kit) -> Checked {
    let broken = broken(kit).await;
    assert_fails_visibly("list", broken.list("").entries().collect().await);
    assert_fails_visibly("list", broken.list("a/").delimiter("/").entries().collect().await);
    Ok(())
}

pub(crate) async fn errors_and_debug_output_contain_no_secret(kit: &Kit) -> Checked {
    let shown = format!("{:?} {:?}", kit.storage, kit.storage.info());
    let error: Error = refused(kit.storage.open("a/b.bin").await, ErrorKind::NotFound);
    for text in [shown, format!("{error:?} {error}")] {
        for secret in kit.harness.secrets() {
            assert!(
                !text.contains(&secret),
                "a secret is visible: {}",
                text.replace(&secret, "<secret>")
            );
        }
    }
    Ok(())
}
