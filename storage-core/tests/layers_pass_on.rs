//! Every layer forwards the verbs that it does not change, with all arguments and results.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use storage_core::layers::{
    DefaultMetadata, Limit, Observed, Prefixed, PublicUrl, ReadOnly, Retry, Timeout,
};
use storage_core::{
    ByteRange, Capabilities, ChecksumAlgorithm, CopyMode, CopyOptions, Driver, ETag, Error,
    ErrorKind, Key, ListOptions, Metadata, MetadataDirective, OpenOptions, Operation, Payload,
    Prefix, RenameOptions, Result, SaveMode, SaveOptions, UrlMethod, UrlOptions,
};
use storage_testkit::scripted::{BodyKind, End, Fault, RESPONSE, Scripted};

type Inner = Arc<dyn Driver>;

/// A layer, and how it differs from forwarding everything.
#[derive(Clone, Copy)]
struct Layer {
    wrap: fn(Inner) -> Inner,
    /// The prefix of every key of the inner driver.
    prefix: &'static str,
    writes: bool,
    location: &'static str,
    capabilities: fn(&mut Capabilities),
}

const PLAIN: Layer = Layer {
    wrap: |inner| inner,
    prefix: "",
    writes: true,
    location: "scripted:here",
    capabilities: |_| {},
};

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn save_options() -> SaveOptions {
    let mut options = SaveOptions::default();
    options.metadata = Metadata::new().content_type("text/x-test").user("a", "b");
    options.mode = SaveMode::CreateNew;
    options
}

fn open_options() -> OpenOptions {
    let mut options = OpenOptions::default();
    options.range = Some(ByteRange::from(1..6));
    options.if_match = Some(ETag::strong("0").unwrap());
    options.if_none_match = Some(ETag::strong("other").unwrap());
    options.if_modified_since = Some(std::time::UNIX_EPOCH);
    options.allow_unknown_size = true;
    options.allow_whole = true;
    options
}

fn copy_options() -> CopyOptions {
    let mut options = CopyOptions::default();
    options.metadata = MetadataDirective::Replace(Metadata::new().content_type("text/x-copy"));
    options.mode = CopyMode::CreateNew;
    options
}

fn url_options() -> UrlOptions {
    let mut options = UrlOptions::default();
    options.method = UrlMethod::Head;
    options.expires_in = Some(Duration::from_secs(9));
    options.response_content_type = Some("text/x-link".into());
    options
}

fn list_options() -> ListOptions {
    let mut options = ListOptions::default();
    options.delimiter = Some("/".into());
    options
}

/// Returns a driver with an object of ten bytes, which has the key `a` above the layer.
async fn scripted(layer: Layer) -> Scripted {
    let scripted = Scripted::new();
    scripted.put(&format!("{}a", layer.prefix), "0123456789").await;
    scripted
}

async fn every_verb_reaches_the_driver_with_its_options(layer: Layer) {
    let scripted = scripted(layer).await;
    let driver = (layer.wrap)(scripted.arc());
    let Layer { prefix, writes, .. } = layer;

    driver.open(&key("a"), &open_options()).await.unwrap();
    driver.stat(&key("a")).await.unwrap();
    driver.exists(&key("a")).await.unwrap();
    driver.list(&Prefix::empty(), &list_options()).for_each(|_| std::future::ready(())).await;
    driver.url(&key("a"), &url_options()).await.unwrap();
    let mut expected = vec![
        format!("open {prefix}a {:?}", open_options()),
        format!("stat {prefix}a"),
        format!("exists {prefix}a"),
        format!("list {prefix} {:?}", list_options()),
        format!("url {prefix}a {:?}", url_options()),
    ];
    if writes {
        driver.save(&key("b"), Payload::from("bb"), &save_options()).await.unwrap();
        driver.copy(&key("b"), &key("c"), &copy_options()).await.unwrap();
        driver.rename(&key("c"), &key("d"), &RenameOptions::default()).await.unwrap();
        driver.delete(&key("b")).await.unwrap();
        driver
            .delete_many(&[key("c"), key("a")])
            .await
            .into_iter()
            .collect::<Result<()>>()
            .unwrap();
        expected.extend([
            format!("save {prefix}b {:?}", save_options()),
            format!("copy {prefix}b {prefix}c {:?}", copy_options()),
            format!("rename {prefix}c {prefix}d {:?}", RenameOptions::default()),
            format!("delete {prefix}b"),
            format!("delete_many {prefix}c {prefix}a"),
        ]);
        driver.delete_folder_marker(&Prefix::new("b/").unwrap()).await.unwrap();
        expected.push(format!("delete {prefix}b/"));
    }
    assert_eq!(scripted.calls(), expected);
}

