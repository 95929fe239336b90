//! What one call costs: requests, allocations, and processor time, with one caller on one thread.

use std::sync::Arc;
use std::time::Duration;

use cpu_time::ThreadTime;
use tokio::runtime::{Builder, Runtime};

use super::pass_through::PassThrough;
use super::peers::{Peer, libraries};
use super::server::Server;
use super::small::{self, Verb};
use crate::paired::{in_turn, median};
use crate::peers::Result;

/// How many calls are counted together.
const CALLS: usize = 500;
/// What is allocated once is not counted.
const BEFORE: usize = 50;

/// A peer with the one thread that its connections live on.
struct Subject {
    runtime: Runtime,
    peer: Arc<dyn Peer>,
    requests: f64,
    allocations: f64,
    bytes: f64,
    times: Vec<Duration>,
}

pub fn run(server: &Server, rounds: usize) -> Result<()> {
    one_thread()?.block_on(async { small::prepare(&libraries(server)?).await })?;
    for verb in Verb::ALL {
        let mut subjects = Vec::new();
        for (index, peer) in libraries(server)?.into_iter().enumerate() {
            let (runtime, requests) = (one_thread()?, requests(server, index, verb)?);
            let mut subject = Subject { runtime, peer, requests, allocations: 0.0, bytes: 0.0, times: Vec::new() };
            subject.run(verb, BEFORE)?;
            subject.count(verb)?;
            subjects.push(subject);
        }
        for round in 0..rounds {
            let all: Vec<_> = (0..subjects.len()).collect();
            for index in in_turn(&all, round) {
                subjects[*index].time(verb)?;
            }
        }
        print(verb, &subjects);
    }
    Ok(())
}

/// Calls and nothing else, for a profiler: the difference between two counts is what calls cost.
pub fn repeat(server: &Server, name: &str, verb: Verb, count: usize) -> Result<()> {
    let (runtime, peer) = (one_thread()?, peer(server, name)?);
    runtime.block_on(async {
        for n in 0..count {
            verb.call(&*peer, n).await?;
        }
        Ok(())
    })
}

/// The same for listings.
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

impl Subject {
    fn run(&self, verb: Verb, count: usize) -> Result<()> {
        self.runtime.block_on(async {
            for n in 0..count {
                verb.call(&*self.peer, n).await?;
            }
            Ok(())
        })
    }

    fn count(&mut self, verb: Verb) -> Result<()> {
        let mut outcome = Ok(());
        let info = allocation_counter::measure(|| outcome = self.run(verb, CALLS));
        self.allocations = info.count_total as f64 / CALLS as f64;
        self.bytes = info.bytes_total as f64 / CALLS as f64;
        outcome
    }

    fn time(&mut self, verb: Verb) -> Result<()> {
        let start = ThreadTime::now();
        self.run(verb, CALLS)?;
        self.times.push(start.elapsed() / CALLS as u32);
        Ok(())
    }
}

fn print(verb: Verb, subjects: &[Subject]) {
    println!("\n### {}: what a call costs\n", verb.title());
    println!("| | requests | allocations | KiB allocated | processor time, µs | processor time, this / ours |");
    println!("|-|-|-|-|-|-|");
    for subject in subjects {
        let micros = median(subject.times.iter().map(|time| time.as_secs_f64() * 1e6)).1;
        let pairs = subject.times.iter().zip(&subjects[0].times);
        let (min, ratio, max) = median(pairs.map(|(theirs, ours)| theirs.as_secs_f64() / ours.as_secs_f64()));
        println!(
            "| {} | {:.2} | {:.1} | {:.1} | {micros:.1} | {ratio:.2} ({min:.2} to {max:.2}) |",
            subject.peer.name(),
            subject.requests,
            subject.allocations,
            subject.bytes / 1024.0,
        );
    }
}
