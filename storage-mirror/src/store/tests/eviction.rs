//! The hit rate of S3-FIFO compared with that of LRU.

use std::collections::{BTreeMap, HashMap};

use super::super::s3fifo::{S3Fifo, Ticket};
use super::*;

const OBJECTS: usize = 20_000;
const REQUESTS: u64 = 200_000;
/// The number of requests from the beginning of one scan to that of the next.
const BETWEEN_SCANS: u64 = 20_000;
/// The number of objects that a scan requests once.
const SCAN: u64 = 4_000;

/// Returns requests in a Zipf distribution: the n-th most popular object is requested in proportion
/// to 1/n. Scans of other objects come in between.
fn trace() -> Vec<u64> {
    let mut sum = 0.0;
    let upto: Vec<f64> = (1..=OBJECTS)
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect();
    let mut random = 42;
    let mut next = || {
        random = split_mix(random);
        let at = (random >> 11) as f64 / (1_u64 << 53) as f64 * sum;
        upto.partition_point(|upto| *upto < at) as u64
    };
    let mut trace = Vec::new();
    for n in 0..REQUESTS {
        trace.push(next());
        if n % BETWEEN_SCANS == BETWEEN_SCANS / 2 {
            // Every fourth request of a scan is followed by one of the distribution.
            for scanned in 0..SCAN {
                trace.push(1_000_000 + n * SCAN + scanned);
                if scanned % 4 == 0 {
                    trace.push(next());
                }
            }
        }
    }
    trace
}

/// Returns the size of an object: 1, or 1 to 64 by its number.
fn weight(object: u64, is_even: bool) -> u64 {
    if is_even { 1 } else { split_mix(object) % 64 + 1 }
}

fn hits_of_s3fifo(trace: &[u64], capacity: u64, is_even: bool) -> u64 {
    let mut queue = S3Fifo::new(capacity);
    let mut tickets: HashMap<u64, Ticket> = HashMap::new();
    let mut hits = 0;
    for &object in trace {
        if let Some(ticket) = tickets.get(&object) {
            queue.hit(*ticket);
            hits += 1;
            continue;
        }
        let weight = weight(object, is_even);
        while queue.weight() + weight > capacity
            && let Some(victim) = queue.evict()
        {
            tickets.remove(&victim);
        }
        tickets.insert(object, queue.insert(object, object, weight));
        assert!(queue.weight() <= capacity);
    }
    hits
}

fn hits_of_lru(trace: &[u64], capacity: u64, is_even: bool) -> u64 {
    let (mut used_at, mut by_time, mut used, mut hits) = (HashMap::new(), BTreeMap::new(), 0, 0);
    for (now, &object) in trace.iter().enumerate() {
        if let Some(before) = used_at.insert(object, now) {
            by_time.remove(&before);
            hits += 1;
        } else {
            used += weight(object, is_even);
        }
        by_time.insert(now, object);
        while used > capacity
            && let Some((_, victim)) = by_time.pop_first()
        {
            used_at.remove(&victim);
            used -= weight(victim, is_even);
        }
    }
    hits
}

#[test]
fn on_a_zipf_trace_with_scans_s3_fifo_hits_at_least_as_often_as_lru() {
    let trace = trace();
    let all = trace.len() as f64 / 100.0;
    for is_even in [true, false] {
        let total: u64 = (0..OBJECTS as u64).map(|object| weight(object, is_even)).sum();
        for percent in [1, 10] {
            let capacity = total * percent / 100;
            let (ours, lru) =
                (hits_of_s3fifo(&trace, capacity, is_even), hits_of_lru(&trace, capacity, is_even));
            let sizes = if is_even { "one size" } else { "sizes 1..=64" };
            let (ours_percent, lru_percent) = (ours as f64 / all, lru as f64 / all);
            print_line(&format!(
                "{sizes}, room for {percent} %: S3-FIFO {ours_percent:.2} % hits, LRU {lru_percent:.2} %"
            ));
            assert!(ours >= lru, "{ours} hits against {lru}");
        }
    }
}