async fn every_result_is_returned_unchanged(layer: Layer) {
    let scripted = scripted(layer).await;
    let driver = (layer.wrap)(scripted.arc());
    let inside = scripted.memory.stat(&key(&format!("{}a", layer.prefix))).await.unwrap();

    let mut meta = driver.stat(&key("a")).await.unwrap();
    assert_eq!(meta.key, "a");
    meta.key = inside.key.clone();
    assert_eq!(meta, inside);
    assert_eq!(meta.response, Some(RESPONSE), "stat");
    let object = driver.open(&key("a"), &open_options()).await.unwrap();
    assert_eq!(
        (object.meta().key.as_str(), object.meta().etag.clone()),
        ("a", inside.etag.clone())
    );
    assert_eq!((object.range(), object.meta().size), (1..6, 10));
    assert_eq!(object.meta().response, Some(RESPONSE), "open");
    assert_eq!(object.text().await.unwrap(), "12345");
    assert!(driver.exists(&key("a")).await.unwrap());
    assert!(!driver.exists(&key("b")).await.unwrap());
    let entries: Vec<_> = driver.list(&Prefix::empty(), &ListOptions::default()).collect().await;
    let [Ok(entry)] = &entries[..] else { panic!("one entry, not {entries:?}") };
    let entry = entry.clone().into_object().unwrap();
    assert_eq!((entry.key.as_str(), entry.size, entry.etag), ("a", 10, inside.etag));
    let link = driver.url(&key("a"), &url_options()).await.unwrap();
    assert_eq!(link.as_str(), format!("https://inner.example/{}a", layer.prefix));
    if layer.writes {
        let payload = Payload::from("bb").with_computed_checksum(ChecksumAlgorithm::Md5);
        let saved = driver.save(&key("b"), payload, &save_options()).await.unwrap();
        assert_eq!(
            (saved.key.as_str(), saved.size, saved.content_type()),
            ("b", 2, Some("text/x-test"))
        );
        assert!(saved.checksums.get(ChecksumAlgorithm::Md5).is_some());
        driver.copy(&key("b"), &key("c"), &copy_options()).await.unwrap();
        let copied = driver.stat(&key("c")).await.unwrap();
        assert_eq!(
            (copied.key.as_str(), copied.size, copied.content_type()),
            ("c", 2, Some("text/x-copy"))
        );
        driver.rename(&key("c"), &key("d"), &RenameOptions::default()).await.unwrap();
        assert_eq!(driver.stat(&key("d")).await.unwrap().key, "d");
        assert!(!driver.exists(&key("c")).await.unwrap());
        driver.delete(&key("b")).await.unwrap();
        assert!(!driver.exists(&key("b")).await.unwrap());
        let results = driver.delete_many(&[key("a"), key("missing"), key("d")]).await;
        assert!(matches!(results[..], [Ok(()), Ok(()), Ok(())]), "{results:?}");
        assert!(
            !driver.exists(&key("a")).await.unwrap() && !driver.exists(&key("d")).await.unwrap()
        );
    }
}

/// Returns an error that is not retryable, with a source and with a key that the driver set.
fn final_error(layer: Layer) -> Error {
    let cause = std::io::Error::other("the cause");
    Error::new(ErrorKind::StorageFull, "full")
        .with_source(cause)
        .with_key(format!("{}said", layer.prefix))
}

fn assert_whole<T>(result: Result<T>, verb: Operation) {
    let Err(error) = result else { panic!("{verb} did not fail") };
    let source = std::error::Error::source(&error).map(ToString::to_string);
    let said = (error.kind(), error.message(), error.key(), source.as_deref());
    assert_eq!(said, (ErrorKind::StorageFull, "full", Some("said"), Some("the cause")), "{verb}");
}

async fn every_error_is_returned_unchanged(layer: Layer) {
    use Operation::{Copy, Delete, Exists, List, Open, Save, Stat, Url};
    let scripted = scripted(layer).await;
    let driver = (layer.wrap)(scripted.arc());
    let reading = [Open, Stat, Exists, List, Url];
    let writing = [Save, Copy, Delete];
    for verb in reading.into_iter().chain(writing.into_iter().filter(|_| layer.writes)) {
        scripted.script(verb, [Fault::Fail(final_error(layer))]);
    }
    assert_whole(driver.open(&key("a"), &OpenOptions::default()).await, Open);
    assert_whole(driver.stat(&key("a")).await, Stat);
    assert_whole(driver.exists(&key("a")).await, Exists);
    assert_whole(
        driver.list(&Prefix::empty(), &ListOptions::default()).next().await.unwrap(),
        List,
    );
    assert_whole(driver.url(&key("a"), &url_options()).await, Url);
    if layer.writes {
        assert_whole(
            driver.save(&key("a"), Payload::from(""), &SaveOptions::default()).await,
            Save,
        );
        assert_whole(driver.copy(&key("a"), &key("b"), &CopyOptions::default()).await, Copy);
        assert_whole(driver.delete(&key("a")).await, Delete);
        scripted.script(Delete, [Fault::Pass, Fault::Fail(final_error(layer)), Fault::Pass]);
        let mut results = driver.delete_many(&[key("c"), key("a"), key("d")]).await;
        assert!(matches!(results[..], [Ok(()), Err(_), Ok(())]), "{results:?}");
        assert_whole(results.remove(1), Delete);
        assert!(driver.delete_many(&[]).await.is_empty());
    }
    scripted.assert_script_done();
}

