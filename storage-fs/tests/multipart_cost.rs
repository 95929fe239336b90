//! The duration of a completion, which does not depend on the size of the object. The figures are
//! printed, not asserted, because they depend on the machine.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]
#![allow(clippy::print_stdout, reason = "it prints what it measures")]

mod common;

use std::time::Instant;

use common::{Implementation, Scratch};

/// The parts of 10 GiB in parts of 8 MiB.
const PARTS: u32 = 1_280;

#[test]
#[ignore = "measures: run it alone, with --nocapture"]
fn the_duration_of_a_completion() {
    let size: usize = std::env::var("PART_SIZE").map_or(4096, |size| size.parse().unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for implementation in [Implementation::ALL[0], Implementation::ALL[2]] {
        for durable in [false, true] {
            let scratch = Scratch::new();
            let took = runtime.block_on(async {
                let storage = implementation.storage(scratch.builder().durable(false));
                let upload = storage.multipart("video").part_size(size as u64).await.unwrap();
                let part = bytes::Bytes::from(vec![7; size]);
                for number in 1..=PARTS {
                    upload.put_part(number, part.clone()).await.unwrap();
                }
                let storage = implementation.storage(scratch.builder().durable(durable));
                let upload = storage.resume_multipart("video", upload.id().clone()).unwrap();
                if durable {
                    rustix::fs::sync();
                }
                let start = Instant::now();
                upload.complete().await.unwrap();
                start.elapsed()
            });
            println!("{implementation:?}, durable = {durable}: {PARTS} parts in {took:?}");
        }
    }
}
