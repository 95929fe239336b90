//! Publishes that fail or die at every write, and publishers that work at the same time.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::*;
use storage_core::{ErrorKind, Memory, Operation, Result, Storage};
use storage_publish::{Manifest, PublishOptions, Published, Site, publish, releases, rollback};
use storage_testkit::faults::{Faults, Planned};

const WRITES: [Operation; 3] = [Operation::Save, Operation::Copy, Operation::Delete];

/// What happens to a write.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Fails,
    LosesItsResponse,
    Dies,
}

struct Scene {
    faults: Faults,
    clock: Clock,
    storage: Storage,
}

impl Scene {
    /// A destination with two releases, of which a third publish deletes the first one.
    async fn new() -> Self {
        let (faults, clock) = (Faults::new(), Clock::new());
        let storage = faults.in_memory();
        let scene = Self { faults, clock, storage };
        for version in ["v0", "v1"] {
            publish(&site(version), &scene.storage, &scene.options()).await.unwrap();
            scene.clock.advance(day());
        }
        scene
    }

    fn options(&self) -> PublishOptions {
        self.clock.options().keep(1).grace(day())
    }

    fn plan(&self, operation: Operation, call: usize, fault: Fault) -> Planned {
        let plan = self.faults.on(operation).call(call);
        match fault {
            Fault::Fails => plan.fail(ErrorKind::StorageFull),
            Fault::LosesItsResponse => plan.lose_response(ErrorKind::StorageFull),
            // The write is held, and the publish is dropped.
            Fault::Dies => plan.hold(),
        }
    }

    /// Publishes until the fault, and returns `None` if the publisher died.
    async fn publish(&self, fault: Fault, planned: &Planned) -> Option<Result<Published>> {
        let (site, options) = (next(), self.options());
        let publish = publish(&site, &self.storage, &options);
        match fault {
            Fault::Fails | Fault::LosesItsResponse => Some(publish.await),
            Fault::Dies => tokio::select! {
                done = publish => Some(done),
                () = planned.reached() => None,
            },
        }
    }

    async fn assert_promises(&self, before: &BTreeMap<String, String>, context: &str) {
        assert_no_page_lacks_an_asset(&self.storage).await;
        assert_current_release_is_whole(&self.storage).await;
        let releases = releases(&self.storage).await.unwrap();
        let (shown, after) = (pages(&self.storage).await, pages_of(&next()));
        if releases.switching.is_some() {
            // Each page is whole.
            for (name, text) in &shown {
                let versions = [before.get(name), after.get(name)];
                assert!(versions.contains(&Some(text)), "{context}: {name}");
            }
            return;
        }
        // Nothing visible changed, or all of it. The pages are those of the current release.
        assert!(&shown == before || shown == after, "{context}: {shown:?}");
        let current = releases.current.unwrap().release;
        let manifest = Manifest::read(&self.storage, &current).await.unwrap();
        for entry in manifest.entries.values().filter(|entry| entry.stored.is_some()) {
            assert_eq!(text(&self.storage, entry.object_key()).await, shown[&entry.name]);
        }
    }
}

/// The site of the third publish: two pages change.
fn next() -> Site {
    let mut site = site("v2");
    let style = name_of(&site, "css/app.css").to_owned();
    let about = site.assets.iter_mut().find(|asset| asset.path == "about.html").unwrap();
    *about = storage_publish::testing::page("about.html", style.as_bytes());
    site
}

/// Runs a publish with this fault at each write in turn, and then `repair`.
async fn at_every_write(fault: Fault, repair: impl AsyncFn(&Scene)) {
    let mut fired = 0;
    for operation in WRITES {
        for call in 1.. {
            let scene = Scene::new().await;
            let before = pages(&scene.storage).await;
            let planned = scene.plan(operation, call, fault);
            let done = scene.publish(fault, &planned).await;
            if planned.fired() == 0 {
                assert!(done.unwrap().is_ok());
                assert_shows(&scene.storage, &next()).await;
                break;
            }
            fired += 1;
            scene.faults.clear();
            scene.assert_promises(&before, &format!("{fault:?} {operation} {call}")).await;
            // The claim of a publisher that died expires.
            scene.clock.advance(Duration::from_secs(3600));
            repair(&scene).await;
        }
    }
    // The claim, the style, two pages, the manifest, the beginning and the end of the pages, the
    // release of the claim; two copies; deletions.
    assert!(fired > 10, "{fired}");
}

