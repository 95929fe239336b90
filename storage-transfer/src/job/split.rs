//! Finds names that divide a listing into parts of about equal size, with few requests.
//!
//! A listing can begin anywhere, but it cannot count. So a range is probed: a page at its begin
//! shows how dense the names are there, and one at its middle finds a real name to cut at. The
//! range that seems to have most objects is divided first. This takes about two pages for a shard.

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};

use storage_core::{ListOptions, Result};

use crate::directory::Directory;

/// How many entries a page has. A range with fewer is not divided.
const PAGE: usize = 1000;
/// How many characters of a name determine its position.
const DIGITS: usize = 8;
/// How often the middle of a range is moved towards its begin, because nothing comes after it.
const MAX_PROBES: usize = 12;

/// Returns at most `shards - 1` names in order, which are the borders between shards.
pub(crate) async fn borders(source: &Directory, shards: usize) -> Result<Vec<String>> {
    let mut ranges = BinaryHeap::new();
    ranges.extend(Range::probe(source, None, None).await?);
    let mut borders = Vec::new();
    while borders.len() + 1 < shards {
        let Some(range) = ranges.pop() else { break };
        let Some(cut) = range.middle(source).await? else { continue };
        ranges.extend(Range::probe(source, range.after.clone(), Some(cut.clone())).await?);
        ranges.extend(Range::probe(source, Some(cut.clone()), range.until).await?);
        borders.push(cut);
    }
    borders.sort();
    Ok(borders)
}

/// Returns a name that divides a range, or `None` if the range has less than two pages.
pub(crate) async fn middle(
    source: &Directory,
    after: Option<&str>,
    until: Option<&str>,
) -> Result<Option<String>> {
    let (after, until) = (after.map(str::to_owned), until.map(str::to_owned));
    match Range::probe(source, after, until).await? {
        Some(range) => range.middle(source).await,
        None => Ok(None),
    }
}

/// A range with more than a page of names.
#[derive(Debug)]
struct Range {
    after: Option<String>,
    until: Option<String>,
    page: Vec<String>,
    /// The estimated number of objects.
    size: f64,
}

impl Range {
    /// Lists the first page of a range. Returns `None` if that is all.
    async fn probe(
        source: &Directory,
        after: Option<String>,
        until: Option<String>,
    ) -> Result<Option<Self>> {
        let page = page(source, after.as_deref(), until.as_deref(), PAGE).await?;
        if page.len() < PAGE {
            return Ok(None);
        }
        let size = estimate(&page, until.as_deref());
        Ok(Some(Self { after, until, page, size }))
    }

    /// Finds a real name near the middle, after the first page.
    async fn middle(&self, source: &Directory) -> Result<Option<String>> {
        let Some(begin) = self.page.last() else { return Ok(None) };
        let scale = Scale::new(&self.page, self.until.as_deref());
        let mut end = self.until.clone();
        for _ in 0..MAX_PROBES {
            let middle = scale.middle(begin, end.as_deref());
            if middle.as_str() <= begin.as_str() || end.as_ref().is_some_and(|end| middle >= *end) {
                break;
            }
            // Two names, because a border is the last name of its range: the other range has one.
            let found = page(source, Some(&middle), self.until.as_deref(), 2).await?;
            if let [first, _second] = &found[..] {
                return Ok(Some(first.clone()));
            }
            end = Some(middle);
        }
        // All that is left is close to the first page.
        let next = page(source, Some(begin), self.until.as_deref(), PAGE).await?;
        Ok((next.len() == PAGE).then(|| begin.clone()))
    }
}

