//! Measures the drivers beside their peers, in the same run, and prints the tables of
//! `docs/benchmarks.md`.
//!
//! Each workload is run by every peer in turn, round after round, and the ratio to ours is taken
//! within each round: so a machine whose speed drifts, as shared ones do, shifts all sides alike.
//! The median over the rounds is what counts.
//!
//! `cargo run --release -- fs` runs all of the file system workloads; `--only save` some of them;
//! `memory` measures peak memory, each case in a process of its own. `mirror` measures the mirror
//! server beside nginx. `s3` does both for the S3 driver, on a server that is there.

mod fs;
mod memory;
mod mirror;
mod paired;
mod peers;
mod s3;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    /// Where the files go: a directory on the file system to be measured.
    #[arg(long, default_value = "target/bench-data", global = true)]
    dir: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Rates of the file system driver.
    Fs {
        /// How often each peer runs each workload.
        #[arg(long, default_value_t = 9)]
        rounds: usize,
        /// Only the workloads whose name contains this.
        #[arg(long, default_value = "")]
        only: String,
    },
    /// Peak memory of the file system driver.
    Memory,
    /// The mirror server, beside nginx, and the driver that reads from it.
    Mirror(mirror::Arguments),
    /// The mirror that is measured: one worker in front of an HTTP server.
    #[command(hide = true)]
    MirrorServer(mirror::ServerArguments),
    /// One case of `memory`.
    #[command(hide = true)]
    MemoryCase { case: String },
    /// The S3 driver.
    S3(s3::Arguments),
    /// One case of the peak memory of `s3`.
    #[command(hide = true)]
    S3MemoryCase(s3::MemoryCase),
    /// Calls of one peer and nothing else: one turn of `s3`, or for a profiler.
    #[command(hide = true)]
    S3Repeat(s3::Repeat),
}

fn main() -> peers::Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match arguments.what {
        What::Fs { rounds, only } => runtime.block_on(fs::run(&arguments.dir, rounds, &only)),
        What::Memory => memory::run(&arguments.dir),
        What::Mirror(what) => what.run(&runtime, &arguments.dir),
        What::MirrorServer(server) => server.run(),
        What::MemoryCase { case } => runtime.block_on(memory::case(&arguments.dir, &case)),
        What::S3(what) => what.run(&runtime, &arguments.dir),
        What::S3MemoryCase(case) => runtime.block_on(case.run(&arguments.dir)),
        What::S3Repeat(repeat) => repeat.run(),
    }
}
