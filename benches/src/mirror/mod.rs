//! The workloads of the cache tier. nginx and wrk have to be installed.

mod cold;
mod driver;
mod hits;
mod memory;
mod servers;
mod sources;

use std::path::Path;

use clap::Args;
use tokio::runtime::{Builder, Runtime};

pub use self::servers::ServerArguments;
use crate::peers::Result;

#[derive(Args)]
pub struct Arguments {
    /// How often each server is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// For how many seconds at a time.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Only what is named: hits, cold, slow, fills, driver.
    #[arg(long, value_delimiter = ',', default_value = "hits,cold,slow,fills,driver")]
    parts: Vec<String>,
}

impl Arguments {
    pub fn run(&self, runtime: &Runtime, dir: &Path) -> Result<()> {
        let dir = std::path::absolute(dir)?;
        for part in &self.parts {
            match part.as_str() {
                "hits" => hits::run(&dir, self.rounds, self.seconds)?,
                "cold" => runtime.block_on(cold::run(&dir))?,
                "slow" => runtime.block_on(memory::slow_readers(&dir))?,
                "fills" => runtime.block_on(memory::fills(&dir))?,
                // On one thread: what threads cost that wake one another is as much as the
                // difference.
                "driver" => Builder::new_current_thread()
                    .enable_all()
                    .build()?
                    .block_on(driver::run(&dir, self.rounds))?,
                other => return Err(format!("there is no part {other}").into()),
            }
        }
        Ok(())
    }
}
