//! S3-FIFO, an eviction policy ("FIFO queues are all you need for cache eviction", SOSP 2023).
//!
//! It has three queues. A new item enters `small`, which takes a tenth of the capacity. At the end
//! of `small`, an item with at least two hits moves to `main`; any other is evicted, and `ghost`
//! records its name. An item whose name is in `ghost` enters `main` at once. At the end of `main`,
//! an item is reinserted once for each hit since, up to three times, and then evicted. A scan of
//! items that are requested once therefore passes through `small` and evicts nothing from `main`.
//!
//! A hit increments a counter and moves nothing. Every operation is O(1), evictions amortised: each
//! step of an eviction either ends it or consumes a counted hit.

use std::collections::{HashMap, VecDeque};

/// The maximum number of hits that an item counts.
const MOST_HITS: u8 = 3;

/// How many hits an item needs to move from `small` to `main`.
const WORTH_KEEPING: u8 = 2;

/// The position of an item, valid from [`S3Fifo::insert`] until the item is removed or evicted.
/// After that it may refer to another item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u32);

/// The eviction order of weighted items. The caller decides when to evict.
#[derive(Debug)]
pub(super) struct S3Fifo<T> {
    /// The weight from which `small` is evicted before `main`.
    small_share: u64,
    nodes: Vec<Node<T>>,
    /// The first free node. Free nodes are linked by `newer`.
    free: u32,
    lists: [List; 2],
    ghost: Ghost,
}

/// The index that stands for no node. So many nodes would exceed the memory of any machine.
const NIL: u32 = u32::MAX;
const SMALL: u8 = 0;
const MAIN: u8 = 1;

/// One item and its links. Kept small, because there is one for each item.
#[derive(Debug)]
struct Node<T> {
    /// `None` in a free node.
    item: Option<T>,
    weight: u64,
    name: u32,
    older: u32,
    newer: u32,
    hits: u8,
    list: u8,
}

impl<T> S3Fifo<T> {
    /// Creates an empty queue for items of a total weight of `capacity`.
    pub(super) fn new(capacity: u64) -> Self {
        let ghost = Ghost::default();
        Self {
            small_share: capacity / 10,
            nodes: Vec::new(),
            free: NIL,
            lists: [List::EMPTY; 2],
            ghost,
        }
    }

    /// Adds a new item. `name` is a hash of its key, equal for later versions of the item. The
    /// lower 32 bits are kept. If two items share a name, one of them may enter `main` too early.
    pub(super) fn insert(&mut self, item: T, name: u64, weight: u64) -> Ticket {
        let name = name as u32;
        let list = if self.ghost.forget(name) { MAIN } else { SMALL };
        self.push(Node { item: Some(item), name, weight, hits: 0, list, older: NIL, newer: NIL })
    }

    /// Adds an item to `main` as the newest, with the hits that it had in an earlier run.
    pub(super) fn insert_proven(&mut self, item: T, name: u64, weight: u64, hits: u8) -> Ticket {
        let (hits, name) = (hits.min(MOST_HITS), name as u32);
        self.push(Node { item: Some(item), name, weight, hits, list: MAIN, older: NIL, newer: NIL })
    }

    /// Counts a hit.
    pub(super) fn hit(&mut self, ticket: Ticket) {
        let node = &mut self.nodes[ticket.0 as usize];
        node.hits = (node.hits + 1).min(MOST_HITS);
    }

    /// Replaces an item by another, such as a newer version, and returns the old one. The position
    /// and the hits stay.
    pub(super) fn replace(&mut self, ticket: Ticket, item: T, weight: u64) -> Option<T> {
        let node = &mut self.nodes[ticket.0 as usize];
        let list = &mut self.lists[usize::from(node.list)];
        list.weight = list.weight - node.weight + weight;
        node.weight = weight;
        node.item.replace(item)
    }

