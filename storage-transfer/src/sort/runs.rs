//! [`Runs`]: the runs of a sorter, merged so that few files are open.

use storage_core::Result;

use super::batch::Batch;
use super::merge::{Merge, Source};
use super::options::Work;
use super::run::Run;

/// Runs by level: level `n + 1` consists of merged runs of level `n`, which are older than those
/// that are still on level `n`. On a level older ones come first.
#[derive(Debug, Default)]
pub(super) struct Runs {
    levels: Vec<Vec<Run>>,
}

impl Runs {
    /// Adds the newest run. Merges the runs of each level that is full into one of the next level.
    pub(super) fn add(&mut self, run: Run, work: &Work) -> Result<()> {
        let mut run = run;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let runs = &mut self.levels[level];
            runs.push(run);
            if runs.len() < work.options.fan_in() {
                break;
            }
            run = Run::merge(std::mem::take(runs), work)?;
        }
        Ok(())
    }

    /// Merges all, together with the newest records, which need not be written to a file.
    pub(super) fn into_merge(self, mut newest: Batch, work: &Work) -> Result<Merge> {
        let mut runs: Vec<_> = self.levels.into_iter().rev().flatten().collect();
        let fan_in = work.options.fan_in();
        while runs.len() > fan_in {
            // The last runs are adjacent in age, and the shortest.
            let count = (runs.len() - fan_in + 1).clamp(2, fan_in);
            let last = runs.split_off(runs.len() - count);
            runs.push(Run::merge(last, work)?);
        }
        newest.sort();
        let buffer = work.options.read_buffer();
        let files = runs.into_iter().map(|run| run.read(buffer));
        let sources = files.chain([Ok(Source::Memory(newest.into_reader()))]);
        Merge::new(sources.collect::<Result<_>>()?)
    }

    /// The number of open files.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.levels.iter().map(Vec::len).sum()
    }
}
