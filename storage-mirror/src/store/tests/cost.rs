//! Measures the time of a hit. Run it by hand on an idle machine:
//! `cargo test -p storage-mirror --features server --release -- --ignored --nocapture cost`

use std::hint::black_box;
use std::time::Instant;

use super::*;

const ROUNDS: u32 = 200_000;

fn measure(what: &str, mut work: impl FnMut(u32)) {
    let start = Instant::now();
    (0..ROUNDS).for_each(&mut work);
    let each = start.elapsed() / ROUNDS;
    print_line(&format!("{what}: {each:?}"));
}

#[test]
#[ignore = "measures"]
fn a_hit_is_measured() {
    let scratch = Scratch::in_memory();
    let store = scratch.open(2048 * MIB);
    let keys: Vec<_> =
        (0..20_000).map(|n| format!("podcasts/show-{}/episode-{n}.mp3", n % 100)).collect();
    keys.iter().for_each(|key| drop(fill(&store, key, &[7; 1024])));
    for key in &keys {
        for _ in 0..2 {
            let entry = store.get(key).unwrap();
            store.load(&entry).unwrap();
        }
    }
    let key = |n: u32| &keys[n as usize * 7_919 % keys.len()];
    measure("get", |n| drop(black_box(store.get(key(n)))));
    measure("get + meta + hot", |n| {
        let entry = store.get(key(n)).unwrap();
        black_box((store.try_meta(&entry).unwrap(), store.hot(&entry).unwrap()));
    });
    measure("a miss", |n| drop(black_box(store.get(&keys[n as usize % keys.len()][1..]))));
    drop(store);
    let start = Instant::now();
    let (_store, recovered) = scratch.open_with(Limits::new(2048 * MIB));
    print_line(&format!("a start with {} objects: {:?}", recovered.objects, start.elapsed()));

    // On a disk, because not every file system in memory supports reads without waiting.
    let scratch = Scratch::new();
    let store = scratch.open(64 * MIB);
    let one = fill(&store, "one", &[7; 1024]);
    measure("try_load of 1 KiB", |_| drop(black_box(store.try_load(&one).unwrap())));
    let large = fill(&store, "large", &pattern(1, 80 * BLOCK));
    let reader = store.reader(&large).unwrap();
    measure("try_read_block of 128 KiB", |n| {
        drop(black_box(reader.try_read_block(u64::from(n) % 80).unwrap()));
    });
    (0..2).for_each(|_| drop(store.get("large")));
    (0..80).for_each(|index| drop(reader.read_block(index).unwrap()));
    measure("the same from memory", |n| {
        drop(black_box(reader.try_read_block(u64::from(n) % 80).unwrap()));
    });
    // A dropped page would make the figures above too low.
    assert!(store.try_load(&one).unwrap().is_some() && reader.try_read_block(0).unwrap().is_some());
}
