//! Jobs whose state is in a bucket, as workers on several machines share it.

use std::process::Child;

use crate::s3::S3;
use crate::support::wait_until;

/// Enough for two shards.
const OBJECTS: usize = 2_400;
/// On Linux, a worker knows that another process of the same machine has ended. Elsewhere the lease
/// of the killed worker has to expire.
const LEASE: &str = if cfg!(target_os = "linux") { "1h" } else { "10s" };

fn planned() -> S3 {
    let s3 = S3::new().shared();
    for number in 0..OBJECTS {
        s3.sandbox.write(&format!("media/{number:04}"), number.to_string());
    }
    let plan = ["transfer", "plan", "--job", "bucket:job/one", "--shards", "2", "--lease", LEASE];
    let planned = s3.run(&[&plan[..], &["media:", "./copy"]].concat()).done();
    assert_eq!(planned, "bucket:job/one/: 2 shards\n");
    s3
}

/// Starts a worker that sends so many requests per second.
fn work(s3: &S3, index: &str, requests: &str) -> Child {
    let place = ["transfer", "work", "-q", "--json", "--job", "bucket:job/one"];
    let options = ["--index", index, "--of", "2", "--requests", requests];
    s3.command(&[&place[..], &options].concat()).spawn().unwrap()
}

fn status(s3: &S3) -> serde_json::Value {
    let status = ["transfer", "status", "--json", "--job", "bucket:job/one"];
    serde_json::from_str(&s3.run(&status).done()).unwrap()
}

/// Returns how many shards a worker has claimed.
fn claimed(s3: &S3) -> usize {
    let status = status(s3);
    let shards = status["shards"].as_array().unwrap();
    shards.iter().filter(|shard| shard["is_claimed"] == true).count()
}

/// Returns how often a shard was claimed.
fn epoch(s3: &S3, shard: &str) -> u64 {
    let text = s3.run(&["cat", &format!("bucket:job/one/shards/{shard}.json")]).done();
    let shard: serde_json::Value = serde_json::from_str(&text).unwrap();
    shard["epoch"].as_u64().unwrap()
}

#[test]
fn a_job_whose_state_is_in_a_bucket_is_done_although_one_of_its_workers_is_killed() {
    let s3 = planned();
    // Without the kill, this one would take twenty minutes.
    let mut killed = work(&s3, "0", "1");
    wait_until(|| claimed(&s3) == 1);
    let other = work(&s3, "1", "1000");
    // It may have copied its shard already.
    wait_until(|| epoch(&s3, "00001") == 1);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let replacement = work(&s3, "0", "1000");

    for worker in [other, replacement] {
        let output = worker.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(summary["source_objects"], OBJECTS, "{summary}");
    }
    let status = status(&s3);
    assert_eq!((&status["state"], claimed(&s3)), (&"done".into(), 0), "{status}");
    assert_eq!(status["counts"]["source_objects"], OBJECTS, "{status}");
    s3.run(&["check", "-q", "--download", "media:", "./copy"]).done();
    // The shard of the killed worker was claimed again, and the other one was not.
    let epochs = ["00000", "00001"].map(|shard| epoch(&s3, shard));
    assert_eq!(epochs, [2, 1]);
}
