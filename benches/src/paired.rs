//! Paired measurements: every peer runs once in each round, and ratios are computed within the
//! round.

use std::future::Future;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

/// Returns the peers in the order of a round. Every other round is reversed, and every two rounds
/// another peer is first, because the order affects what a peer finds in caches and write queues.
pub fn rotated<T>(all: &[T], round: usize) -> Vec<&T> {
    let mut turn: Vec<_> = all.iter().cycle().skip(round / 2 % all.len()).take(all.len()).collect();
    if round % 2 == 1 {
        turn.reverse();
    }
    turn
}

/// The times of one peer, one for each round.
struct Row {
    name: String,
    times: Vec<Duration>,
    /// Processor time of all threads and of child processes. Other programs on the machine affect
    /// it less than elapsed time.
    processor: Vec<Duration>,
}

/// The results of one workload for several peers.
pub struct Table {
    title: String,
    /// The number of operations or bytes of one run, and their unit.
    amount: f64,
    unit: &'static str,
    rows: Vec<Row>,
}

impl Table {
    pub fn new(title: impl Into<String>, amount: f64, unit: &'static str) -> Self {
        Self { title: title.into(), amount, unit, rows: Vec::new() }
    }

    /// Runs a workload and records its time.
    pub async fn time<T>(&mut self, name: &str, run: impl Future<Output = T>) -> T {
        let (start, processor, children) =
            (Instant::now(), ProcessTime::now(), child_processor_time());
        let done = run.await;
        self.record(
            name,
            start.elapsed(),
            processor.elapsed() + child_processor_time().saturating_sub(children),
        );
        done
    }

    /// Records a time that was measured elsewhere.
    pub fn record(&mut self, name: &str, time: Duration, processor: Duration) {
        match self.rows.iter_mut().find(|row| row.name == name) {
            Some(row) => {
                row.times.push(time);
                row.processor.push(processor);
            }
            None => self.rows.push(Row {
                name: name.to_owned(),
                times: vec![time],
                processor: vec![processor],
            }),
        }
    }

    /// Prints times instead of rates.
    pub fn print_times(&self) {
        println!("\n### {}\n", self.title);
        println!(
            "| | median ms (min to max) | peer / anystorage (median of the rounds, min to max) |\n|-|-|-|"
        );
        let Some(ours) = self.rows.first() else { return };
        for row in &self.rows {
            let (min, mid, max) = median(row.times.iter().map(|time| time.as_secs_f64() * 1e3));
            let pairs = row.times.iter().zip(&ours.times);
            let (least, ratio, most) =
                median(pairs.map(|(theirs, ours)| theirs.as_secs_f64() / ours.as_secs_f64()));
            println!(
                "| {} | {mid:.1} ({min:.1} to {max:.1}) | {ratio:.2} ({least:.2} to {most:.2}) |",
                row.name
            );
        }
    }

    /// Prints the table. The first row is anystorage.
    pub fn print(&self) {
        println!("\n### {}\n", self.title);
        println!(
            "| | median {} | anystorage / peer (median of the rounds, min to max) \
             | processor time, peer / anystorage |",
            self.unit
        );
        println!("|-|-|-|-|");
        let Some(ours) = self.rows.first() else { return };
        for row in &self.rows {
            let rate = self.amount / median(row.times.iter().map(Duration::as_secs_f64)).1;
            let ratios = row
                .times
                .iter()
                .zip(&ours.times)
                .map(|(theirs, ours)| theirs.as_secs_f64() / ours.as_secs_f64());
            let (min, mid, max) = median(ratios);
            let work = row
                .processor
                .iter()
                .zip(&ours.processor)
                .map(|(theirs, ours)| theirs.as_secs_f64() / ours.as_secs_f64());
            let work = median(work).1;
            println!(
                "| {} | {} | {mid:.2} ({min:.2} to {max:.2}) | {work:.2} |",
                row.name,
                format_rate(rate)
            );
        }
    }
}

/// Returns the processor time of child processes that have ended (`cutime` and `cstime`, in
/// hundredths of a second).
fn child_processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may contain spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    Duration::from_millis(ticks * 10)
}

/// Returns the minimum, the median and the maximum.
pub fn median(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    (values[0], values[values.len() / 2], values[values.len() - 1])
}

fn format_rate(rate: f64) -> String {
    if rate >= 100.0 { format!("{rate:.0}") } else { format!("{rate:.2}") }
}