async fn publish_again(scene: &Scene) {
    publish(&next(), &scene.storage, &scene.options()).await.unwrap();
    assert_shows(&scene.storage, &next()).await;
    assert_eq!(pages(&scene.storage).await, pages_of(&next()));
}

#[tokio::test]
async fn a_publish_that_fails_at_any_write_changes_nothing_visible_or_is_repaired_by_the_next() {
    at_every_write(Fault::Fails, publish_again).await;
}

#[tokio::test]
async fn a_publish_that_loses_any_response_is_repaired_by_the_next() {
    at_every_write(Fault::LosesItsResponse, publish_again).await;
}

#[tokio::test]
async fn a_publish_that_dies_at_any_write_is_repaired_by_the_next() {
    at_every_write(Fault::Dies, publish_again).await;
}

/// Its pages have the sizes of those of the interrupted publish.
async fn publish_the_site_before(scene: &Scene) {
    publish(&site("v1"), &scene.storage, &scene.options()).await.unwrap();
    assert_shows(&scene.storage, &site("v1")).await;
}

#[tokio::test]
async fn a_publish_that_dies_at_any_write_is_undone_by_a_publish_of_the_site_before() {
    at_every_write(Fault::Dies, publish_the_site_before).await;
}

#[tokio::test]
async fn a_publish_that_dies_between_two_pages_is_undone_by_a_rollback() {
    let scene = Scene::new().await;
    let held = scene.faults.on(Operation::Copy).call(2).hold();
    assert!(scene.publish(Fault::Dies, &held).await.is_none());
    assert_eq!(held.fired(), 1);
    let dead = releases(&scene.storage).await.unwrap();
    assert!(dead.switching.is_some() && dead.claim.is_some());
    scene.clock.advance(Duration::from_secs(3600));
    let rolled_back = rollback(&scene.storage, None, &scene.options()).await.unwrap();
    assert_eq!(Some(rolled_back.release), dead.current.map(|current| current.release));
    assert_shows(&scene.storage, &site("v1")).await;
}

