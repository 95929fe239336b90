//! The application. It knows a [`Storage`] and nothing of what is behind it.

use std::time::Duration;

use anystorage::{Entry, ErrorKind, Link, Storage, UrlMethod};

use crate::files::{ALL, PICTURE, SOUND};
use crate::report::Report;
use crate::{Result, files};

/// Every verb in turn. What is printed is what the storage answered.
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
            report.row(
                "save",
                PICTURE.key,
                format!("refused with create_new: {}", error.message()),
            );
            Ok(())
        }
        Err(error) => Err(error.into()),
        Ok(_) => Err("create_new has replaced an object".into()),
    }
}

async fn open(storage: &Storage, report: &mut Report) -> Result<()> {
    let mut total = 0;
    for file in ALL {
        let bytes = storage.open(file.key).await?.bytes().await?;
        ensure(bytes == file.bytes, || format!("{} came back with other bytes", file.key))?;
        total += bytes.len();
    }
    report.row(
        "open",
        &format!("{} objects", ALL.len()),
        format!("{total:>6} bytes, each as it was saved"),
    );
    Ok(())
}

/// Two questions that a few bytes answer: how large is the picture, how long is the sound?
async fn open_ranges(storage: &Storage, report: &mut Report) -> Result<()> {
    let size = storage.open(PICTURE.key).range(16..24).await?;
    let of = size.meta().size;
    let bytes = size.bytes().await?;
    let (width, height) =
        (u32::from_be_bytes(four(&bytes, 0)?), u32::from_be_bytes(four(&bytes, 4)?));
    report.row(
        "range",
        PICTURE.key,
        format!("bytes 16..24 of {of} tell: {width} x {height} pixels"),
    );

    let header = storage.open(SOUND.key).range(28..44).await?;
    let of = header.meta().size;
    let bytes = header.bytes().await?;
    let (rate, length) =
        (u32::from_le_bytes(four(&bytes, 0)?), u32::from_le_bytes(four(&bytes, 12)?));
    let seconds = f64::from(length) / f64::from(rate);
    report.row("range", SOUND.key, format!("bytes 28..44 of {of} tell: {seconds:.1} seconds"));
    Ok(())
}

async fn check(storage: &Storage, report: &mut Report) -> Result<()> {
    for (key, expected) in [(PICTURE.key, true), ("images/moonrise.png", false)] {
        let there = storage.exists(key).await?;
        ensure(there == expected, || format!("exists {key}: {there}"))?;
        report.row("exists", key, if there { "yes" } else { "no" });
    }
    let meta = storage.stat(files::STYLE.key).await?;
    let cache_control = meta.metadata.cache_control.as_deref().unwrap_or("unset");
    let saved_by = meta.metadata.user_metadata.get("saved-by").map_or("nobody", String::as_str);
    let etag = meta.etag.map_or_else(|| "none".to_owned(), |etag| etag.to_string());
    report.row("stat", meta.key.as_str(), format!("Cache-Control: {cache_control}"));
    report.row("stat", "", format!("saved-by: {saved_by}"));
    report.row("stat", "", format!("ETag: {etag}"));
    Ok(())
}

async fn link(storage: &Storage, report: &mut Report) -> Result<()> {
    let quarter_of_an_hour = Duration::from_secs(15 * 60);
    let public = storage.url(PICTURE.key).await;
    report.row("link", "public", told(public)?);
    let signed = storage.url(PICTURE.key).expires_in(quarter_of_an_hour).await;
    report.row("link", "signed", told(signed)?);
    // For browsers that upload to the storage themselves: a picture of at most 5 MB, under any
    // name.
    let form =
        storage.url("uploads").method(UrlMethod::Post).any_name().expires_in(quarter_of_an_hour);
    let form = form.content_type("image/*").content_length_range(1..=5_000_000).await;
    report.row("link", "upload form", told(form)?);
    Ok(())
}

/// A link, or why this storage makes none: that is an answer, not a failure.
fn told(link: anystorage::Result<Link>) -> Result<String> {
    match link {
        Ok(link) => {
            // Whoever holds a signed link may use it, so its query is not shown.
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
    storage.delete(PICTURE.key).await?; // twice is no error
    let left = storage.list("").entries().collect().await?;
    ensure(left.is_empty(), || format!("left after deleting: {}", names(&left).join(", ")))?;
    report.row("delete", &format!("{deleted} objects"), format!("{} left", left.len()));
    Ok(())
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(otherwise().into()) }
}

fn four(bytes: &[u8], at: usize) -> Result<[u8; 4]> {
    Ok(bytes.get(at..at + 4).ok_or("the range is shorter than it should be")?.try_into()?)
}
