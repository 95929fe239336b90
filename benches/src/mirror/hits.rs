//! Cache hits: rate and processor time.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::servers::Process;
use crate::paired::{Table, rotated};
use crate::peers::Result;

/// The objects, and the number of requests for which a time is recorded.
const SIZES: [(&str, usize, f64); 3] =
    [("1 KiB", 1 << 10, 10_000.0), ("64 KiB", 64 << 10, 10_000.0), ("10 MiB", 10 << 20, 100.0)];

/// How many connections wrk keeps open.
const CONNECTIONS: &str = "32";

pub fn run(dir: &Path, rounds: usize, seconds: u64) -> Result<()> {
    let root = dir.join("files");
    fs::create_dir_all(&root)?;
    for (name, size, _) in SIZES {
        fs::write(root.join(file(name)), vec![b'x'; size])?;
    }
    let origin = Process::files(dir, &root)?;
    let servers = [Process::ours(dir, &origin.url())?, Process::nginx(dir, &origin.url())?];
    for (name, _, amount) in SIZES {
        let mut table = Table::new(
            format!("Cache tier: hits of {name}, 32 connections, one worker"),
            amount,
            "requests/s",
        );
        for server in &servers {
            // Loads the object into the cache and into memory.
            wrk(server, name, 1)?;
        }
        for round in 0..rounds {
            for server in rotated(&[0, 1], round) {
                let server = &servers[*server];
                let before = server.processor()?;
                let (requests, time) = wrk(server, name, seconds)?;
                let part = amount / requests;
                let processor = server.processor()?.saturating_sub(before);
                table.record(server.name, time.mul_f64(part), processor.mul_f64(part));
            }
        }
        table.print();
    }
    Ok(())
}

fn file(name: &str) -> String {
    name.replace(' ', "-")
}

/// Runs wrk. Returns the number of responses and the time.
fn wrk(server: &Process, name: &str, seconds: u64) -> Result<(f64, Duration)> {
    let url = format!("{}/{}", server.url(), file(name));
    let output = Command::new("taskset")
        .args([
            "-c",
            "1",
            "wrk",
            "-t1",
            "-c",
            CONNECTIONS,
            "--timeout",
            "30s",
            "-d",
            &format!("{seconds}s"),
            &url,
        ])
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("wrk reports errors: {text}").into());
    }
    let rate = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"))
        .ok_or("wrk printed no result")?;
    let count = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))
        .ok_or("wrk printed no result")?
        .0;
    let (rate, count): (f64, f64) = (rate.trim().parse()?, count.trim().parse()?);
    Ok((count, Duration::from_secs_f64(count / rate)))
}
