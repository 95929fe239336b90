//! [`Backlog`]: objects that differ and wait until others have been copied, so that it is known
//! early how much remains.

use std::collections::VecDeque;
use std::fmt;

use crate::event::{OnRemaining, Remaining};
use crate::merge::Pair;
use crate::sync::act::Decision;
use crate::sync::summary::Counts;

/// How many objects wait at most. Each takes a few hundred bytes.
const MAX_WAITING: usize = 10_000;

/// A pair that waits: the number of its range, the pair, what to do, and what it counts.
pub(crate) type Waiting = (u64, Pair, Decision, Counts);

/// The pairs that wait. Without a function that receives what remains, none does.
#[derive(Default)]
pub(crate) struct Backlog {
    on_remaining: Option<OnRemaining>,
    waiting: VecDeque<Waiting>,
    /// The bytes of what waits and what is under way.
    bytes: u64,
}

impl Backlog {
    pub(crate) fn new(on_remaining: Option<OnRemaining>) -> Self {
        Self { on_remaining, ..Self::default() }
    }

    pub(crate) fn is_used(&self) -> bool {
        self.on_remaining.is_some()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.is_used() && self.waiting.len() < MAX_WAITING
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn push(&mut self, waiting: Waiting) {
        self.bytes = self.bytes.saturating_add(size(&waiting.1));
        self.waiting.push_back(waiting);
    }

    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        self.waiting.pop_front()
    }

    /// Notes that a pair is no longer under way.
    pub(crate) fn finished(&mut self, pair: &Pair) {
        // The object may be another version than the one that was listed.
        self.bytes = self.bytes.saturating_sub(size(pair));
    }

    /// Reports what remains, given how many objects are under way.
    pub(crate) fn report(&self, under_way: usize) {
        if let Some(on_remaining) = &self.on_remaining {
            let objects = (self.waiting.len() + under_way) as u64;
            on_remaining(Remaining { objects, bytes: self.bytes });
        }
    }
}

impl fmt::Debug for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backlog")
            .field("waiting", &self.waiting.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

fn size(pair: &Pair) -> u64 {
    pair.source.as_ref().map_or(0, |source| source.size)
}