#[tokio::test]
async fn a_rollback_that_dies_at_any_page_is_repaired_by_the_next() {
    for call in 1..=3 {
        let scene = Scene::new().await;
        let options = scene.options().keep(3);
        publish(&next(), &scene.storage, &options).await.unwrap();
        let held = scene.faults.on(Operation::Copy).call(call).hold();
        tokio::select! {
            _ = rollback(&scene.storage, None, &options) => panic!("a copy is held"),
            () = held.reached() => {}
        }
        scene.faults.clear();
        assert_no_page_lacks_an_asset(&scene.storage).await;
        scene.clock.advance(Duration::from_secs(3600));
        // The pointer was not switched, so this restores the release that is still current.
        rollback(&scene.storage, None, &options).await.unwrap();
        assert_shows(&scene.storage, &next()).await;
        rollback(&scene.storage, None, &options).await.unwrap();
        assert_shows(&scene.storage, &site("v1")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_loses_every_response_about_the_pointer_succeeds() {
    let scene = Scene::new().await;
    let saves = scene.faults.on(Operation::Save).of(storage_publish::POINTER_KEY);
    let lost = saves.lose_response(ErrorKind::Timeout);
    publish(&next(), &scene.storage, &scene.options()).await.unwrap();
    assert!(lost.fired() >= 4, "the claim, the beginning of the pages, the switch, the end");
    assert_shows(&scene.storage, &next()).await;
}

#[tokio::test]
async fn a_second_publisher_is_refused_with_the_name_of_the_first_and_its_end() {
    let (faults, clock) = (Faults::new(), Clock::new());
    let storage = faults.in_memory();
    let held = faults.on(Operation::Copy).call(1).hold();
    let first = tokio::spawn({
        let (storage, options) = (storage.clone(), clock.options().publisher("ada@laptop"));
        async move { publish(&site("v1"), &storage, &options).await }
    });
    held.reached().await;
    let error = publish(&site("v2"), &storage, &clock.options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let message = error.message();
    assert!(message.contains("ada@laptop") && message.contains("2027-01-15T08:15:00Z"), "{error}");
    let error = rollback(&storage, None, &clock.options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    held.release();
    first.await.unwrap().unwrap();
    publish(&site("v2"), &storage, &clock.options()).await.unwrap();
    assert_shows(&storage, &site("v2")).await;
}

#[tokio::test]
async fn a_publisher_whose_claim_was_taken_over_shows_no_page() {
    let (faults, clock) = (Faults::new(), Clock::new());
    let storage = faults.in_memory();
    let style = name_of(&site("v1"), "css/app.css").to_owned();
    let held = faults.on(Operation::Save).of(style).hold();
    let first = tokio::spawn({
        let (storage, options) = (storage.clone(), clock.options());
        async move { publish(&site("v1"), &storage, &options).await }
    });
    held.reached().await;
    clock.advance(Duration::from_secs(16 * 60));
    publish(&site("v2"), &storage, &clock.options()).await.unwrap();
    held.release();
    let error = first.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_shows(&storage, &site("v2")).await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_renewed_while_an_upload_takes_long() {
    let (faults, clock) = (Faults::new(), Clock::new());
    let storage = faults.in_memory();
    let held = faults.on(Operation::Copy).call(1).hold();
    let first = tokio::spawn({
        let (storage, options) = (storage.clone(), clock.options());
        async move { publish(&site("v1"), &storage, &options).await }
    });
    held.reached().await;
    for _ in 0..4 {
        clock.advance(Duration::from_secs(5 * 60));
        tokio::time::sleep(Duration::from_secs(5 * 60 + 1)).await;
    }
    let error = publish(&site("v2"), &storage, &clock.options()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    held.release();
    first.await.unwrap().unwrap();
    assert_shows(&storage, &site("v1")).await;
}

/// Runs two publishers at once, and checks that the destination shows the site of one of them.
async fn two_publishers(storage: Storage) {
    let options = PublishOptions::new().keep(1).grace(Duration::ZERO);
    for round in 0..50 {
        let publisher = |name: &str| {
            let site = site(&format!("{name}{round}"));
            let (storage, options) = (storage.clone(), options.clone());
            tokio::spawn(async move { (publish(&site, &storage, &options).await, site) })
        };
        let (one, other) = (publisher("a"), publisher("b"));
        let results = [one.await.unwrap(), other.await.unwrap()];
        let mut current = None;
        for (result, site) in &results {
            match result {
                Ok(published) => {
                    assert!(published.cleanup_error.is_none(), "{published:?}");
                    let now = releases(&storage).await.unwrap().current.unwrap().release;
                    if now == published.release {
                        current = Some(site);
                    }
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
            }
        }
        assert_shows(&storage, current.expect("one publisher succeeds")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_publishers_at_once_one_wins_at_a_time_in_memory() {
    two_publishers(Memory::storage()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_publishers_at_once_one_wins_at_a_time_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    two_publishers(Storage::new(storage_fs::Fs::builder(directory.path()).build().unwrap())).await;
}

/// The clock goes on while a machine is suspended; the timer of the renewals does not.
#[tokio::test]
async fn a_publisher_that_was_suspended_writes_no_page_after_its_claim_has_expired() {
    let scene = Scene::new().await;
    let held = scene.faults.on(Operation::Copy).call(1).hold();
    let options = scene.options().concurrency(1);
    let next = next();
    let publishing = publish(&next, &scene.storage, &options);
    let suspended = async {
        held.reached().await;
        scene.clock.advance(Duration::from_secs(3600));
        let copies = scene.faults.calls(Operation::Copy);
        held.release();
        copies
    };
    let (published, copies) = tokio::join!(publishing, suspended);
    let error = published.unwrap_err();
    assert!(error.is_retryable() && error.message().contains("claim expired"), "{error}");
    // The copy that was under way is the last.
    assert_eq!(scene.faults.calls(Operation::Copy), copies);
}

#[tokio::test]
async fn a_publisher_that_was_suspended_deletes_nothing_more_after_its_claim_has_expired() {
    let scene = Scene::new().await;
    let ended = releases(&scene.storage).await.unwrap().current.unwrap().release;
    let options = scene.options().keep(1).grace(Duration::ZERO);
    let held = scene.faults.on(Operation::Delete).call(1).hold();
    let next = next();
    let publishing = publish(&next, &scene.storage, &options);
    let suspended = async {
        held.reached().await;
        scene.clock.advance(Duration::from_secs(3600));
        held.release();
    };
    let (published, ()) = tokio::join!(publishing, suspended);
    let error = published.unwrap().cleanup_error.unwrap();
    assert!(error.message().contains("claim expired"), "{error}");
    // The deletions that were under way are the last: manifests follow after them.
    let manifest = storage_publish::manifest_key(&ended).unwrap();
    assert!(scene.storage.exists(manifest.as_str()).await.unwrap());
}
