//! Races and dropped futures.

use storage_core::ErrorKind;

use super::{content, part_size, put_all, split};
use crate::case::Checked;
use crate::kit::{Kit, refused};
use crate::support::content::{assert_same, pattern};
use crate::support::polls::at_most;
use crate::support::race::race;

const RACERS: usize = 16;

pub(crate) async fn one_of_16_concurrent_completions_with_create_new_succeeds(
    kit: &Kit,
) -> Checked {
    for round in 0..3 {
        let key = format!("{round}.bin");
        let mut uploads = Vec::new();
        for number in 0..RACERS {
            let upload = kit.storage.multipart(&*key).create_new().await?;
            upload.put_part(1, format!("body {number}")).await?;
            uploads.push(upload);
        }
        let results = race(RACERS, |number| {
            let upload = uploads[number].clone();
            async move { upload.complete().await }
        });
        let results = results.await;
        let winners: Vec<_> = (0..RACERS).filter(|&number| results[number].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(kit.read(&key).await?, format!("body {}", winners[0]));
        for (number, result) in results.into_iter().enumerate() {
            if number != winners[0] {
                refused(result, ErrorKind::AlreadyExists);
            }
        }
    }
    Ok(())
}

pub(crate) async fn of_16_concurrent_completions_of_one_upload_all_succeed(kit: &Kit) -> Checked {
    for round in 0..3 {
        let key = format!("{round}.bin");
        let bytes = content(kit, round, 1)?;
        let upload = kit.storage.multipart(&*key).part_size(part_size(kit)?).await?;
        put_all(kit, &upload, &bytes).await?;
        let completions = race(RACERS, |_| {
            let upload = upload.clone();
            async move { upload.complete().await }
        });
        for completed in completions.await {
            assert_eq!(completed?.size, bytes.len() as u64);
        }
        assert_same(&kit.read(&key).await?, &bytes);
    }
    Ok(())
}

pub(crate) async fn of_concurrent_puts_of_one_part_one_stays_whole(kit: &Kit) -> Checked {
    let len = usize::try_from(part_size(kit)?).expect("it fits");
    let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
    let puts = race(8, |number| {
        let upload = upload.clone();
        let bytes = pattern(u8::try_from(number).expect("it is small"), len);
        async move { upload.put_part(1, bytes).await }
    });
    for put in puts.await {
        put?;
    }
    let resumed = kit.storage.resume_multipart("a.bin", upload.id().clone())?;
    resumed.complete().await?;
    let stored = kit.read("a.bin").await?;
    assert!((0..8).any(|seed| stored == pattern(seed, len)), "the part is a mixture");
    Ok(())
}

pub(crate) async fn an_abort_during_puts_leaves_nothing(kit: &Kit) -> Checked {
    for round in 0..3 {
        let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
        let parts = split(kit, &content(kit, round, 2)?)?;
        let raced = race(parts.len() + 1, |number| {
            let (upload, part) = (upload.clone(), parts.get(number).cloned());
            async move {
                match part {
                    Some((number, bytes)) => upload.put_part(number, bytes).await.map(drop),
                    None => upload.abort().await,
                }
            }
        });
        // A put was before the abort, or is refused.
        let results = raced.await;
        let [puts @ .., aborted] = &results[..] else { panic!("there are results") };
        assert!(aborted.is_ok(), "{aborted:?}");
        for put in puts.iter().filter_map(|put| put.as_ref().err()) {
            assert_eq!(put.kind(), ErrorKind::NotFound, "{put}");
        }
        upload.abort().await?;
        refused(upload.complete().await, ErrorKind::NotFound);
        kit.holds_only(&[]).await?;
    }
    Ok(())
}

pub(crate) async fn a_put_dropped_at_any_point_leaves_a_whole_part(kit: &Kit) -> Checked {
    let len = usize::try_from(part_size(kit)?).expect("it fits");
    let (old, new) = (pattern(1, len), pattern(2, len));
    for polls in 0..POINTS {
        let upload = kit.storage.multipart("a.bin").part_size(part_size(kit)?).await?;
        upload.put_part(1, old.clone()).await?;
        let done = at_most(polls, upload.put_part(1, new.clone())).await;
        // This handle does not know which one stays.
        let resumed = kit.storage.resume_multipart("a.bin", upload.id().clone())?;
        resumed.complete().await?;
        let stored = kit.read("a.bin").await?;
        assert!(stored == old || stored == new, "the part is a mixture after {polls} polls");
        if let Some(put) = done {
            put?;
            assert_same(&stored, &new);
            break;
        }
    }
    Ok(())
}

pub(crate) async fn a_completion_dropped_at_any_point_can_be_repeated(kit: &Kit) -> Checked {
    let bytes = content(kit, 3, 1)?;
    for polls in 0..POINTS {
        let key = format!("{polls}.bin");
        let begin = kit.storage.multipart(&*key).part_size(part_size(kit)?);
        let upload = begin.create_new().await?;
        put_all(kit, &upload, &bytes).await?;
        let done = at_most(polls, upload.complete()).await;
        assert_eq!(upload.complete().await?.size, bytes.len() as u64);
        assert_same(&kit.read(&key).await?, &bytes);
        if let Some(completed) = done {
            completed?;
            break;
        }
    }
    Ok(())
}

/// At how many points at most a call is dropped.
const POINTS: usize = 24;
