//! The workloads of the S3 driver.

mod bulk;
mod calls;
mod list;
mod memory;
mod pass_through;
mod peers;
mod server;
mod small;

use std::path::{Path, PathBuf};

use clap::Args;
use tokio::runtime::Runtime;

use self::server::Server;
use self::small::Verb;
use crate::peers::Result;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    server: Server,
    /// The directory of the programs `s5cmd` and `rclone`.
    #[arg(long)]
    tools: Option<PathBuf>,
    /// How many times each peer runs each workload.
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// How many times for large objects and listings.
    #[arg(long, default_value_t = 7)]
    large_rounds: usize,
    /// The size of a large object, in MiB.
    #[arg(long, default_value_t = 2048)]
    size: u64,
    /// The number of keys to list.
    #[arg(long, default_value_t = 100_000)]
    objects: usize,
    /// Run only these parts: small, calls, large, list, memory.
    #[arg(long, value_delimiter = ',', default_value = "calls,small,list,large,memory")]
    parts: Vec<String>,
    /// Run only the workloads of small and large whose name contains this text.
    #[arg(long, default_value = "")]
    only: String,
}

impl Arguments {
    pub fn run(&self, runtime: &Runtime, dir: &Path) -> Result<()> {
        let server = &self.server;
        runtime.block_on(server.prepare())?;
        for part in &self.parts {
            match part.as_str() {
                "calls" => calls::run(server, dir, self.rounds)?,
                "small" => runtime.block_on(small::run(server, self.rounds, &self.only))?,
                "list" => runtime.block_on(list::run(server, self.objects, self.large_rounds))?,
                "large" => runtime.block_on(bulk::run(&self.plan(dir), &self.only))?,
                "memory" => runtime.block_on(memory::run(server, dir, self.size << 20))?,
                other => return Err(format!("there is no part {other}").into()),
            }
        }
        Ok(())
    }

    fn plan<'a>(&'a self, dir: &'a Path) -> bulk::Plan<'a> {
        let tools = self.tools.as_deref();
        bulk::Plan {
            server: &self.server,
            dir,
            tools,
            size: self.size << 20,
            rounds: self.large_rounds,
        }
    }
}

#[derive(Args)]
pub struct MemoryCase {
    #[command(flatten)]
    server: Server,
    #[arg(long)]
    size: u64,
    peer: String,
    case: String,
}

impl MemoryCase {
    pub async fn run(&self, dir: &Path) -> Result<()> {
        memory::case(&self.server, dir, self.size << 20, &self.peer, &self.case).await
    }
}

#[derive(Args)]
pub struct Repeat {
    #[command(flatten)]
    server: Server,
    peer: String,
    verb: String,
    count: usize,
}

impl Repeat {
    pub fn run(&self) -> Result<()> {
        if self.verb == "list" {
            return calls::list(&self.server, &self.peer, self.count);
        }
        let verb = if self.verb == "save" { Verb::Save } else { Verb::Open };
        calls::repeat(&self.server, &self.peer, verb, self.count)
    }
}
