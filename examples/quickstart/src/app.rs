//! The application. It uses a [`Storage`] and does not depend on the driver behind it.

use std::time::Duration;

use anystorage::{Entry, ErrorKind, Link, Storage, UrlMethod};

use crate::error::Result;
use crate::files::{self, ALL, PICTURE, SOUND};
use crate::report::Report;

/// Calls every verb and prints the results of the storage.
pub(crate) async fn tour(storage: &Storage, report: &mut Report) -> Result<()> {
    save(storage, report).await?;
    open(storage, report).await?;
    open_ranges(storage, report).await?;
    check(storage, report).await?;
    link(storage, report).await?;
    list(storage, report).await?;
    delete(storage, report).await
}

async fn save(storage: &Storage, report: &mut Report) -> Result<()> {
    for file in ALL {
        let saved = storage
            .save(file.key, file.bytes)
            .cache_control("public, max-age=3600")
            .user_metadata("saved-by", "quickstart")
            .create_new()
            .await?;
        let content_type = saved.content_type().unwrap_or("of unknown type");
        report.row("save", saved.key.as_str(), format!("{:>6} bytes, {content_type}", saved.size));
    }
    let again = storage.save(PICTURE.key, "something else").create_new().await;
    match again {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            report.row("save", PICTURE.key, format!("create_new fails: {}", error.message()));
            Ok(())
        }
        Err(error) => Err(error.into()),
        Ok(_) => Err("create_new replaced an object".into()),
    }
}

async fn open(storage: &Storage, report: &mut Report) -> Result<()> {
    let mut total = 0;
    for file in ALL {
        let bytes = storage.open(file.key).await?.bytes().await?;
        ensure(bytes == file.bytes, || {
            format!("{} does not have the bytes that were saved", file.key)
        })?;
        total += bytes.len();
    }
    report.row(
        "open",
        &format!("{} objects", ALL.len()),
        format!("{total:>6} bytes, the same as saved"),
    );
    Ok(())
}

/// Reads a few bytes of two objects to find out the size of the picture and the length of the
/// sound.
async fn open_ranges(storage: &Storage, report: &mut Report) -> Result<()> {
    let header = storage.open(PICTURE.key).range(16..24).await?;
    let size = header.meta().size;
    let bytes = header.bytes().await?;
    let (width, height) =
        (u32::from_be_bytes(four_bytes(&bytes, 0)?), u32::from_be_bytes(four_bytes(&bytes, 4)?));
    report.row("range", PICTURE.key, format!("bytes 16..24 of {size}: {width} x {height} pixels"));

    let header = storage.open(SOUND.key).range(28..44).await?;
    let size = header.meta().size;
    let bytes = header.bytes().await?;
    let (rate, length) =
        (u32::from_le_bytes(four_bytes(&bytes, 0)?), u32::from_le_bytes(four_bytes(&bytes, 12)?));
    let seconds = f64::from(length) / f64::from(rate);
    report.row("range", SOUND.key, format!("bytes 28..44 of {size}: {seconds:.1} seconds"));
    Ok(())
}

async fn check(storage: &Storage, report: &mut Report) -> Result<()> {
    for (key, expected) in [(PICTURE.key, true), ("images/moonrise.png", false)] {
        let exists = storage.exists(key).await?;
        ensure(exists == expected, || format!("exists {key}: {exists}"))?;
        report.row("exists", key, if exists { "yes" } else { "no" });
    }
    let meta = storage.stat(files::STYLE.key).await?;
    let cache_control = meta.metadata.cache_control.as_deref().unwrap_or("unset");
    let saved_by = meta.metadata.user_metadata.get("saved-by").map_or("unset", String::as_str);
    let etag = meta.etag.map_or_else(|| "none".to_owned(), |etag| etag.to_string());
    report.row("stat", meta.key.as_str(), format!("Cache-Control: {cache_control}"));
    report.row("stat", "", format!("saved-by: {saved_by}"));
    report.row("stat", "", format!("ETag: {etag}"));
    Ok(())
}

async fn link(storage: &Storage, report: &mut Report) -> Result<()> {
    let quarter_of_an_hour = Duration::from_secs(15 * 60);
    let public = storage.url(PICTURE.key).await;
    report.row("link", "public", link_or_reason(public)?);
    let signed = storage.url(PICTURE.key).expires_in(quarter_of_an_hour).await;
    report.row("link", "signed", link_or_reason(signed)?);
    // With a form, a browser uploads to the storage directly: a picture of at most 5 MB with any
    // name.
    let form =
        storage.url("uploads").method(UrlMethod::Post).any_name().expires_in(quarter_of_an_hour);
    let form = form.content_type("image/*").content_length_range(1..=5_000_000).await;
    report.row("link", "upload form", link_or_reason(form)?);
    Ok(())
}

/// Returns a link, or the reason why this storage does not support it.
fn link_or_reason(link: anystorage::Result<Link>) -> Result<String> {
    match link {
        Ok(link) => {
            // Everyone who has a signed link may use it, so its query is not printed.
            let shown = link.without_query();
            let signature = if link.query().is_some() { "?..." } else { "" };
            let until =
                link.expires_at.map(|time| format!(" until {}", anystorage::format_time(time)));
            Ok(format!("{shown}{signature}{}", until.unwrap_or_default()))
        }
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            Ok(format!("none: {}", error.message()))
        }
        Err(error) => Err(error.into()),
    }
}

async fn list(storage: &Storage, report: &mut Report) -> Result<()> {
    let level = storage.list("").delimiter("/").entries().collect().await?;
    report.row("list", "one level", names(&level).join(" "));
    let mut entries = storage.list("").entries();
    let (mut count, mut total) = (0, 0);
    while let Some(entry) = entries.next().await {
        if let Some(object) = entry?.into_object() {
            count += 1;
            total += object.size;
        }
    }
    ensure(count == ALL.len(), || format!("{count} objects listed, {} saved", ALL.len()))?;
    report.row("list", &format!("{count} objects"), format!("{total:>6} bytes"));
    Ok(())
}

fn names(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(Entry::name).collect()
}

async fn delete(storage: &Storage, report: &mut Report) -> Result<()> {
    let deleted = storage.delete_many(storage.list("").entries()).finish().await?;
    storage.delete(PICTURE.key).await?; // deleting again is not an error
    let left = storage.list("").entries().collect().await?;
    ensure(left.is_empty(), || format!("not deleted: {}", names(&left).join(", ")))?;
    report.row("delete", &format!("{deleted} objects"), format!("{} left", left.len()));
    Ok(())
}

fn ensure(condition: bool, message: impl FnOnce() -> String) -> Result<()> {
    if condition { Ok(()) } else { Err(message().into()) }
}

fn four_bytes(bytes: &[u8], at: usize) -> Result<[u8; 4]> {
    Ok(bytes.get(at..at + 4).ok_or("the range is shorter than requested")?.try_into()?)
}