    /// Removes an item without recording its name in `ghost`.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let Ticket(at) = ticket;
        self.unlink(at);
        let node = &mut self.nodes[at as usize];
        node.newer = std::mem::replace(&mut self.free, at);
        node.item.take()
    }

    /// Evicts the next item and returns it. Returns `None` if the queue is empty.
    pub(super) fn evict(&mut self) -> Option<T> {
        self.evict_beyond(self.small_share)
    }

    /// Evicts like [`evict`](Self::evict) where the number of items is the limit, not their weight.
    /// The share of `small` is then a tenth of the current weight: a tenth of the capacity would
    /// never be reached, and only items of `main` would be evicted.
    pub(super) fn evict_one_of_many(&mut self) -> Option<T> {
        self.evict_beyond(self.small_share.min(self.weight() / 10))
    }

    fn evict_beyond(&mut self, small_share: u64) -> Option<T> {
        loop {
            let [small, main] = &self.lists;
            let list = if main.len == 0 || small.weight > small_share { SMALL } else { MAIN };
            let at = self.lists[usize::from(list)].oldest;
            let node = self.nodes.get_mut(at as usize)?;
            if list == SMALL && node.hits >= WORTH_KEEPING {
                node.hits = 0;
                self.move_to_main(at);
            } else if list == MAIN && node.hits > 0 {
                node.hits -= 1;
                self.move_to_main(at);
            } else {
                if list == SMALL {
                    self.ghost.remember(node.name, self.lists[usize::from(MAIN)].len);
                }
                return self.remove(Ticket(at));
            }
        }
    }

    /// Returns the total weight of all items.
    pub(super) fn weight(&self) -> u64 {
        self.lists.iter().map(|list| list.weight).sum()
    }

    /// Iterates over the items of `main` with their hits, oldest first.
    pub(super) fn proven(&self) -> impl Iterator<Item = (&T, u8)> {
        let mut at = self.lists[usize::from(MAIN)].oldest;
        std::iter::from_fn(move || {
            let node = self.nodes.get(at as usize)?;
            at = node.newer;
            Some((node.item.as_ref()?, node.hits))
        })
    }

    fn push(&mut self, node: Node<T>) -> Ticket {
        let list = usize::from(node.list);
        let at = match self.nodes.get_mut(self.free as usize) {
            Some(free) => {
                let at = std::mem::replace(&mut self.free, free.newer);
                *free = node;
                at
            }
            None => {
                let at = u32::try_from(self.nodes.len()).unwrap_or(NIL);
                if self.nodes.len() == self.nodes.capacity() {
                    // Grows by an eighth instead of doubling, to limit unused memory.
                    self.nodes.reserve_exact(self.nodes.len() / 8 + 16);
                }
                self.nodes.push(node);
                at
            }
        };
        self.lists[list].push(&mut self.nodes, at);
        Ticket(at)
    }

    /// Takes a node out of its list.
    fn unlink(&mut self, at: u32) {
        let list = usize::from(self.nodes[at as usize].list);
        self.lists[list].take(&mut self.nodes, at);
    }

    fn move_to_main(&mut self, at: u32) {
        self.unlink(at);
        self.nodes[at as usize].list = MAIN;
        self.lists[usize::from(MAIN)].push(&mut self.nodes, at);
    }
}

/// A queue through the nodes.
#[derive(Debug, Clone, Copy)]
struct List {
    oldest: u32,
    newest: u32,
    weight: u64,
    len: usize,
}

impl List {
    const EMPTY: Self = Self { oldest: NIL, newest: NIL, weight: 0, len: 0 };

    /// Appends a node as the newest.
    fn push<T>(&mut self, nodes: &mut [Node<T>], at: u32) {
        let node = &mut nodes[at as usize];
        (node.older, node.newer) = (self.newest, NIL);
        self.weight += node.weight;
        self.len += 1;
        match nodes.get_mut(self.newest as usize) {
            Some(newest) => newest.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }

    fn take<T>(&mut self, nodes: &mut [Node<T>], at: u32) {
        let Node { older, newer, weight, .. } = nodes[at as usize];
        match nodes.get_mut(older as usize) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
        match nodes.get_mut(newer as usize) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        self.weight -= weight;
        self.len -= 1;
    }
}

/// The names of the items that were evicted from `small` last. If two keys share a name, one of
/// them may enter `main` too early.
#[derive(Debug, Default)]
struct Ghost {
    /// The names in the order of their insertion, each with its turn. A removed name stays here
    /// until it is the oldest.
    order: VecDeque<(u32, u32)>,
    turns: HashMap<u32, u32>,
    /// The number of the last insertion. Wraps around, long after names of the same turn are gone.
    turn: u32,
}

impl Ghost {
    /// The minimum capacity. The paper uses the number of items in `main`, which is small at first.
    const LEAST: usize = 64;

