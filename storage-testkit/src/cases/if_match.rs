//! `if_match` of a save replaces the matching version, or nothing.

use storage_core::{ETag, ErrorKind, Storage};

use crate::case::{Checked, Failure};
use crate::kit::{Kit, refused};
use crate::support::content::{assert_same, pattern};
use crate::support::payloads::failing;
use crate::support::race::race;

const KEY: &str = "a/b.bin";

/// Returns the ETag of the current version. The cases require strong ETags, so there is one.
async fn version(storage: &Storage) -> Result<ETag, Failure> {
    let etag = storage.stat(KEY).await?.etag;
    Ok(etag.unwrap_or_else(|| panic!("{KEY:?} has no ETag")))
}

pub(crate) async fn the_current_version_is_replaced(kit: &Kit) -> Checked {
    kit.storage.save(KEY, "0").await?;
    for next in ["1", "22", "333"] {
        let etag = version(&kit.storage).await?;
        kit.storage.save(KEY, next).if_match(etag).await?;
        assert_eq!(kit.read(KEY).await?, next);
    }
    kit.holds_only(&[KEY]).await?;
    Ok(())
}

pub(crate) async fn the_returned_etag_matches_in_the_next_save(kit: &Kit) -> Checked {
    let mut meta = kit.storage.save(KEY, "0").await?;
    for next in ["1", "2", "3"] {
        // A save need not return the ETag.
        let Some(etag) = meta.etag else { return Ok(()) };
        meta = kit.storage.save(KEY, next).if_match(etag).await?;
    }
    assert_eq!(kit.read(KEY).await?, "3");
    Ok(())
}

pub(crate) async fn an_outdated_etag_is_refused_and_changes_nothing(kit: &Kit) -> Checked {
    kit.storage.save(KEY, "old").await?;
    let old = version(&kit.storage).await?;
    kit.storage.save(KEY, "new").await?;
    let before = kit.storage.stat(KEY).await?;
    let late = kit.storage.save(KEY, "late").content_type("text/css").if_match(old).await;
    refused(late, ErrorKind::PreconditionFailed);
    let foreign =
        kit.storage.save(KEY, pattern(1, 3_000_000)).if_match(ETag::strong("never-seen")?).await;
    refused(foreign, ErrorKind::PreconditionFailed);
    assert_eq!(kit.read(KEY).await?, "new");
    assert_eq!(kit.storage.stat(KEY).await?, before);
    kit.holds_only(&[KEY]).await?;
    Ok(())
}

pub(crate) async fn a_missing_object_is_refused_and_not_created(kit: &Kit) -> Checked {
    kit.storage.save(KEY, "old").await?;
    let etag = version(&kit.storage).await?;
    kit.storage.delete(KEY).await?;
    refused(
        kit.storage.save(KEY, "new").if_match(etag.clone()).await,
        ErrorKind::PreconditionFailed,
    );
    refused(
        kit.storage.save("x/never.bin", "new").if_match(etag).await,
        ErrorKind::PreconditionFailed,
    );
    kit.holds_only(&[]).await?;
    Ok(())
}

pub(crate) async fn a_weak_etag_never_matches(kit: &Kit) -> Checked {
    kit.storage.save(KEY, "old").await?;
    let weak = ETag::weak(version(&kit.storage).await?.opaque())?;
    refused(kit.storage.save(KEY, "new").if_match(weak).await, ErrorKind::PreconditionFailed);
    assert_eq!(kit.read(KEY).await?, "old");
    Ok(())
}

pub(crate) async fn a_failed_stream_leaves_the_old_object(kit: &Kit) -> Checked {
    kit.storage.save(KEY, "old").await?;
    let etag = version(&kit.storage).await?;
    for chunks in [vec![], vec![pattern(1, 100)], vec![pattern(1, 3_000_000)]] {
        let failed = kit.storage.save(KEY, failing(chunks)).if_match(etag.clone()).await;
        refused(failed, ErrorKind::Unexpected);
    }
    kit.storage.save(KEY, "new").if_match(etag).await?;
    kit.holds_only(&[KEY]).await?;
    Ok(())
}

pub(crate) async fn one_of_32_concurrent_saves_on_one_version_succeeds(kit: &Kit) -> Checked {
    for _ in 0..5 {
        kit.storage.save(KEY, "old").await?;
        let etag = version(&kit.storage).await?;
        let ended = race(32, |racer| {
            let save = kit.storage.save(KEY, pattern(racer as u8, 3000)).if_match(etag.clone());
            async move { (racer, save.await) }
        });
        let mut winners = Vec::new();
        for (racer, ended) in ended.await {
            match ended {
                Ok(_) => winners.push(racer),
                lost => drop(refused(lost, ErrorKind::PreconditionFailed)),
            }
        }
        assert_eq!(winners.len(), 1, "these racers all won: {winners:?}");
        assert_same(&kit.read(KEY).await?, &pattern(winners[0] as u8, 3000));
    }
    kit.holds_only(&[KEY]).await?;
    Ok(())
}

/// The purpose of the mode: concurrent updates of a shared object.
pub(crate) async fn no_update_of_a_shared_counter_is_lost(kit: &Kit) -> Checked {
    const TASKS: u64 = 6;
    const COUNTS: u64 = 10;
    kit.storage.save(KEY, "0").await?;
    let counted = race(TASKS as usize, |_| {
        let storage = kit.storage.clone();
        async move {
            for _ in 0..COUNTS {
                count_up(&storage).await?;
            }
            Ok::<_, Failure>(())
        }
    });
    counted.await.into_iter().collect::<Result<(), _>>()?;
    assert_eq!(kit.read(KEY).await?, (TASKS * COUNTS).to_string());
    Ok(())
}

async fn count_up(storage: &Storage) -> Checked {
    // Each refusal means that another update succeeded, so a counter is refused at most as often as
    // the others count.
    for _ in 0..1000 {
        let object = storage.open(KEY).await?;
        let etag = object.meta().etag.clone().unwrap_or_else(|| panic!("{KEY:?} has no ETag"));
        let count: u64 =
            object.text().await?.parse().unwrap_or_else(|error| panic!("a torn counter: {error}"));
        match storage.save(KEY, (count + 1).to_string()).if_match(etag).await {
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {}
            ended => return Ok(ended.map(drop)?),
        }
    }
    panic!("refused 1000 times, more often than the others counted")
}
