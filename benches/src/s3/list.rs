//! Listing many keys.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, TryStreamExt};

use super::pass_through::PassThrough;
use super::peers::libraries;
use super::server::Server;
use crate::paired::{Table, rotated};
use crate::peers::Result;

/// Returns the prefix of the keys.
pub fn prefix(objects: usize) -> String {
    format!("listed-{objects}/")
}

/// Creates the objects, unless an earlier run did. Returns their prefix.
async fn prepare(server: &Server, objects: usize) -> Result<String> {
    let prefix = prefix(objects);
    let peer = &libraries(server)?[0];
    if peer.list(&prefix).await?.count == objects {
        return Ok(prefix);
    }
    eprintln!("creating {objects} objects, which later runs use again");
    let each = stream::iter((0..objects).map(Result::Ok));
    each.try_for_each_concurrent(64, |n| {
        let key = format!("{prefix}{:03}/{n:06}.txt", n / 1_000);
        async move { peer.save(&key, Bytes::from_static(b"x")).await }
    })
    .await?;
    Ok(prefix)
}

pub async fn run(server: &Server, objects: usize, rounds: usize) -> Result<()> {
    let prefix = prepare(server, objects).await?;
    let peers = libraries(server)?;
    let mut all = Table::new(format!("S3: list {objects} keys"), objects as f64, "keys/s");
    let mut first =
        Table::new(format!("S3: list {objects} keys: the first entry"), 1.0, "first entries/s");
    for round in 0..rounds {
        for peer in rotated(&peers, round) {
            let start = Instant::now();
            let listed = all.time(peer.name(), peer.list(&prefix)).await?;
            assert_eq!(listed.count, objects, "{}", peer.name());
            let until_first = listed.first.map_or(Duration::MAX, |first| first - start);
            first.record(peer.name(), until_first, Duration::ZERO);
        }
    }
    all.print();
    first.print_times();
    requests(server, objects, &prefix).await
}

/// Prints the number of requests of a listing by method. anystorage sends one for each page and no
/// others. Some servers have pages of less than a thousand keys.
async fn requests(server: &Server, objects: usize, prefix: &str) -> Result<()> {
    let pass_through = PassThrough::start(server).await?;
    println!("\n### S3: list {objects} keys: requests\n\n| | requests |\n|-|-|");
    let mut ours = None;
    for peer in libraries(&server.at(pass_through.endpoint()))? {
        assert_eq!(peer.list(prefix).await?.count, objects, "{}", peer.name());
        let counts = pass_through.take();
        let shown: Vec<_> =
            counts.iter().map(|(method, count)| format!("{count} {method}")).collect();
        println!("| {} | {} |", peer.name(), shown.join(", "));
        let pages = *ours.get_or_insert_with(|| {
            assert!(counts.keys().eq(["GET"]), "nothing but GET");
            counts["GET"]
        });
        assert!(pages <= counts.values().sum(), "{} needs fewer requests", peer.name());
    }
    Ok(())
}
