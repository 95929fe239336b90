//! S3 Inventory as the source of a first copy and of the borders of a job.

use std::fmt::Write as _;

use storage_core::{Checksum, ChecksumAlgorithm};
use storage_testkit::http::closed_port;

use crate::support::{Run, Sandbox};

pub(crate) const MANIFEST: &str = "lists:media/daily/2026-11-06T01-00Z/manifest.json";

/// Writes an inventory of these objects of a bucket, key and size, in two data files.
pub(crate) fn write_inventory(sandbox: &Sandbox, bucket: &str, objects: &[(&str, usize)]) {
    let mut files = Vec::new();
    for (number, half) in objects.chunks(objects.len().div_ceil(2).max(1)).enumerate() {
        let mut rows = String::new();
        for (key, size) in half {
            writeln!(rows, "\"{bucket}\",\"{key}\",\"{size}\"").unwrap();
        }
        let key = format!("media/daily/data/{number}.csv");
        let md5 = Checksum::of(ChecksumAlgorithm::Md5, rows.as_bytes()).to_hex();
        files.push(format!(
            "{{\"key\":\"{key}\",\"size\":{},\"MD5checksum\":\"{md5}\"}}",
            rows.len()
        ));
        sandbox.write(&format!("lists/{key}"), rows);
    }
    let manifest = format!(
        "{{\"sourceBucket\":\"{bucket}\",\"creationTimestamp\":\"1796083200000\",\
         \"fileFormat\":\"CSV\",\"fileSchema\":\"Bucket, Key, Size\",\"files\":[{}]}}",
        files.join(",")
    );
    sandbox.write("lists/media/daily/2026-11-06T01-00Z/manifest.json", manifest);
}

/// A sandbox whose storage `media` has these objects, and an inventory of it.
fn sandbox(objects: &[(&str, &str)], inventory: &[(&str, usize)]) -> Sandbox {
    let sandbox = Sandbox::new();
    let config = sandbox.read("storages.toml");
    sandbox
        .write("storages.toml", config + "\n[storages.lists]\ndriver = \"fs\"\nroot = \"lists\"\n");
    std::fs::create_dir(sandbox.path("media")).unwrap();
    for (key, text) in objects {
        sandbox.write(&format!("media/{key}"), text);
    }
    write_inventory(&sandbox, "media", inventory);
    sandbox
}

fn sync(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    sandbox.run(&[&["sync", "--inventory", MANIFEST], arguments].concat())
}