    fn remember(&mut self, name: u32, most: usize) {
        self.turn = self.turn.wrapping_add(1);
        self.order.push_back((name, self.turn));
        self.turns.insert(name, self.turn);
        while self.order.len() > most.max(Self::LEAST) {
            if let Some((name, turn)) = self.order.pop_front()
                && self.turns.get(&name) == Some(&turn)
            {
                self.turns.remove(&name);
            }
        }
    }

    /// Removes a name and returns whether it was recorded.
    fn forget(&mut self, name: u32) -> bool {
        self.turns.remove(&name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(items: std::ops::Range<u64>) -> (S3Fifo<u64>, Vec<Ticket>) {
        let mut queue = S3Fifo::new(100);
        let tickets = items.map(|item| queue.insert(item, item, 10)).collect();
        (queue, tickets)
    }

    fn evicted(queue: &mut S3Fifo<u64>) -> Vec<u64> {
        std::iter::from_fn(|| queue.evict()).collect()
    }

    #[test]
    fn items_without_hits_are_evicted_in_insertion_order() {
        let (mut queue, _) = filled(0..5);
        assert_eq!(evicted(&mut queue), [0, 1, 2, 3, 4]);
        assert_eq!(queue.weight(), 0);
        assert_eq!(queue.evict(), None);
    }

    #[test]
    fn an_item_with_two_hits_outlives_a_scan() {
        let (mut queue, tickets) = filled(0..5);
        for _ in 0..2 {
            queue.hit(tickets[1]);
        }
        queue.hit(tickets[2]);
        for scanned in 100..200 {
            queue.insert(scanned, scanned, 10);
            assert_ne!(queue.evict(), Some(1));
        }
        assert_eq!(queue.proven().map(|(item, _)| *item).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn an_item_that_is_reinserted_soon_enters_main_at_once() {
        let (mut queue, _) = filled(0..5);
        assert_eq!(queue.evict(), Some(0));
        queue.insert(0, 0, 10);
        assert_eq!(evicted(&mut queue), [1, 2, 3, 0, 4], "main is next with one item in small");
    }

    #[test]
    fn the_number_of_recorded_names_is_bounded() {
        let mut queue = S3Fifo::new(100);
        for item in 0..10_000 {
            queue.insert(item, item, 10);
            queue.evict();
        }
        assert!(queue.ghost.order.len() <= Ghost::LEAST && queue.ghost.turns.len() <= Ghost::LEAST);
        queue.insert(0, 0, 10);
        assert_eq!(queue.lists[1].len, 0, "the name is no longer recorded");
        queue.insert(9_999, 9_999, 10);
        assert_eq!(queue.lists[1].len, 1);
    }

    #[test]
    fn an_item_in_main_is_reinserted_once_for_each_hit_and_three_times_at_most() {
        let mut queue = S3Fifo::new(100);
        let often = queue.insert_proven("often", 0, 10, 0);
        for _ in 0..50 {
            queue.hit(often);
        }
        let others = ["a", "b", "c", "d", "e"];
        let out: Vec<_> = others
            .into_iter()
            .map(|other| {
                queue.insert_proven(other, 1, 10, 0);
                queue.evict().unwrap()
            })
            .collect();
        assert_eq!(out, ["a", "b", "c", "often", "d"]);
    }

    #[test]
    fn an_item_can_be_removed_from_any_position() {
        let (mut queue, tickets) = filled(0..5);
        for at in [2, 0, 4] {
            assert_eq!(queue.remove(tickets[at]), Some(at as u64));
        }
        assert_eq!(queue.weight(), 20);
        queue.insert(7, 7, 5);
        assert_eq!(queue.weight(), 25);
        assert_eq!(evicted(&mut queue), [1, 3, 7]);
    }

    #[test]
    fn a_new_version_keeps_the_position_and_the_hits() {
        let (mut queue, tickets) = filled(0..3);
        queue.hit(tickets[0]);
        queue.hit(tickets[0]);
        assert_eq!(queue.replace(tickets[0], 50, 30), Some(0));
        assert_eq!(queue.weight(), 50);
        assert_eq!(
            evicted(&mut queue),
            [1, 50, 2],
            "it is in main, which is next with one item in small"
        );
    }
}