impl PartialEq for Range {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Range {}

impl PartialOrd for Range {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Range {
    fn cmp(&self, other: &Self) -> Ordering {
        self.size.total_cmp(&other.size).then_with(|| self.after.cmp(&other.after))
    }
}

/// Lists at most `max` names of a range.
async fn page(
    source: &Directory,
    after: Option<&str>,
    until: Option<&str>,
    max: usize,
) -> Result<Vec<String>> {
    let prefix = source.prefix().as_str();
    let mut options = ListOptions::new();
    if let Some(after) = after {
        options = options.start_after(format!("{prefix}{after}"));
    }
    let mut entries = source.storage().list_with(prefix, options).entries();
    let mut names = Vec::new();
    while names.len() < max {
        let object = match entries.next_object().await {
            Ok(Some(object)) => object,
            Ok(None) => break,
            // A name that is not a key has no place in the order.
            Err(error) if error.listing_continues() => continue,
            Err(error) => return Err(error),
        };
        let Some(name) = source.name_of(object.key.as_str()) else { continue };
        if until.is_some_and(|until| name > until) {
            break;
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// Estimates the number of objects of a range from the density of its first page.
fn estimate(page: &[String], until: Option<&str>) -> f64 {
    let (Some(first), Some(last)) = (page.first(), page.last()) else { return 0.0 };
    let scale = Scale::new(page, until);
    let (first, last) = (scale.position(first), scale.position(last));
    let end = until.map_or(1.0, |until| scale.position(until));
    let share = ((last - first) / (end - first)).clamp(1e-9, 1.0);
    page.len() as f64 / share
}

/// Positions of names between 0 and 1, in the digits of the characters that names contain.
#[derive(Debug)]
struct Scale {
    /// What all names of the page and the end have in common.
    common: String,
    digits: Vec<char>,
}

impl Scale {
    fn new(page: &[String], until: Option<&str>) -> Self {
        let first = page.first().map_or("", String::as_str);
        let ends = page.last().map(String::as_str).into_iter();
        // Without an end, names after the page may have nothing in common with it.
        let ends = ends.chain([until.unwrap_or_default()]);
        let common = ends.fold(first, |common, end| common_prefix(common, end));
        let mut digits: BTreeSet<char> =
            page.iter().flat_map(|name| name[common.len()..].chars()).collect();
        digits.extend(until.and_then(|until| until.get(common.len()..)).unwrap_or("").chars());
        // Names after the page have characters that it lacks: other digits and letters.
        if digits.iter().any(char::is_ascii_digit) {
            digits.extend('0'..='9');
        }
        if digits.iter().any(char::is_ascii_lowercase) {
            digits.extend('a'..='z');
        }
        if digits.iter().any(char::is_ascii_uppercase) {
            digits.extend('A'..='Z');
        }
        Self { common: common.to_owned(), digits: digits.into_iter().collect() }
    }

    /// Returns the position of a name that begins with the common text.
    fn position(&self, name: &str) -> f64 {
        let base = self.digits.len() as f64 + 1.0;
        let rest = name.get(self.common.len()..).unwrap_or_default();
        let (mut position, mut weight) = (0.0, 1.0 / base);
        for character in rest.chars().take(DIGITS) {
            let digit = self.digits.partition_point(|digit| *digit < character);
            position += weight * (digit as f64 + 1.0);
            weight /= base;
        }
        position
    }

    /// Returns a text in the middle between two names. It need not be a valid key.
    fn middle(&self, begin: &str, end: Option<&str>) -> String {
        let end = end.map_or(1.0, |end| self.position(end));
        let mut rest = (self.position(begin) + end) / 2.0;
        let base = self.digits.len() as f64 + 1.0;
        let mut text = self.common.clone();
        for _ in 0..DIGITS {
            rest *= base;
            let digit = rest.floor();
            rest -= digit;
            if digit < 1.0 {
                break;
            }
            text.extend(self.digits.get(digit as usize - 1));
        }
        text
    }
}

fn common_prefix<'a>(a: &'a str, b: &str) -> &'a str {
    let same = a.char_indices().zip(b.chars()).find(|((_, a), b)| a != b);
    let end = same.map_or(a.len().min(b.len()), |((at, _), _)| at);
    &a[..end]
}

#[cfg(test)]
mod tests {
    use storage_core::{Memory, Storage};

    use super::*;

    async fn filled(names: impl Iterator<Item = String>) -> (Storage, Directory, Vec<String>) {
        let storage = Memory::storage();
        let mut sorted = Vec::new();
        for name in names {
            storage.save(format!("dir/{name}"), "").await.unwrap();
            sorted.push(name);
        }
        sorted.sort();
        let directory = Directory::new(&storage, "dir").unwrap();
        (storage, directory, sorted)
    }

    fn sizes(names: &[String], borders: &[String]) -> Vec<usize> {
        let mut sizes = vec![0; borders.len() + 1];
        for name in names {
            sizes[borders.partition_point(|border| border < name)] += 1;
        }
        sizes
    }

    #[tokio::test]
    async fn even_names_make_shards_of_similar_sizes() {
        let names = (0..20_000_u32).map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761)));
        let (_storage, directory, names) = filled(names).await;
        let borders = borders(&directory, 8).await.unwrap();
        let sizes = sizes(&names, &borders);
        assert_eq!(sizes.len(), 8);
        assert!(sizes.iter().all(|size| (500..6_000).contains(size)), "{sizes:?}");
        assert!(borders.iter().all(|border| names.contains(border)));
    }

    #[tokio::test]
    async fn skewed_names_are_divided_where_they_are_dense() {
        let dense = (0..15_000).map(|n| format!("2026/11/img-{n:06}.jpg"));
        let sparse = ('a'..='z').map(|c| format!("{c}/only"));
        let (_storage, directory, names) = filled(dense.chain(sparse)).await;
        let sizes = sizes(&names, &borders(&directory, 6).await.unwrap());
        assert!(sizes.len() >= 4, "{sizes:?}");
        assert!(sizes.iter().all(|size| *size < 9_000), "{sizes:?}");
    }

    #[tokio::test]
    async fn a_listing_of_one_page_is_not_divided() {
        let (_storage, directory, _) = filled((0..999).map(|n| format!("{n}"))).await;
        assert!(borders(&directory, 8).await.unwrap().is_empty());
        assert_eq!(middle(&directory, None, None).await.unwrap(), None);
    }

    #[tokio::test]
    async fn the_rest_of_a_range_has_a_middle() {
        let (_storage, directory, names) = filled((0..5_000).map(|n| format!("{n:05}"))).await;
        let cut = middle(&directory, Some("00999"), Some("03999")).await.unwrap().unwrap();
        assert!(names.contains(&cut) && *"00999" < *cut && *cut < *"03999", "{cut}");
    }
}
