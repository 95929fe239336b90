//! Ranges of `open`: exactly the requested bytes, or `RangeNotSatisfiable`.

use std::ops::Range;

use futures_util::TryStreamExt;
use storage_core::{ByteRange, ErrorKind};

use crate::case::Checked;
use crate::kit::{Kit, refused};
use crate::support::content::{assert_same, pattern};

const KEY: &str = "a/b.bin";

/// Asserts that the range contains these positions, and that the object states them.
async fn expect(kit: &Kit, whole: &[u8], range: ByteRange, positions: Range<usize>) -> Checked {
    let object = kit.storage.open(KEY).range(range).await?;
    assert_eq!(object.range(), positions.start as u64..positions.end as u64, "{range}");
    assert_eq!(object.content_length(), positions.len() as u64, "{range}");
    assert_eq!(object.meta().size, whole.len() as u64, "{range}: the size is the whole object's");
    assert_same(&object.bytes().await?, &whole[positions]);
    Ok(())
}

pub(crate) async fn from_to_returns_the_bytes_before_the_end(kit: &Kit) -> Checked {
    let whole = pattern(1, 1000);
    kit.seed.save(KEY, whole.clone()).await?;
    for positions in [0..1, 0..1000, 0..999, 999..1000, 1..2, 250..750, 511..513] {
        let range = ByteRange::from(positions.start as u64..positions.end as u64);
        expect(kit, &whole, range, positions).await?;
    }
    expect(kit, &whole, (10..=20).into(), 10..21).await?;
    expect(kit, &whole, (..5).into(), 0..5).await
}

pub(crate) async fn from_returns_the_rest(kit: &Kit) -> Checked {
    let whole = pattern(1, 1000);
    kit.seed.save(KEY, whole.clone()).await?;
    for from in [0, 1, 500, 999] {
        expect(kit, &whole, (from..).into(), from as usize..1000).await?;
    }
    Ok(())
}

pub(crate) async fn last_returns_the_end(kit: &Kit) -> Checked {
    let whole = pattern(1, 1000);
    kit.seed.save(KEY, whole.clone()).await?;
    for n in [1, 2, 500, 999, 1000] {
        expect(kit, &whole, ByteRange::last(n), 1000 - n as usize..1000).await?;
    }
    Ok(())
}

pub(crate) async fn an_end_past_the_object_is_reduced_to_its_size(kit: &Kit) -> Checked {
    let whole = pattern(1, 1000);
    kit.seed.save(KEY, whole.clone()).await?;
    expect(kit, &whole, (0..1001).into(), 0..1000).await?;
    expect(kit, &whole, (999..5000).into(), 999..1000).await?;
    expect(kit, &whole, (5..u64::MAX).into(), 5..1000).await?;
    expect(kit, &whole, (5..=u64::MAX).into(), 5..1000).await?;
    expect(kit, &whole, ByteRange::last(1001), 0..1000).await?;
    expect(kit, &whole, ByteRange::last(u64::MAX), 0..1000).await
}

pub(crate) async fn a_start_past_the_object_is_not_satisfiable(kit: &Kit) -> Checked {
    kit.seed.save(KEY, pattern(1, 1000)).await?;
    let past_the_end: [ByteRange; 5] = [
        (1000..1001).into(),
        (1000..).into(),
        (1001..).into(),
        (5000..6000).into(),
        (u64::MAX..).into(),
    ];
    for range in past_the_end {
        refused(kit.storage.open(KEY).range(range).await, ErrorKind::RangeNotSatisfiable);
    }
    Ok(())
}

pub(crate) async fn no_range_of_an_empty_object_is_satisfiable(kit: &Kit) -> Checked {
    kit.seed.save(KEY, "").await?;
    for range in [(0..1).into(), (0..).into(), ByteRange::last(1), ByteRange::last(100)] {
        refused(kit.storage.open(KEY).range(range).await, ErrorKind::RangeNotSatisfiable);
    }
    assert!(kit.read(KEY).await?.is_empty());
    Ok(())
}

pub(crate) async fn every_range_of_a_small_object_has_the_right_bytes(kit: &Kit) -> Checked {
    let whole = pattern(1, 6);
    kit.seed.save(KEY, whole.clone()).await?;
    for from in 0..6_usize {
        for to in from + 1..9 {
            expect(kit, &whole, (from as u64..to as u64).into(), from..to.min(6)).await?;
        }
    }
    for n in 1..9_usize {
        expect(kit, &whole, ByteRange::last(n as u64), 6_usize.saturating_sub(n)..6).await?;
    }
    Ok(())
}

pub(crate) async fn ranges_of_a_large_object_have_the_right_bytes(kit: &Kit) -> Checked {
    const LEN: usize = 6_000_000;
    let whole = pattern(1, LEN);
    kit.seed.save(KEY, whole.clone()).await?;
    let starts = [0, 1, 4095, 65_536, 1_048_575, 1_048_576, 5_242_879, LEN - 1];
    for (from, len) in
        starts.into_iter().flat_map(|from| [1, 4096, 70_000, 2_500_000].map(|len| (from, len)))
    {
        expect(kit, &whole, (from as u64..(from + len) as u64).into(), from..(from + len).min(LEN))
            .await?;
    }
    expect(kit, &whole, ByteRange::last(2_000_001), LEN - 2_000_001..LEN).await
}

pub(crate) async fn a_streamed_range_has_the_right_bytes(kit: &Kit) -> Checked {
    let whole = pattern(1, 3_000_000);
    kit.seed.save(KEY, whole.clone()).await?;
    let object = kit.storage.open(KEY).range(1_000_001..2_900_000).await?;
    let chunks: Vec<_> = object.into_stream().try_collect().await?;
    assert_same(&chunks.concat(), &whole[1_000_001..2_900_000]);
    Ok(())
}
