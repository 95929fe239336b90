//! The rows with the most downloads: [`Top`] while requests are counted, [`Best`] of rows that do
//! not change.
//!
//! Counts only grow. A row therefore enters the list when its own counts grow, and the lowest rank
//! of the list never falls. Reading the list costs the same for ten keys and for a million.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use storage_core::Key;

use super::counts::Counts;

/// The maximum number of rows in a list of top keys.
pub(crate) const MAX: usize = 25;

/// The counts of a key, in the list of the top keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TopKey {
    pub(crate) key: Key,
    #[serde(flatten)]
    pub(crate) counts: Counts,
}

/// The indices of the rows with the highest ranks, in no order.
#[derive(Debug, Default)]
pub(super) struct Top {
    indices: Vec<usize>,
    /// A rank that no listed row is below. Rows below it are skipped without a look at the list.
    floor: Option<(Key, Counts)>,
}

impl Top {
    /// Considers a row whose counts have grown.
    pub(super) fn update(&mut self, rows: &[(Key, Counts)], index: usize) {
        let Some(row) = rows.get(index) else { return };
        let is_below = |floor: &(Key, Counts)| compare(row, floor).is_lt();
        if self.floor.as_ref().is_some_and(is_below) || self.indices.contains(&index) {
            return;
        }
        if self.indices.len() < MAX {
            self.indices.push(index);
            return;
        }
        let by_rank = |a: &&mut usize, b: &&mut usize| compare(&rows[**a], &rows[**b]);
        let Some(lowest) = self.indices.iter_mut().min_by(by_rank) else { return };
        self.floor = Some(rows[*lowest].clone());
        if compare(&rows[*lowest], row).is_lt() {
            *lowest = index;
        }
    }

    /// Returns the rows of the list in descending order.
    pub(super) fn sorted(&self, rows: &[(Key, Counts)]) -> Vec<TopKey> {
        let mut top: Vec<_> = self.indices.iter().filter_map(|index| rows.get(*index)).collect();
        top.sort_unstable_by(|a, b| compare(b, a));
        top.into_iter().map(|(key, counts)| TopKey { key: key.clone(), counts: *counts }).collect()
    }
}

/// The best of the rows that were added.
#[derive(Debug, Default)]
pub(super) struct Best(Vec<(Key, Counts)>);

impl Best {
    pub(super) fn add(&mut self, key: Key, counts: Counts) {
        self.0.push((key, counts));
        if self.0.len() == 8 * MAX {
            self.shorten();
        }
    }

    /// Returns the best rows in descending order.
    pub(super) fn sorted(mut self) -> Vec<TopKey> {
        self.shorten();
        self.0.into_iter().map(|(key, counts)| TopKey { key, counts }).collect()
    }

    fn shorten(&mut self) {
        self.0.sort_unstable_by(|a, b| compare(b, a));
        self.0.truncate(MAX);
    }
}

/// Orders rows by downloads, then by requests, then in reverse by key.
fn compare(a: &(Key, Counts), b: &(Key, Counts)) -> Ordering {
    let rank = |row: &(Key, Counts)| (row.1.downloads, row.1.requests);
    rank(a).cmp(&rank(b)).then_with(|| b.0.cmp(&a.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_that_of_a_full_sort_after_any_sequence_of_requests() {
        let keys = 4 * MAX;
        let mut rows: Vec<(Key, Counts)> = Vec::new();
        let mut top = Top::default();
        let mut state = 1_u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Low indices are more frequent, and many ranks are equal.
            let random = (state >> 33) as usize;
            let index = (random % keys).min(random / 7 % keys).min(rows.len());
            if index == rows.len() {
                let name = format!("key-{}", state >> 40);
                rows.push((Key::new(name).unwrap(), Counts::default()));
            }
            rows[index].1.requests += 1;
            rows[index].1.downloads += state >> 63;
            top.update(&rows, index);
            if random.is_multiple_of(50) {
                let mut sorted: Vec<_> = rows.iter().collect();
                sorted.sort_by(|a, b| compare(b, a));
                sorted.truncate(MAX);
                let listed = top.sorted(&rows);
                let listed: Vec<_> = listed.iter().map(|top| (&top.key, top.counts)).collect();
                let sorted: Vec<_> = sorted.iter().map(|row| (&row.0, row.1)).collect();
                assert_eq!(listed, sorted);
            }
        }
        assert_eq!(rows.len(), keys);
    }
}
