//! The cost of one call: requests, allocations and processor time, with one caller on one thread.

use std::path::Path;
use std::sync::Arc;

use cpu_time::ThreadTime;
use tokio::runtime::{Builder, Runtime};

use super::pass_through::PassThrough;
use super::peers::{Peer, libraries};
use super::server::{Server, output_of};
use super::small::{self, Verb};
use crate::paired::{median, rotated};
use crate::peers::Result;

/// The number of calls in each measurement.
const CALLS: usize = 1_000;
/// The number of calls before a measurement, so that one-time work does not count.
const WARM_UP_CALLS: usize = 50;

/// The results of one peer.
struct Row {
    name: &'static str,
    requests: f64,
    allocations: f64,
    bytes: f64,
    /// Processor time of a call in microseconds, one for each round.
    times: Vec<f64>,
}

pub fn run(server: &Server, dir: &Path, rounds: usize) -> Result<()> {
    single_threaded()?.block_on(async { small::prepare(&libraries(server)?).await })?;
    for verb in Verb::ALL {
        let mut rows = Vec::new();
        for (index, peer) in libraries(server)?.iter().enumerate() {
            rows.push(count(&**peer, verb, requests(server, index, verb)?)?);
        }
        let all: Vec<_> = (0..rows.len()).collect();
        for round in 0..rounds {
            for index in rotated(&all, round) {
                let time = processor_time(server, dir, rows[*index].name, verb)?;
                rows[*index].times.push(time);
            }
        }
        print(verb, &rows);
    }
    Ok(())
}

/// Prints the processor time of one call. This process makes no other calls.
pub fn repeat(server: &Server, name: &str, verb: Verb, count: usize) -> Result<()> {
    let (runtime, peer) = (single_threaded()?, peer(server, name)?);
    calls(&runtime, &*peer, verb, WARM_UP_CALLS)?;
    let start = ThreadTime::now();
    calls(&runtime, &*peer, verb, count)?;
    println!("{}", start.elapsed().as_secs_f64() * 1e6 / count as f64);
    Ok(())
}

/// Makes only a listing, for a profiler.
pub fn list(server: &Server, name: &str, objects: usize) -> Result<()> {
    let (runtime, peer) = (single_threaded()?, peer(server, name)?);
    assert_eq!(runtime.block_on(peer.list(&super::list::prefix(objects)))?.count, objects);
    Ok(())
}

fn peer(server: &Server, name: &str) -> Result<Arc<dyn Peer>> {
    let found = libraries(server)?.into_iter().find(|peer| peer.name() == name);
    Ok(found.ok_or("unknown peer")?)
}

fn single_threaded() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Returns the number of requests for each call.
fn requests(server: &Server, index: usize, verb: Verb) -> Result<f64> {
    single_threaded()?.block_on(async {
        let pass_through = PassThrough::start(server).await?;
        let peer = libraries(&server.at(pass_through.endpoint()))?.swap_remove(index);
        for n in 0..WARM_UP_CALLS {
            verb.call(&*peer, n).await?;
        }
        Ok(pass_through.take().values().sum::<usize>() as f64 / WARM_UP_CALLS as f64)
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
    let runtime = single_threaded()?;
    calls(&runtime, peer, verb, WARM_UP_CALLS)?;
    let mut outcome = Ok(());
    let info = allocation_counter::measure(|| outcome = calls(&runtime, peer, verb, CALLS));
    outcome?;
    let (allocations, bytes) =
        (info.count_total as f64 / CALLS as f64, info.bytes_total as f64 / CALLS as f64);
    Ok(Row { name: peer.name(), requests, allocations, bytes, times: Vec::new() })
}

/// Measures in a separate process, because calls of other peers change the heap and the caches of
/// the processor.
fn processor_time(server: &Server, dir: &Path, name: &str, verb: Verb) -> Result<f64> {
    let mut child = server.child(dir, "s3-repeat")?;
    child.args([name, verb.name(), &CALLS.to_string()]);
    Ok(single_threaded()?.block_on(output_of(child))?.parse()?)
}

fn print(verb: Verb, rows: &[Row]) {
    println!("\n### S3: {}: what a call costs\n", verb.title());
    println!(
        "| | requests | allocations | KiB allocated | processor time, µs \
         | processor time, peer / anystorage |"
    );
    println!("|-|-|-|-|-|-|");
    for Row { name, requests, allocations, bytes, times } in rows {
        let micros = median(times.iter().copied()).1;
        let pairs = times.iter().zip(&rows[0].times);
        let (min, ratio, max) = median(pairs.map(|(theirs, ours)| theirs / ours));
        let kib = bytes / 1024.0;
        println!(
            "| {name} | {requests:.2} | {allocations:.0} | {kib:.0} | {micros:.0} \
             | {ratio:.2} ({min:.2} to {max:.2}) |"
        );
    }
}
