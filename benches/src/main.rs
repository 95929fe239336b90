//! Measures the drivers and comparable libraries ("peers") in the same run, and prints the tables
//! of `docs/benchmarks.md`.
//!
//! In each round every peer runs the workload, and the ratio to anystorage is computed within the
//! round. If the speed of the machine drifts, the drift affects all peers of a round. The result is
//! the median over the rounds.
//!
//! `cargo run --release -- fs` runs all file system workloads, and `--only save` some of them.
//! `on-image` beside this directory runs them on a new file system with or without a journal.
//! `memory` measures peak memory, with a separate process for each case. `mirror` compares the
//! mirror server with nginx. `s3` measures the S3 driver on a running server. `publish`
//! measures the names of published files.

mod file_system;
mod fs;
mod fs_read;
mod memory;
mod mirror;
mod paired;
mod peers;
mod publish;
mod s3;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    /// A directory for the files, on the file system to measure.
    #[arg(long, default_value = "target/bench-data", global = true)]
    dir: PathBuf,
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Throughput of the file system driver.
    Fs {
        /// How many times each peer runs each workload.
        #[arg(long, default_value_t = 9)]
        rounds: usize,
        /// Run only the workloads whose name contains this text.
        #[arg(long, default_value = "")]
        only: String,
    },
    /// Peak memory of the file system driver.
    Memory,
    /// The mirror server compared with nginx, and the driver that reads from it.
    Mirror(mirror::Arguments),
    /// Runs the mirror to measure: one worker in front of an HTTP server.
    #[command(hide = true)]
    MirrorServer(mirror::ServerArguments),
    /// One case of `memory`.
    #[command(hide = true)]
    MemoryCase { case: String },
    /// The names of published files in an application.
    Publish {
        /// How many times all names are looked up in each way.
        #[arg(long, default_value_t = 9)]
        rounds: usize,
    },
    /// The S3 driver.
    S3(s3::Arguments),
    /// One case of the peak memory of `s3`.
    #[command(hide = true)]
    S3MemoryCase(s3::MemoryCase),
    /// Only calls of one peer, for one round of `s3` or for a profiler.
    #[command(hide = true)]
    S3Repeat(s3::Repeat),
}

fn main() -> peers::Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match arguments.benchmark {
        Benchmark::Fs { rounds, only } => runtime.block_on(fs::run(&arguments.dir, rounds, &only)),
        Benchmark::Memory => memory::run(&arguments.dir),
        Benchmark::Mirror(what) => what.run(&runtime, &arguments.dir),
        Benchmark::MirrorServer(server) => server.run(),
        Benchmark::MemoryCase { case } => runtime.block_on(memory::case(&arguments.dir, &case)),
        Benchmark::Publish { rounds } => runtime.block_on(publish::run(rounds.max(1))),
        Benchmark::S3(what) => what.run(&runtime, &arguments.dir),
        Benchmark::S3MemoryCase(case) => runtime.block_on(case.run(&arguments.dir)),
        Benchmark::S3Repeat(repeat) => repeat.run(),
    }
}
