//! S3-FIFO: which item leaves when room is needed ("FIFO queues are all you need for cache
//! eviction", SOSP 2023).
//!
//! Three queues. What is new enters `small`, a tenth of the capacity. What was asked for again by
//! the time it leaves `small` moves to `main`; the rest goes, and its name is remembered in
//! `ghost`. What comes back while its ghost is remembered enters `main` at once. What reaches the
//! end of `main` goes round again as often as it was asked for since, up to three times. So a scan
//! of things that are wanted once passes through `small` and pushes out nothing of worth.
//!
//! A hit counts up two bits and moves nothing. Every operation is O(1), evictions amortised: each
//! step of one either ends it or uses up a hit that was counted.

use std::collections::{HashMap, VecDeque};

/// The most hits that count.
const MOST_HITS: u8 = 3;

/// With how many hits an item leaves `small` for `main`.
const WORTH_KEEPING: u8 = 2;

/// The place of an item, from [`S3Fifo::insert`] until it is removed or evicted. Used after that it
/// may name another item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u32);

/// The order in which items of given weights leave. Decides who leaves, not when: the caller knows
/// the limits.
#[derive(Debug)]
pub(super) struct S3Fifo<T> {
    /// What may be in `small` before items leave from there.
    small_share: u64,
    nodes: Vec<Node<T>>,
    /// The first of the nodes that are free, which are linked by `newer`.
    free: u32,
    lists: [List; 2],
    ghost: Ghost,
}

/// No node. There are fewer than this many, since each needs more memory than a machine has.
const NIL: u32 = u32::MAX;
const SMALL: u8 = 0;
const MAIN: u8 = 1;

/// In few bytes: there is one for each item.
#[derive(Debug)]
struct Node<T> {
    /// `None` in a node that is free.
    item: Option<T>,
    weight: u64,
    name: u32,
    older: u32,
    newer: u32,
    hits: u8,
    list: u8,
}

impl<T> S3Fifo<T> {
    /// Empty, for items that weigh `capacity` together.
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

    /// Takes in a new item. The name is what a later item with the same meaning will have too (a
    /// hash of its key). Its lower half is kept: two items of one name do no harm.
    pub(super) fn insert(&mut self, item: T, name: u64, weight: u64) -> Ticket {
        let name = name as u32;
        let list = if self.ghost.forget(name) { MAIN } else { SMALL };
        self.push(Node { item: Some(item), name, weight, hits: 0, list, older: NIL, newer: NIL })
    }

    /// Takes in an item that had proved its worth before, with the hits it had: the newest of
    /// `main`.
    pub(super) fn insert_proven(&mut self, item: T, name: u64, weight: u64, hits: u8) -> Ticket {
        let (hits, name) = (hits.min(MOST_HITS), name as u32);
        self.push(Node { item: Some(item), name, weight, hits, list: MAIN, older: NIL, newer: NIL })
    }

    /// Counts a hit.
    pub(super) fn hit(&mut self, ticket: Ticket) {
        let node = &mut self.nodes[ticket.0 as usize];
        node.hits = (node.hits + 1).min(MOST_HITS);
    }

    /// Puts another item (a newer version) in the place of one, which it answers. The hits stay.
    pub(super) fn replace(&mut self, ticket: Ticket, item: T, weight: u64) -> Option<T> {
        let node = &mut self.nodes[ticket.0 as usize];
        let list = &mut self.lists[usize::from(node.list)];
        list.weight = list.weight - node.weight + weight;
        node.weight = weight;
        node.item.replace(item)
    }

    /// Takes an item out, leaving no ghost.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let Ticket(at) = ticket;
        self.unlink(at);
        let node = &mut self.nodes[at as usize];
        node.newer = std::mem::replace(&mut self.free, at);
        node.item.take()
    }

    /// Takes out the item that is worth least; `None` if there is none.
    pub(super) fn evict(&mut self) -> Option<T> {
        self.evict_beyond(self.small_share)
    }

    /// As [`evict`](Self::evict), where the items are too many, not too heavy. Then `small` may
    /// have a tenth of what all items weigh: by the capacity, it would never be full, and only
    /// items of `main` would leave.
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

    /// What all items weigh.
    pub(super) fn weight(&self) -> u64 {
        self.lists.iter().map(|list| list.weight).sum()
    }

    /// The items of `main` with their hits, from the oldest on.
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
                    // An eighth more, not as much again: what is unused of it is memory too.
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

/// The names of what has left `small` lately. Two keys of one name do no harm: one of them enters
/// `main` undeserved.
#[derive(Debug, Default)]
struct Ghost {
    /// With the turn in which each was remembered. A name that was forgotten stays here until it is
    /// the oldest.
    order: VecDeque<(u32, u32)>,
    turns: HashMap<u32, u32>,
    /// Wraps around, long after what had the same number has left.
    turn: u32,
}

impl Ghost {
    /// As many as there are items in `main`, the paper says. While there are few, a few more cost
    /// nothing.
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

    /// Whether the name was remembered.
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
    fn what_nobody_asks_for_again_leaves_in_the_order_it_came() {
        let (mut queue, _) = filled(0..5);
        assert_eq!(evicted(&mut queue), [0, 1, 2, 3, 4]);
        assert_eq!(queue.weight(), 0);
        assert_eq!(queue.evict(), None);
    }

    #[test]
    fn what_was_asked_for_twice_outlives_a_scan() {
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
    fn what_comes_back_soon_enters_main_at_once() {
        let (mut queue, _) = filled(0..5);
        assert_eq!(queue.evict(), Some(0));
        queue.insert(0, 0, 10);
        assert_eq!(evicted(&mut queue), [1, 2, 3, 0, 4], "with one left in small, main is next");
    }

    #[test]
    fn ghosts_are_bounded() {
        let mut queue = S3Fifo::new(100);
        for item in 0..10_000 {
            queue.insert(item, item, 10);
            queue.evict();
        }
        assert!(queue.ghost.order.len() <= Ghost::LEAST && queue.ghost.turns.len() <= Ghost::LEAST);
        queue.insert(0, 0, 10);
        assert_eq!(queue.lists[1].len, 0, "long forgotten");
        queue.insert(9_999, 9_999, 10);
        assert_eq!(queue.lists[1].len, 1);
    }

    #[test]
    fn hits_in_main_grant_as_many_rounds_but_three_at_most() {
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
    fn an_item_can_be_taken_out_from_anywhere() {
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
    fn a_new_version_keeps_the_place_and_the_hits() {
        let (mut queue, tickets) = filled(0..3);
        queue.hit(tickets[0]);
        queue.hit(tickets[0]);
        assert_eq!(queue.replace(tickets[0], 50, 30), Some(0));
        assert_eq!(queue.weight(), 50);
        assert_eq!(
            evicted(&mut queue),
            [1, 50, 2],
            "it had moved to main, whose turn is when one is left in small"
        );
    }
}
