//! [`Analytics::search`]: finds keys of the current day that contain a text.

use super::top::{Best, TopKey};
use super::{Analytics, lock};

/// The maximum number of keys that one search visits. A search can continue behind them.
const MAX_SEARCHED: usize = 100_000;

/// The keys that contain a text.
#[derive(Debug)]
pub(crate) struct SearchResult {
    /// Those with the most downloads, in descending order.
    pub(crate) top: Vec<TopKey>,
    /// The number of keys that contain the text, among those that were searched.
    pub(crate) matches: usize,
    /// Where the search can continue. `None` if all keys were searched.
    pub(crate) next: Option<usize>,
}

impl Analytics {
    /// Finds keys of the current day that contain a text, without distinction of upper and lower
    /// case in ASCII. Begins at a number that an earlier search returned, or at 0. Visits at most
    /// 100,000 keys.
    pub(crate) fn search(&self, text: &str, from: usize) -> SearchResult {
        self.search_at_most(text, from, MAX_SEARCHED)
    }

    pub(super) fn search_at_most(&self, text: &str, from: usize, max: usize) -> SearchResult {
        let text = text.to_ascii_lowercase();
        let (mut best, mut matches, mut at) = (Best::default(), 0, from);
        let end = from.saturating_add(max);
        let next = loop {
            // The lock is held for one page at a time, because each request takes it.
            let (searched, found) = lock(&self.today).search(&text, at, &mut best);
            at = at.saturating_add(searched);
            matches += found;
            if searched == 0 {
                break None;
            }
            if at >= end {
                break Some(at);
            }
        };
        SearchResult { top: best.sorted(), matches, next }
    }
}
