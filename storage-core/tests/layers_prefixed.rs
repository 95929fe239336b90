//! The prefix layer: results and errors do not contain the prefix, and no object outside of it can
//! be reached.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use futures_util::{StreamExt, stream};
use storage_core::layers::Prefixed;
use storage_core::{Entry, Error, ErrorKind, MAX_KEY_BYTES, Operation, Storage};
use storage_testkit::scripted::{End, Fault, Scripted};

fn storage(scripted: &Scripted, prefix: &str) -> Storage {
    Storage::new(Prefixed::new(scripted.arc(), prefix).unwrap())
}

fn names(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(Entry::name).collect()
}

/// Returns a driver with objects below `media/` and with names that sort before and after it.
async fn with_neighbours() -> Scripted {
    let objects = [
        ("media-old/x", "no"),
        ("media", "no"),
        ("media/a", "yes"),
        ("media/b/1", "yes"),
        ("media/b/2", "yes"),
        ("media0", "no"),
    ];
    Scripted::with_objects(&objects).await
}

#[tokio::test]
async fn a_slash_at_the_end_of_the_prefix_makes_no_difference() {
    for prefix in ["media", "media/"] {
        let scripted = Scripted::new();
        storage(&scripted, prefix).save("a", "text").await.unwrap();
        assert_eq!(scripted.text("media/a").await, "text");
    }
}

#[test]
fn a_prefix_that_no_key_can_have_is_refused() {
    for prefix in ["/", "/media", "media//", "a//b", "..", "media/..", "./", "a\nb"] {
        let error = Prefixed::new(Scripted::new().arc(), prefix).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKey, "{prefix:?}");
    }
}

#[tokio::test]
async fn a_listing_contains_only_keys_below_the_prefix() {
    let scripted = with_neighbours().await;
    let media = storage(&scripted, "media");
    assert_eq!(names(&media.list("").entries().collect().await.unwrap()), ["a", "b/1", "b/2"]);
    assert_eq!(
        names(&media.list("").delimiter("/").entries().collect().await.unwrap()),
        ["a", "b/"]
    );
    assert_eq!(names(&media.list("b").entries().collect().await.unwrap()), ["b/1", "b/2"]);
    assert_eq!(
        names(&media.list("").start_after("b/1").entries().collect().await.unwrap()),
        ["b/2"]
    );
    assert_eq!(
        names(&media.list("").start_after("").entries().collect().await.unwrap()),
        ["a", "b/1", "b/2"]
    );
}

#[tokio::test]
async fn a_prefix_within_a_prefix_is_a_longer_prefix() {
    let scripted = with_neighbours().await;
    let b = storage(&scripted, "media").prefixed("b").unwrap();
    assert_eq!(names(&b.list("").entries().collect().await.unwrap()), ["1", "2"]);
    assert_eq!(b.info().location, "scripted:here/media/b");
    assert_eq!(b.stat("1").await.unwrap().key, "1");
}

#[tokio::test]
async fn the_key_of_a_unique_name_is_returned_without_the_prefix() {
    let scripted = with_neighbours().await;
    let saved = storage(&scripted, "media").save("a", "other").unique_name().await.unwrap();
    assert!(saved.key != "a" && !saved.key.as_str().starts_with("media"), "{}", saved.key);
    assert_eq!(scripted.text(&format!("media/{}", saved.key)).await, "other");
    assert_eq!(scripted.text("media/a").await, "yes");
}

#[tokio::test]
async fn errors_contain_the_key_without_the_prefix() {
    let scripted = Scripted::new();
    let media = storage(&scripted, "media");
    let error = media.stat("a").await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::NotFound, Some("a")));

    let inside = Error::new(ErrorKind::Conflict, "there is a file above").with_key("media/b/c");
    scripted.script(Operation::Save, [Fault::Fail(inside)]);
    let error = media.save("b/c/d", "text").await.unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::Conflict, Some("b/c")));

    scripted.put("media/a", "01234567").await;
    let inside = Error::new(ErrorKind::Unexpected, "broke off").with_key("media/a");
    scripted.script(Operation::Open, [Fault::Break { after: 1, with: End::Error(inside) }]);
    let error = media.open("a").await.unwrap().bytes().await.unwrap_err();
    assert_eq!(error.key(), Some("a"));
    scripted.assert_script_done();
}

