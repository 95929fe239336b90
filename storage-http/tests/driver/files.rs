//! Real servers: what the suite does not cover.

use std::fs;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::stream;
use storage_core::{ByteRange, Error, ErrorKind, Payload, Storage};

use crate::servers::apache::Apache;
use crate::servers::nginx::Nginx;
use crate::servers::python::Python;

fn streaming(chunks: &'static [&'static str]) -> Payload {
    Payload::from_stream(stream::iter(
        chunks.iter().map(|chunk| Ok::<_, Error>(Bytes::from(*chunk))),
    ))
}

#[tokio::test]
async fn a_file_of_another_program_on_nginx_is_an_object() {
    let Some(nginx) = Nginx::start() else { return };
    fs::create_dir_all(nginx.files().join("2026/june")).unwrap();
    fs::write(nginx.files().join("2026/june/a b%.css"), "body {}").unwrap();
    let storage = Storage::new(nginx.http("/plain").build().unwrap());
    let key = "2026/june/a b%.css";
    let meta = storage.stat(key).await.unwrap();
    assert_eq!((meta.size, meta.content_type()), (7, Some("text/css")));
    assert!(meta.etag.is_some_and(|etag| !etag.is_weak()) && meta.last_modified.is_some());
    let object = storage.open(key).range(ByteRange::last(2)).await.unwrap();
    assert_eq!((object.range(), object.text().await.unwrap()), (5..7, "{}".to_owned()));
    let later = storage.open(key).if_modified_since(SystemTime::now()).await.unwrap_err();
    assert_eq!(later.kind(), ErrorKind::NotModified);
    for directory in ["2026", "2026/june"] {
        assert!(!storage.exists(directory).await.unwrap());
        assert_eq!(storage.open(directory).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    let listed = storage.list("").entries().collect().await.unwrap_err();
    assert_eq!(listed.kind(), ErrorKind::Unsupported, "{listed}");
}

#[tokio::test]
async fn a_base_url_with_an_encoded_path_supports_writes_and_listings() {
    let Some(nginx) = Nginx::start() else { return };
    fs::create_dir(nginx.files().join("é %2F")).unwrap();
    let storage = Storage::new(nginx.http("/dav/%C3%A9%20%252F").writable(true).build().unwrap());
    storage.save("a b/%41", "hello").await.unwrap();
    let entries = storage.list("a b/").entries().collect().await.unwrap();
    assert_eq!(entries.iter().map(storage_core::Entry::name).collect::<Vec<_>>(), ["a b/%41"]);
    assert_eq!(fs::read(nginx.files().join("é %2F/a b/%41")).unwrap(), b"hello");
    storage.delete("a b/%41").await.unwrap();
    assert!(storage.list("").entries().collect().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_link_works_without_the_driver() {
    let Some(nginx) = Nginx::start() else { return };
    fs::write(nginx.files().join("a ?#&.txt"), "hello").unwrap();
    let storage = Storage::new(nginx.http("/plain").build().unwrap());
    let link = storage.url("a ?#&.txt").await.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(client.get(link.as_str()).send().await.unwrap().text().await.unwrap(), "hello");
}

#[tokio::test]
async fn a_directory_or_object_in_the_way_is_a_conflict() {
    let nginx = Nginx::start();
    let apache = Apache::start();
    let storages = [
        nginx.as_ref().map(|nginx| nginx.storage().1),
        apache.as_ref().map(|apache| apache.storage().1),
    ];
    for storage in storages.into_iter().flatten() {
        storage.save("a", "first").await.unwrap();
        storage.save("c/d/e", "first").await.unwrap();
        for key in ["a/b", "a/b/c", "c", "c/d", "c/d/e/f"] {
            for payload in [Payload::from("second"), streaming(&["sec", "ond"])] {
                assert_eq!(
                    storage.save(key, payload).await.unwrap_err().kind(),
                    ErrorKind::Conflict,
                    "{key}"
                );
            }
            assert!(!storage.exists(key).await.unwrap(), "{key}");
            storage.delete(key).await.unwrap();
        }
        assert_eq!(storage.open("a").await.unwrap().text().await.unwrap(), "first");
        assert_eq!(storage.open("c/d/e").await.unwrap().text().await.unwrap(), "first");
    }
}

#[tokio::test]
async fn a_save_creates_directories_if_the_server_does_not() {
    let nginx = Nginx::start();
    let apache = Apache::start();
    let on_nginx = nginx
        .as_ref()
        .map(|nginx| Storage::new(nginx.http("/put/").writable(true).build().unwrap()));
    let on_apache = apache.as_ref().map(|apache| apache.storage().1);
    for storage in [on_nginx, on_apache].into_iter().flatten() {
        storage.save("a/b/c.txt", "hello").await.unwrap();
        storage.save("a/b2/d.txt", streaming(&["hel", "lo"])).await.unwrap();
        for key in ["a/b/c.txt", "a/b2/d.txt"] {
            assert_eq!(storage.open(key).await.unwrap().text().await.unwrap(), "hello");
        }
    }
}

#[tokio::test]
async fn deleting_the_name_of_a_directory_leaves_it() {
    let nginx = Nginx::start();
    let apache = Apache::start();
    let on_put = nginx
        .as_ref()
        .map(|nginx| Storage::new(nginx.http("/put/").writable(true).build().unwrap()));
    let storages = [
        nginx.as_ref().map(|nginx| nginx.storage().1),
        on_put,
        apache.as_ref().map(|apache| apache.storage().1),
    ];
    for storage in storages.into_iter().flatten() {
        storage.save("a/b/c.txt", "hello").await.unwrap();
        for name in ["a", "a/b", "x", "a/b/c.txt/d"] {
            storage.delete(name).await.unwrap();
        }
        assert_eq!(storage.open("a/b/c.txt").await.unwrap().text().await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn a_server_without_ranges_and_etags_can_be_read() {
    let Some(python) = Python::start() else { return };
    let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    python.put("a/b c.bin", &bytes);
    python.put("empty", b"");
    let storage = python.storage();
    let meta = storage.stat("a/b c.bin").await.unwrap();
    assert_eq!((meta.size, &meta.etag), (bytes.len() as u64, &None));
    assert_eq!(*storage.open("a/b c.bin").await.unwrap().meta(), meta);
    assert_eq!(storage.open("a/b c.bin").await.unwrap().bytes().await.unwrap(), bytes);
    let part = storage.open("a/b c.bin").range(100_001..200_003).await.unwrap();
    assert_eq!(part.range(), 100_001..200_003);
    assert_eq!(part.bytes().await.unwrap(), bytes[100_001..200_003]);
    let last = storage.open("a/b c.bin").range(ByteRange::last(10)).await.unwrap();
    assert_eq!(last.bytes().await.unwrap(), bytes[bytes.len() - 10..]);
    let past = storage.open("a/b c.bin").range(bytes.len() as u64..).await.unwrap_err();
    assert_eq!(past.kind(), ErrorKind::RangeNotSatisfiable);
    assert_eq!(storage.stat("empty").await.unwrap().size, 0);
    assert!(storage.open("empty").await.unwrap().bytes().await.unwrap().is_empty());
    for (key, is_there) in [("a/b c.bin", true), ("a", false), ("x", false), ("empty/x", false)] {
        assert_eq!(storage.exists(key).await.unwrap(), is_there, "{key}");
    }
    let any = "\"any\"".parse().unwrap();
    assert_eq!(
        storage.open("empty").if_match(any).await.unwrap_err().kind(),
        ErrorKind::PreconditionFailed
    );
    let since = storage.open("empty").if_modified_since(SystemTime::now()).await.unwrap_err();
    assert_eq!(since.kind(), ErrorKind::NotModified);
    let listed = storage.list("").entries().collect().await.unwrap_err();
    assert_eq!(listed.kind(), ErrorKind::Unsupported, "{listed}");
}
