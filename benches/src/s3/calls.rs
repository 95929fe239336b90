//! What one call costs: requests, allocations, and processor time, with one caller on one thread.

use std::path::Path;
use std::sync::Arc;

use cpu_time::ThreadTime;
use tokio::runtime::{Builder, Runtime};

use super::pass_through::PassThrough;
use super::peers::{Peer, libraries};
use super::server::{Server, printed};
use super::small::{self, Verb};
use crate::paired::{in_turn, median};
use crate::peers::Result;

/// How many calls are counted or timed together.
const CALLS: usize = 1_000;
/// How many go before: what is done once does not count.
const BEFORE: usize = 50;

/// What was found of one peer.
struct Row {
    name: &'static str,
    requests: f64,
    allocations: f64,
    bytes: f64,
    /// Processor time of a call, in microseconds, a round each.
    times: Vec<f64>,
}

pub fn run(server: &Server, dir: &Path, rounds: usize) -> Result<()> {
    one_thread()?.block_on(async { small::prepare(&libraries(server)?).await })?;
    for verb in Verb::ALL {
        let mut rows = Vec::new();
        for (index, peer) in libraries(server)?.iter().enumerate() {
            rows.push(count(&**peer, verb, requests(server, index, verb)?)?);
        }
        let all: Vec<_> = (0..rows.len()).collect();
        for round in 0..rounds {
            for index in in_turn(&all, round) {
                let time = timed(server, dir, rows[*index].name, verb)?;
                rows[*index].times.push(time);
            }
        }
        print(verb, &rows);
    }
    Ok(())
}

/// Times calls in this process, which makes no others, and prints how much processor time one
/// takes.
pub fn repeat(server: &Server, name: &str, verb: Verb, count: usize) -> Result<()> {
    let (runtime, peer) = (one_thread()?, peer(server, name)?);
    calls(&runtime, &*peer, verb, BEFORE)?;
    let start = ThreadTime::now();
    calls(&runtime, &*peer, verb, count)?;
    println!("{}", start.elapsed().as_secs_f64() * 1e6 / count as f64);
    Ok(())
}

/// A listing and nothing else, for a profiler.
pub fn list(server: &Server, name: &str, objects: usize) -> Result<()> {
    let (runtime, peer) = (one_thread()?, peer(server, name)?);
    assert_eq!(runtime.block_on(peer.list(&super::list::prefix(objects)))?.count, objects);
    Ok(())
}

fn peer(server: &Server, name: &str) -> Result<Arc<dyn Peer>> {
    let found = libraries(server)?.into_iter().find(|peer| peer.name() == name);
    Ok(found.ok_or("there is no such peer")?)
}

fn one_thread() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Requests per call, as they pass by.
fn requests(server: &Server, index: usize, verb: Verb) -> Result<f64> {
    one_thread()?.block_on(async {
        let pass_through = PassThrough::start(server).await?;
        let peer = libraries(&server.at(pass_through.endpoint()))?.swap_remove(index);
        for n in 0..BEFORE {
            verb.call(&*peer, n).await?;
        }
        Ok(pass_through.take().values().sum::<usize>() as f64 / BEFORE as f64)
    })
}

fn calls(runtime: &Runtime, peer: &dyn Peer, verb: Verb, count: usize) -> Result<()> {
    runtime.block_on(async {
        for n in 0..count {
            verb.call(peer, n).await?;
        }
        Ok(())
    })
}

fn count(peer: &dyn Peer, verb: Verb, requests: f64) -> Result<Row> {
    let runtime = one_thread()?;
    calls(&runtime, peer, verb, BEFORE)?;
    let mut outcome = Ok(());
    let info = allocation_counter::measure(|| outcome = calls(&runtime, peer, verb, CALLS));
    outcome?;
    let (allocations, bytes) =
        (info.count_total as f64 / CALLS as f64, info.bytes_total as f64 / CALLS as f64);
    Ok(Row { name: peer.name(), requests, allocations, bytes, times: Vec::new() })
}

/// In a process of its own: calls of other peers leave the heap and the processor's caches in
/// another state.
fn timed(server: &Server, dir: &Path, name: &str, verb: Verb) -> Result<f64> {
    let mut child = server.child(dir, "s3-repeat")?;
    child.args([name, verb.name(), &CALLS.to_string()]);
    Ok(one_thread()?.block_on(printed(child))?.parse()?)
}

fn print(verb: Verb, rows: &[Row]) {
    println!("\n### {}: what a call costs\n", verb.title());
    println!(
        "| | requests | allocations | KiB allocated | processor time, µs | processor time, this / ours |"
    );
    println!("|-|-|-|-|-|-|");
    for Row { name, requests, allocations, bytes, times } in rows {
        let micros = median(times.iter().copied()).1;
        let pairs = times.iter().zip(&rows[0].times);
        let (min, ratio, max) = median(pairs.map(|(theirs, ours)| theirs / ours));
        let kib = bytes / 1024.0;
        println!(
            "| {name} | {requests:.2} | {allocations:.0} | {kib:.0} | {micros:.0} | {ratio:.2} ({min:.2} to {max:.2}) |"
        );
    }
}
