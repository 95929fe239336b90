//! Paired measuring: every peer once a round, and ratios within the round.

use std::future::Future;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

/// The times of one peer, a round each.
struct Row {
    name: String,
    times: Vec<Duration>,
    /// Processor time of all threads, which other programs on the machine hardly disturb.
    processor: Vec<Duration>,
}

/// One table: a workload, run by several peers.
pub struct Table {
    title: String,
    /// How many operations or bytes one run is, and what they are called.
    amount: f64,
    unit: &'static str,
    rows: Vec<Row>,
}

impl Table {
    pub fn new(title: impl Into<String>, amount: f64, unit: &'static str) -> Self {
        Self { title: title.into(), amount, unit, rows: Vec::new() }
    }

    /// Times one run.
    pub async fn time<T>(&mut self, name: &str, run: impl Future<Output = T>) -> T {
        let (start, processor) = (Instant::now(), ProcessTime::now());
        let done = run.await;
        let (time, processor) = (start.elapsed(), processor.elapsed());
        match self.rows.iter_mut().find(|row| row.name == name) {
            Some(row) => {
                row.times.push(time);
                row.processor.push(processor);
            }
            None => self.rows.push(Row { name: name.to_owned(), times: vec![time], processor: vec![processor] }),
        }
        done
    }

    /// Prints the table. Ours is the row that was measured first.
    pub fn print(&self) {
        println!("\n### {}\n", self.title);
        println!(
            "| | median {} | ours / this (median of the rounds, min to max) | processor time, this / ours |",
            self.unit
        );
        println!("|-|-|-|-|");
        let Some(ours) = self.rows.first() else { return };
        for row in &self.rows {
            let rate = self.amount / median(row.times.iter().map(Duration::as_secs_f64)).1;
            let ratios =
                row.times.iter().zip(&ours.times).map(|(theirs, ours)| theirs.as_secs_f64() / ours.as_secs_f64());
            let (min, mid, max) = median(ratios);
            let work = row
                .processor
                .iter()
                .zip(&ours.processor)
                .map(|(theirs, ours)| theirs.as_secs_f64() / ours.as_secs_f64());
            let work = median(work).1;
            println!("| {} | {} | {mid:.2} ({min:.2} to {max:.2}) | {work:.2} |", row.name, shown(rate));
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    (values[0], values[values.len() / 2], values[values.len() - 1])
}

fn shown(rate: f64) -> String {
    if rate >= 100.0 { format!("{rate:.0}") } else { format!("{rate:.2}") }
}