async fn an_error_in_the_middle_of_a_body_or_a_listing_is_returned_unchanged(layer: Layer) {
    let scripted = scripted(layer).await;
    let driver = (layer.wrap)(scripted.arc());
    scripted
        .script(Operation::Open, [Fault::Break { after: 1, with: End::Error(final_error(layer)) }]);
    scripted
        .script(Operation::List, [Fault::Break { after: 1, with: End::Error(final_error(layer)) }]);

    let mut body = driver.open(&key("a"), &OpenOptions::default()).await.unwrap().into_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), "0123");
    assert_whole(body.next().await.unwrap(), Operation::Open);
    assert!(body.next().await.is_none());
    let mut entries = driver.list(&Prefix::empty(), &ListOptions::default());
    assert_eq!(entries.next().await.unwrap().unwrap().name(), "a");
    assert_whole(entries.next().await.unwrap(), Operation::List);
    assert!(entries.next().await.is_none());
    assert!(entries.next().await.is_none());
    scripted.assert_script_done();
}

async fn a_listing_continues_after_an_invalid_name(layer: Layer) {
    let mut scripted = scripted(layer).await;
    let before: &'static str = format!("{}a", layer.prefix).leak();
    scripted.invalid_names = vec![("//odd", before)];
    let driver = (layer.wrap)(scripted.arc());
    let entries: Vec<_> = driver.list(&Prefix::empty(), &ListOptions::default()).collect().await;
    let names: Vec<_> = entries
        .iter()
        .map(|entry| entry.as_ref().map_or_else(Error::key, |e| Some(e.name())))
        .collect();
    assert_eq!(names, [Some("//odd"), Some("a")]);
    assert!(entries[0].as_ref().is_err_and(Error::listing_continues));
}

async fn a_listing_requests_nothing_before_it_is_polled(layer: Layer) {
    let scripted = scripted(layer).await;
    let mut entries = (layer.wrap)(scripted.arc()).list(&Prefix::empty(), &ListOptions::default());
    assert_eq!(scripted.count(Operation::List), 0);
    assert!(entries.next().await.is_some());
    assert_eq!(scripted.count(Operation::List), 1);
}

async fn a_body_in_a_file_stays_in_the_file(layer: Layer) {
    let scripted = scripted(layer).await;
    scripted.bodies_are(BodyKind::File);
    let mut options = open_options();
    options.allow_whole = false;
    let object = (layer.wrap)(scripted.arc()).open(&key("a"), &options).await.unwrap();
    assert!(object.file().is_some());
    assert_eq!(object.range(), 1..6);
    assert_eq!(object.text().await.unwrap(), "12345");
}

async fn a_body_in_memory_is_passed_on_without_a_copy(layer: Layer) {
    let scripted = scripted(layer).await;
    scripted.bodies_are(BodyKind::Memory);
    let inside =
        scripted.memory.open(&key(&format!("{}a", layer.prefix)), &open_options()).await.unwrap();
    let object = (layer.wrap)(scripted.arc()).open(&key("a"), &open_options()).await.unwrap();
    let (inside, outside) = (inside.bytes().await.unwrap(), object.bytes().await.unwrap());
    assert_eq!(inside.as_ptr(), outside.as_ptr(), "the bytes were copied");
}

async fn dropping_a_call_drops_the_call_of_the_driver(layer: Layer) {
    let scripted = scripted(layer).await;
    let driver = (layer.wrap)(scripted.arc());
    scripted.script(Operation::Stat, [Fault::Stall]);
    scripted.script(Operation::List, [Fault::Stall]);

    let (a, empty) = (key("a"), Prefix::empty());
    assert!(driver.stat(&a).now_or_never().is_none());
    let mut entries = driver.list(&empty, &ListOptions::default());
    assert!(entries.next().now_or_never().is_none());
    assert_eq!((scripted.under_way(), scripted.abandoned()), (1, 1));
    drop(entries);
    assert_eq!((scripted.under_way(), scripted.abandoned()), (0, 2));
}

