//! The workloads of the cache tier. They need nginx and wrk.

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
    /// How many times to measure each server.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The duration of each measurement, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Run only these parts: hits, cold, slow, fills, driver.
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
                // On one thread, because waking other threads would cost as much as the measured
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
