//! Archives of a thousand objects, which Python's standard library reads.

use std::path::Path;
use std::process::Command;

use anystorage::{ErrorKind, Operation, Storage};
use archives::{csv, parquet, tar, zip};
use storage_testkit::faults::Faults;

const OBJECTS: usize = 1_000;

/// Returns the name and the bytes of an object. Some objects are larger than the writer's buffer.
fn object(number: usize) -> (String, Vec<u8>) {
    let len = if number % 100 == 7 { 300_000 } else { number };
    let bytes = (0..len).map(|at| (at * 31 + number) as u8).collect();
    (format!("photos/{number:04} ä.bin"), bytes)
}

fn total() -> u64 {
    (0..OBJECTS).map(|number| object(number).1.len() as u64).sum()
}

/// Returns two storages with a thousand objects: in memory, and in a directory.
async fn storages(directory: &Path) -> [Storage; 2] {
    let fs = format!("file://{}", directory.join("storage").display());
    std::fs::create_dir(directory.join("storage")).unwrap();
    let storages = ["memory:", &fs].map(|url| anystorage::open(url).unwrap());
    for storage in &storages {
        for (name, bytes) in (0..OBJECTS).map(object) {
            storage.save(name, bytes).await.unwrap();
        }
        storage.save("other.txt", "not below the prefix").await.unwrap();
    }
    storages
}

/// Runs Python on an object, and returns what it prints.
async fn python(storage: &Storage, key: &str, directory: &Path, script: &str) -> String {
    let path = directory.join(key);
    storage.download(key, &path).await.unwrap();
    let output = Command::new("python3").args(["-c", script]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns name, size and CRC of each object, as the scripts print them.
fn expected() -> String {
    let lines = (0..OBJECTS).map(object).map(|(name, bytes)| {
        let crc = crc32(&bytes);
        format!("{name} {} {crc}\n", bytes.len())
    });
    lines.collect()
}

/// Returns the CRC-32 of zip (APPNOTE section 4.4.7), computed bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

#[tokio::test]
async fn a_zip_of_a_thousand_objects_is_opened_by_python_and_by_a_reader() {
    let directory = tempfile::tempdir().unwrap();
    for storage in storages(directory.path()).await {
        let meta = zip::pack(&storage, "photos/", "photos.zip").await.unwrap();
        assert_eq!(meta.content_type(), Some("application/zip"));
        let script = "
import sys, zipfile, zlib
archive = zipfile.ZipFile(sys.argv[1])
assert archive.testzip() is None
for name in archive.namelist():
    data = archive.read(name)
    print(name, len(data), zlib.crc32(data))";
        assert_eq!(python(&storage, "photos.zip", directory.path(), script).await, expected());
        for number in [0, 7, 999] {
            let (name, bytes) = object(number);
            let read = zip::read(&storage, "photos.zip", &name).await.unwrap();
            assert!(read == Some(bytes), "{name}");
        }
        assert!(zip::read(&storage, "photos.zip", "missing").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn an_album_of_a_thousand_photos_has_their_names_and_bytes() {
    let directory = tempfile::tempdir().unwrap();
    for storage in storages(directory.path()).await {
        let photos = storage.list("photos/").keys().await.unwrap();
        zip::album(&storage, &photos).await.unwrap();
        for number in [0, 7, 999] {
            let (key, bytes) = object(number);
            let name = key.strip_prefix("photos/").unwrap();
            let read = zip::read(&storage, "album.zip", name).await.unwrap();
            assert!(read == Some(bytes), "{name}");
        }
    }
}

#[tokio::test]
async fn a_tar_of_a_thousand_objects_is_opened_by_python() {
    let directory = tempfile::tempdir().unwrap();
    for storage in storages(directory.path()).await {
        tar::pack(&storage, "photos/", "photos.tar").await.unwrap();
        let script = "
import sys, tarfile, zlib
archive = tarfile.open(sys.argv[1])
for member in archive:
    data = archive.extractfile(member).read()
    print(member.name, len(data), zlib.crc32(data))";
        assert_eq!(python(&storage, "photos.tar", directory.path(), script).await, expected());
    }
}

#[tokio::test]
async fn a_csv_of_a_thousand_rows_is_read_by_python_and_by_a_reader() {
    let directory = tempfile::tempdir().unwrap();
    for storage in storages(directory.path()).await {
        csv::inventory(&storage, "photos/", "photos.csv").await.unwrap();
        assert_eq!(csv::total_size(&storage, "photos.csv").await.unwrap(), total());
        let script = "
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1], newline='', encoding='utf-8')))
print(len(rows), sum(int(row['size']) for row in rows), rows[-1]['key'])";
        let printed = python(&storage, "photos.csv", directory.path(), script).await;
        assert_eq!(printed, format!("{OBJECTS} {} {}\n", total(), object(OBJECTS - 1).0));
    }
}

#[tokio::test]
async fn a_parquet_table_that_a_writer_saved_is_read_through_a_reader() {
    let directory = tempfile::tempdir().unwrap();
    for storage in storages(directory.path()).await {
        let meta = parquet::inventory(&storage, "photos/", "photos.parquet").await.unwrap();
        assert!(meta.size > 1_000, "{} bytes", meta.size);
        assert_eq!(parquet::total_size(&storage, "photos.parquet").await.unwrap(), total());
    }
}

#[tokio::test]
async fn a_failure_of_a_packed_object_leaves_the_old_archive() {
    let directory = tempfile::tempdir().unwrap();
    for storage in storages(directory.path()).await {
        let faults = Faults::new();
        let failing = storage.layer(|inner| faults.layer(inner));
        for archive in ["a.zip", "a.tar"] {
            storage.save(archive, "old").await.unwrap();
            let lost = faults.on(Operation::Open).call(500).fail_midway(10, ErrorKind::Timeout);
            let packed = match archive {
                "a.zip" => zip::pack(&failing, "photos/", archive).await,
                _ => tar::pack(&failing, "photos/", archive).await,
            };
            assert!(packed.is_err());
            assert_eq!(lost.fired(), 1);
            assert_eq!(storage.read_text(archive).await.unwrap(), "old");
        }
    }
}