async fn dropping_a_body_drops_the_body_of_the_driver(layer: Layer) {
    let scripted = scripted(layer).await;
    let driver = (layer.wrap)(scripted.arc());
    let mut body = driver.open(&key("a"), &OpenOptions::default()).await.unwrap().into_stream();
    assert!(body.next().await.unwrap().is_ok());
    assert_eq!(scripted.streams(), 1);
    drop(body);
    assert_eq!(scripted.streams(), 0);
}

async fn info_describes_the_driver_and_its_capabilities(layer: Layer) {
    let scripted = Scripted::new();
    let mut expected = scripted.info();
    expected.location = layer.location.to_owned();
    (layer.capabilities)(&mut expected.capabilities);
    assert_eq!((layer.wrap)(scripted.arc()).info(), expected);
}

async fn the_link_verifier_has_the_key_of_the_driver_and_the_effect_of_the_layer(layer: Layer) {
    let scripted = Scripted::new();
    let verifier = (layer.wrap)(scripted.arc()).link_verifier().unwrap();
    let linked = key(&format!("{}a", layer.prefix));
    assert_eq!(verifier.key(&linked).unwrap(), "a");
    assert_eq!(verifier.accepts_uploads(), layer.writes);
    assert_eq!(verifier.base().unwrap().as_str(), "https://inner.example/");
    let is_outside = verifier.key(&key("inside")).is_err();
    assert_eq!(is_outside, !layer.prefix.is_empty());
}

macro_rules! cases {
    ($layer:expr; $($case:ident)*) => {
        $(#[tokio::test(start_paused = true)]
        async fn $case() {
            super::$case($layer).await;
        })*
    };
}

macro_rules! layers {
    ($($name:ident: $layer:expr;)*) => {
        $(mod $name {
            use super::*;

            cases! { $layer;
                every_verb_reaches_the_driver_with_its_options
                every_result_is_returned_unchanged
                every_error_is_returned_unchanged
                an_error_in_the_middle_of_a_body_or_a_listing_is_returned_unchanged
                a_listing_continues_after_an_invalid_name
                a_listing_requests_nothing_before_it_is_polled
                a_body_in_a_file_stays_in_the_file
                a_body_in_memory_is_passed_on_without_a_copy
                dropping_a_call_drops_the_call_of_the_driver
                dropping_a_body_drops_the_body_of_the_driver
                info_describes_the_driver_and_its_capabilities
                the_link_verifier_has_the_key_of_the_driver_and_the_effect_of_the_layer
            }
        })*
    };
}

layers! {
    // The cases without a layer.
    none: PLAIN;
    timeout: Layer { wrap: |inner| Arc::new(Timeout::new(inner, Duration::from_secs(10))), ..PLAIN };
    retry: Layer { wrap: |inner| Arc::new(Retry::new(inner, 3)), ..PLAIN };
    limit: Layer { wrap: |inner| Arc::new(Limit::new(inner, 2)), ..PLAIN };
    observed: Layer { wrap: |inner| Arc::new(Observed::new(inner)), ..PLAIN };
    defaults: Layer { wrap: |inner| Arc::new(DefaultMetadata::new(inner, Metadata::new())), ..PLAIN };
    public_url: Layer {
        wrap: |inner| Arc::new(PublicUrl::new(inner, "https://public.example/".parse().unwrap())),
        capabilities: |capabilities| capabilities.public_url = true,
        ..PLAIN
    };
    read_only: Layer {
        wrap: |inner| Arc::new(ReadOnly::new(inner)),
        writes: false,
        capabilities: |it| {
            (it.write, it.copy, it.rename, it.create_new, it.save_if_match) =
                (false, false, false, false, false);
            (it.signed_put, it.signed_post) = (false, false);
        },
        ..PLAIN
    };
    prefixed: Layer {
        wrap: |inner| Arc::new(Prefixed::new(inner, "in/side").unwrap()),
        prefix: "in/side/",
        location: "scripted:here/in/side",
        ..PLAIN
    };
    prefixed_with_nothing: Layer { wrap: |inner| Arc::new(Prefixed::new(inner, "").unwrap()), ..PLAIN };
    all_at_once: Layer {
        wrap: |inner| {
            let prefixed = Arc::new(Prefixed::new(inner, "in/side/").unwrap());
            let limit = Arc::new(Limit::new(prefixed, 2));
            let timeout = Arc::new(Timeout::new(limit, Duration::from_secs(10)));
            Arc::new(Observed::new(Arc::new(Retry::new(timeout, 3))))
        },
        prefix: "in/side/",
        location: "scripted:here/in/side",
        ..PLAIN
    };
}