#[test]
fn a_first_copy_by_an_inventory_copies_what_it_contains_and_is_still_there() {
    let objects = [("site/a", "as it is now"), ("site/b", "b"), ("site/later", "x"), ("c", "c")];
    let listed = [("site/gone", 1), ("site/b", 1), ("c", 1), ("site/a", 3)];
    let sandbox = sandbox(&objects, &listed);
    sandbox.put("backup:kept", "x");
    let run = sync(&sandbox, &["--report", "report", "media:site", "backup:"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert_eq!(
        run.err,
        "anystorage: 2 copied (2 new, 0 changed, 13 B), 1 not in the inventory, 0 same, 1 deleted \
         from the source since the inventory\n\
         anystorage: the inventory is of 2026-12-01T00:00:00Z: run again without --inventory for \
         later changes\n"
    );
    assert_eq!(sandbox.run(&["ls", "-r", "backup:"]).done(), "a\nb\nkept\n");
    assert_eq!(sandbox.cat("backup:a"), "as it is now");
    assert!(sandbox.read("report").contains("{\"symbol\":\"?\",\"key\":\"gone\""));
    let later = sandbox.run(&["sync", "media:site", "backup:"]);
    assert!(later.err.contains("1 copied (1 new, "), "{}", later.err);
}

#[test]
fn a_dry_run_by_an_inventory_changes_nothing_and_its_summary_names_the_inventory() {
    let sandbox = sandbox(&[("a", "1"), ("b", "2")], &[("b", 1), ("a", 1)]);
    let run = sync(&sandbox, &["-n", "--exclude", "b", "media:", "backup:"]);
    assert_eq!((run.code, run.out.as_slice()), (Some(0), &b"+ a\n"[..]), "{}", run.err);
    assert!(!sandbox.exists("backup/a"));
    let json = sync(&sandbox, &["-q", "--json", "media:", "backup:"]).done();
    let inventory = format!(
        "\"inventory\":{{\"manifest\":\"{MANIFEST}\",\"bucket\":\"media\",\
         \"created\":\"2026-12-01T00:00:00Z\"}}"
    );
    assert!(json.contains(&inventory) && json.contains("\"new\":2,"), "{json}");
}

#[test]
fn an_inventory_never_decides_what_to_delete() {
    let sandbox = sandbox(&[("a", "1")], &[("a", 1)]);
    sandbox.put("backup:b", "x");
    for option in [&["--delete"][..], &["--job", "./state"], &["--keys-from", "list"]] {
        let run = sync(&sandbox, &[option, &["media:", "backup:"]].concat());
        assert_eq!(run.code, Some(2));
        assert!(run.err.contains("cannot be used with") && run.err.contains(option[0]));
    }
    assert_eq!(sandbox.run(&["ls", "backup:"]).done(), "b\n");
}

#[test]
fn an_inventory_whose_objects_are_all_gone_is_a_failure() {
    let sandbox = sandbox(&[("a", "1")], &[("x", 1), ("y", 1)]);
    let run = sync(&sandbox, &["media:", "backup:"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains("none of the objects of the inventory"), "{}", run.err);
}

#[test]
fn a_damaged_inventory_copies_nothing() {
    let sandbox = sandbox(&[("a", "1")], &[("a", 1)]);
    sandbox.write("lists/media/daily/data/0.csv", "\"media\",\"b\",\"1\"\n");
    let run = sync(&sandbox, &["media:", "backup:"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains("its MD5 differs"), "{}", run.err);
    assert!(!sandbox.exists("backup/a"));
    let other = sandbox.run(&["sync", "--inventory", "media:a", "media:", "backup:"]);
    assert!(other.failed(2).contains("manifest.json"));
}

#[test]
fn the_borders_of_a_job_by_an_inventory_are_those_of_the_source() {
    let names: Vec<_> =
        (0..40).map(|n| (format!("site/{n:02}"), "x")).chain([("z".to_owned(), "x")]).collect();
    let objects: Vec<_> = names.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    let listed: Vec<_> = names.iter().map(|(name, _)| (name.as_str(), 1)).collect();
    let sandbox = sandbox(&objects, &listed);
    let plan = ["transfer", "plan", "--job", "./state", "--shards", "4", "--inventory", MANIFEST];
    let planned = sandbox.run(&[&plan[..], &["media:site", "backup:"]].concat());
    assert_eq!(planned.done(), "./state/: 4 shards\n");
    let status = sandbox.run(&["transfer", "status", "--long", "--job", "./state"]).done();
    for border in ["until 10", "until 20", "until 30", "until the end"] {
        assert!(status.contains(border), "{status}");
    }
    let worked = sandbox.run(&["transfer", "work", "-q", "--json", "--job", "./state"]).done();
    assert!(worked.contains("\"new\":40,"), "{worked}");
    sandbox.run(&["check", "-q", "media:site", "backup:", "--checksum"]).done();
}

#[test]
fn an_inventory_of_an_unavailable_service_is_to_be_read_again() {
    let sandbox = sandbox(&[("a", "1")], &[("a", 1)]);
    let config = sandbox.read("storages.toml");
    let closed = closed_port();
    let bucket = format!(
        "[storages.bucket]\ndriver = 's3'\nbucket = 'x'\nendpoint = '{closed}'\nretries = 0\n\
         region = 'us-east-1'\nallow_http = true\naccess_key_id = 'a'\nsecret_access_key = 'b'\n"
    );
    sandbox.write("storages.toml", config + &bucket);
    for command in [&["sync"][..], &["transfer", "plan", "--job", "./state"]] {
        let options = ["--inventory", "bucket:manifest.json", "media:", "backup:"];
        let run = sandbox.run(&[command, &options].concat());
        assert_eq!(run.code, Some(75), "{}", run.err);
    }
}
