//! The order in which mirrors are tried for a key: rendezvous hashing.
//!
//! Each mirror has a score for each key, and the mirrors are tried from the highest score down. So
//! all clients with the same mirrors request a key from the same mirror, independently of the order
//! in their configurations. If a mirror is removed, only its keys move to the others, evenly.

use storage_core::Key;

/// Returns the positions of the mirrors in the order in which they are tried for a key. `seeds`
/// contains the [`seed`] of each mirror.
pub(crate) fn order(seeds: &[u64], key: &Key) -> Vec<usize> {
    let mut order: Vec<_> = (0..seeds.len()).collect();
    if order.len() > 1 {
        let hash = fnv(FNV_OFFSET, key.as_str().as_bytes());
        order.sort_by_key(|&position| std::cmp::Reverse(mixed(seeds[position] ^ hash)));
    }
    order
}

/// Returns the seed of a mirror, which depends on its address.
pub(crate) fn seed(base: &str) -> u64 {
    // Mixed, so that the seeds of similar addresses are unrelated.
    mixed(fnv(FNV_OFFSET, base.as_bytes()))
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// Computes FNV-1a. All clients must use the same hash, so it must not depend on the process or the
/// version.
fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// Applies the finalizer of SplitMix64, in which every bit of the input changes half of the output.
fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASES: [&str; 4] = [
        "https://m1.example/",
        "https://m2.example/",
        "https://m3.example/",
        "https://m4.example/",
    ];

    fn seeds(bases: &[&str]) -> Vec<u64> {
        bases.iter().map(|base| seed(base)).collect()
    }

    fn first<'a>(bases: &[&'a str], key: &Key) -> &'a str {
        bases[order(&seeds(bases), key)[0]]
    }

    fn keys() -> impl Iterator<Item = Key> {
        (0..4_000).map(|number| Key::new(format!("episodes/{number}.mp3")).unwrap())
    }

    #[test]
    fn every_mirror_is_tried_once() {
        for key in keys().take(50) {
            let mut order = order(&seeds(&BASES), &key);
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3]);
        }
        assert_eq!(order(&seeds(&BASES[..1]), &Key::new("a").unwrap()), [0]);
    }

    #[test]
    fn the_order_in_the_configuration_does_not_matter() {
        let turned = [BASES[2], BASES[0], BASES[3], BASES[1]];
        assert!(keys().all(|key| first(&BASES, &key) == first(&turned, &key)));
    }

    #[test]
    fn keys_are_spread_evenly() {
        for base in BASES {
            let count = keys().filter(|key| first(&BASES, key) == base).count();
            assert!((850..1150).contains(&count), "{base} has {count} of 4000");
        }
    }

    #[test]
    fn only_the_keys_of_a_removed_mirror_move_and_they_move_to_all_others() {
        let left = &BASES[..3];
        let mut moved = std::collections::HashSet::new();
        for key in keys() {
            let (before, after) = (first(&BASES, &key), first(left, &key));
            if before == BASES[3] {
                moved.insert(after);
            } else {
                assert_eq!(before, after);
            }
        }
        assert_eq!(moved.len(), 3);
    }

    #[test]
    fn the_choice_is_the_same_in_every_version() {
        // Clients of different versions share mirrors. With another hash, each mirror would store
        // every object.
        let chosen: Vec<_> = keys().take(8).map(|key| order(&seeds(&BASES), &key)[0]).collect();
        assert_eq!(chosen, [3, 3, 1, 2, 0, 2, 0, 2]);
    }
}