#[tokio::test]
async fn an_invalid_name_is_listed_without_the_prefix() {
    let mut scripted = Scripted::with_objects(&[("media/a", "text")]).await;
    scripted.invalid_names = vec![("media//odd", "media/a")];
    let mut entries = storage(&scripted, "media").list("").entries();
    let error = entries.next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.key()), (ErrorKind::InvalidKey, Some("/odd")));
    assert_eq!(entries.next().await.unwrap().unwrap().name(), "a");
}

#[tokio::test]
async fn a_key_that_is_too_long_with_the_prefix_is_refused_before_the_driver_is_called() {
    let scripted = Scripted::new();
    let media = storage(&scripted, "media");
    let longest = "k".repeat(MAX_KEY_BYTES - "media/".len());
    media.save(&longest, "text").await.unwrap();
    let asked = scripted.calls().len();

    let too_long = "k".repeat(longest.len() + 1);
    let listed = media.list(&too_long).entries().collect().await;
    for error in [
        media.save(&too_long, "text").await.unwrap_err(),
        media.stat(&too_long).await.unwrap_err(),
        media.copy(&longest, &too_long).await.unwrap_err(),
        listed.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidKey);
        assert_eq!(error.key(), Some(too_long.as_str()));
        assert!(
            error.message().contains("\"media/\"") && error.message().contains("1024"),
            "{error}"
        );
    }
    assert_eq!(scripted.calls().len(), asked);
}

#[tokio::test]
async fn delete_many_reports_keys_that_are_too_long_and_deletes_the_others() {
    let scripted = with_neighbours().await;
    let inside = Error::new(ErrorKind::PermissionDenied, "not yours").with_key("media/b/1");
    scripted.script(Operation::Delete, [Fault::Pass, Fault::Fail(inside), Fault::Pass]);
    let too_long = "k".repeat(MAX_KEY_BYTES);
    let keys = [too_long.as_str(), "a", "b/1", too_long.as_str(), "b/2"].map(str::to_owned);
    let results = storage(&scripted, "media")
        .delete_many(stream::iter(keys.clone()))
        .collect::<Vec<_>>()
        .await;
    let kinds =
        results.iter().map(|result| result.as_ref().err().map(Error::kind)).collect::<Vec<_>>();
    let (long, denied) = (Some(ErrorKind::InvalidKey), Some(ErrorKind::PermissionDenied));
    assert_eq!(kinds, [long, None, denied, long, None]);
    for (result, key) in results.iter().zip(&keys) {
        assert_eq!(
            result.as_ref().map_or_else(Error::key, |gone| Some(gone.as_str())),
            Some(key.as_str())
        );
    }
    assert_eq!(scripted.calls(), ["delete_many media/a media/b/1 media/b/2"]);
    scripted.assert_script_done();
}

#[tokio::test]
async fn a_key_without_a_result_of_the_driver_does_not_count_as_deleted() {
    let mut scripted = with_neighbours().await;
    scripted.max_results = 1;
    let results = storage(&scripted, "media")
        .delete_many(stream::iter(["a", "b/1", "b/2"]))
        .collect::<Vec<_>>()
        .await;
    let kinds =
        results.iter().map(|result| result.as_ref().err().map(Error::kind)).collect::<Vec<_>>();
    assert_eq!(kinds, [None, Some(ErrorKind::Unexpected), Some(ErrorKind::Unexpected)]);
    assert_eq!(results[2].as_ref().unwrap_err().key(), Some("b/2"));
}

#[tokio::test]
async fn a_key_outside_the_prefix_that_the_driver_returns_is_an_error() {
    let mut scripted = with_neighbours().await;
    scripted.key_in_results = Some("media0");
    let media = storage(&scripted, "media");
    for error in [
        media.stat("a").await.unwrap_err(),
        media.save("c", "text").await.unwrap_err(),
        media.list("").entries().collect().await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.key()), (ErrorKind::Unexpected, Some("media0")));
    }
}
