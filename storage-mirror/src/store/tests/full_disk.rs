//! A disk that is full or has no inodes left: fills fail with `StorageFull`, stored entries stay,
//! and fills succeed again once there is space.
//!
//! Each job mounts file systems in its own namespace, so the mounts end with it.

use std::fs::File;
use std::process::Command;

use super::*;

/// Runs a job that mounts a file system over the directory. Skips it where mounts are forbidden.
fn run_with_mount(job: &str) {
    let Some(wrapper) = jobs::mount_wrapper() else { return skip("this machine forbids mounts") };
    let scratch = Scratch::new();
    fs::create_dir(scratch.path()).unwrap();
    assert_eq!(jobs::finish(super::job(wrapper, job, &scratch.path())), ["done"]);
}

fn mount(options: &str, at: &Path) {
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "test"])
        .arg(at)
        .output()
        .unwrap();
    assert!(mount.status.success(), "{mount:?}");
}

const KEPT: usize = 200_000;

/// Opens a store with one object, whose `max_size` is far above the size of the disk.
fn store_on(path: &Path) -> Store {
    let (store, _) = Store::open(path, Limits::new(64 * MIB)).unwrap();
    fill(&store, "kept", &pattern(1, KEPT));
    store
}

#[track_caller]
fn assert_as_before(path: &Path, store: &Store) {
    let usage = store.usage();
    assert_eq!((usage.objects, usage.reserved, usage.evicted_objects), (1, 0, 0));
    assert!(fill_files(path).is_empty());
    assert_eq!(usage.bytes, disk_use(path));
    assert_eq!(read_key(store, "kept").unwrap(), pattern(1, KEPT));
}

pub(super) fn full_disk(path: &Path) {
    mount("size=3m", path);
    let store = store_on(path);
    // A large object is refused before the first byte, because its space is allocated at once.
    refused(store.begin("large").create(meta("large", 8 * MIB)), ErrorKind::StorageFull);
    assert_as_before(path, &store);
    // A running fill fails at the first write to the full disk.
    let len = BLOCK as u64 - 10;
    let mut filling = store.begin("key").create(meta("key", len)).unwrap();
    fill_up(&path.join("filler"));
    let body = pattern(2, BLOCK - 10);
    refused(filling.write(&body), ErrorKind::StorageFull);
    refused(filling.write(&body), ErrorKind::Integrity);
    refused(filling.commit(), ErrorKind::Integrity);
    assert_as_before(path, &store);
    refused(try_fill(&store, "key", &body), ErrorKind::StorageFull);
    refused(store.begin("new").create(meta("new", 8 * MIB)), ErrorKind::StorageFull);
    assert_as_before(path, &store);
    assert!(store.get("key").is_none());

    fs::remove_file(path.join("filler")).unwrap();
    fill(&store, "key", &body);
    assert_eq!(read_key(&store, "key").unwrap(), body);
    // Purges and restarts succeed on a full disk.
    fill_up(&path.join("filler"));
    assert!(store.purge("key").unwrap());
    drop(store);
    let (store, recovered) = Store::open(path, Limits::new(64 * MIB)).unwrap();
    assert_eq!((recovered.objects, recovered.dropped), (1, 0));
    assert_as_before(path, &store);
    jobs::report("done");
}

fn fill_up(path: &Path) {
    let mut file = File::create(path).unwrap();
    let error = std::io::copy(&mut std::io::repeat(b'x'), &mut file).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}

pub(super) fn no_inodes(path: &Path) {
    mount("size=10m,nr_inodes=400", path);
    let store = store_on(path);
    let filler = path.join("filler");
    fs::create_dir(&filler).unwrap();
    let used = (0..).take_while(|n| File::create(filler.join(n.to_string())).is_ok()).count();
    assert!(used > 5);
    refused(try_fill(&store, "key", b"body"), ErrorKind::StorageFull);
    assert_as_before(path, &store);
    fs::remove_dir_all(&filler).unwrap();
    fill(&store, "key", b"body");
    assert_eq!(read_key(&store, "key").unwrap(), b"body");
    jobs::report("done");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_fails_fills_and_nothing_else() {
    run_with_mount("full disk");
}

#[cfg(target_os = "linux")]
#[test]
fn a_lack_of_inodes_fails_fills_and_nothing_else() {
    run_with_mount("no inodes");
}
