//! Four clients request an object that is not cached, one second apart, while it arrives slowly.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::servers::Process;
use super::sources::{TestOrigin, read_rest, send_request};
use crate::peers::Result;

const LENGTH: usize = 100 << 20;
const DURATION: Duration = Duration::from_millis(7500);
const CLIENTS: usize = 4;

pub async fn run(dir: &Path) -> Result<()> {
    println!(
        "\n### Cache tier: a cold object of 100 MiB that takes 7.5 s, four clients a second apart\n"
    );
    println!("| | fetches from origin | first byte after, ms | all bytes after, s |\n|-|-|-|-|");
    for start in [Process::ours, Process::nginx] {
        let origin = TestOrigin::start(LENGTH, DURATION).await?;
        let server = start(dir, &origin.url)?;
        let clients = (0..CLIENTS).map(|number| tokio::spawn(client(server.port, number)));
        let mut first = Vec::new();
        let mut all = Vec::new();
        for client in clients.collect::<Vec<_>>() {
            let (to_first, to_all) = client.await?.map_err(|error| error.to_string())?;
            first.push(format!("{:.0}", to_first.as_secs_f64() * 1e3));
            all.push(format!("{:.1}", to_all.as_secs_f64()));
        }
        let fetches = origin.requests.load(Ordering::SeqCst);
        println!("| {} | {fetches} | {} | {} |", server.name, first.join(", "), all.join(", "));
    }
    Ok(())
}

async fn client(port: u16, number: usize) -> std::result::Result<(Duration, Duration), String> {
    tokio::time::sleep(Duration::from_secs(number as u64)).await;
    let start = Instant::now();
    let stream = send_request(port, "/cold").await.map_err(|error| error.to_string())?;
    let first = start.elapsed();
    let read = read_rest(stream).await.map_err(|error| error.to_string())?;
    if read != LENGTH {
        return Err(format!("{read} bytes instead of {LENGTH}"));
    }
    Ok((first, start.elapsed()))
}
