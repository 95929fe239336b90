//! Finds names that divide a listing into parts of about equal size, with few requests.
//!
//! A listing can begin anywhere, but it cannot count. So a range is probed: a page at its begin
//! shows how dense the names are there, and one at its middle finds a real name to cut at. The
//! range that seems to have most objects is divided first, and several at a time. This takes one or
//! two pages for a shard, because both halves begin with a page that is known. Where names are
//! dense in a small part of a range, it takes some more: the text with which nearly all of them
//! begin is found first.

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use storage_core::{ListOptions, Result};

use crate::directory::Directory;

/// How many entries a page has. A range with fewer is not divided.
const PAGE: usize = 1000;
/// How many names of a page are skipped for each that is kept. 10,000 ranges wait in memory.
const SKIPPED: usize = 15;
/// How many characters of a name determine its position.
const DIGITS: usize = 8;
/// How often the middle of a range is moved towards its begin, because nothing comes after it.
const MAX_PROBES: usize = 12;
/// The same before it is known with which text nearly all names begin.
const FIRST_PROBES: usize = 1;
/// How many ranges are divided at a time.
const DIVIDED_AT_ONCE: usize = 16;

/// Returns at most `shards - 1` names in order, which are the borders between shards.
pub(crate) async fn borders(source: &Directory, shards: usize) -> Result<Vec<String>> {
    let mut ranges = BinaryHeap::new();
    ranges.extend(Range::probe(source, None, None).await?);
    let mut borders = Vec::new();
    let mut divided = FuturesUnordered::new();
    loop {
        while divided.len() < DIVIDED_AT_ONCE && borders.len() + divided.len() + 1 < shards {
            let Some(range) = ranges.pop() else { break };
            divided.push(range.divide(source));
        }
        let Some(halves) = divided.next().await else { break };
        let Some((before, cut, after)) = halves? else { continue };
        ranges.extend([before, after]);
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
        Some(range) => Ok(range.middle(source).await?.map(|(cut, _)| cut)),
        None => Ok(None),
    }
}

/// A range with more than a page of names.
#[derive(Debug)]
struct Range {
    after: Option<String>,
    until: Option<String>,
    /// Some names of the first page, with the first and the last one.
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
        Ok(Some(Self::new(after, until, thinned(page))))
    }

    fn new(after: Option<String>, until: Option<String>, page: Vec<String>) -> Self {
        let size = estimate(&page, until.as_deref());
        Self { after, until, page, size }
    }

    /// Divides the range at a name near its middle. Returns `None` if that is not possible.
    async fn divide(self, source: &Directory) -> Result<Option<(Self, String, Self)>> {
        let Some((cut, rest)) = self.middle(source).await? else { return Ok(None) };
        // At least the first page comes before the cut.
        let before = Self::new(self.after, Some(cut.clone()), self.page);
        let after = Self::new(Some(cut.clone()), self.until, rest);
        Ok(Some((before, cut, after)))
    }

    /// Finds a real name near the middle. At least a page comes before it, and nearly one after it,
    /// of which some names are returned, too.
    async fn middle(&self, source: &Directory) -> Result<Option<(String, Vec<String>)>> {
        let (Some(first), Some(begin)) = (self.page.first(), self.page.last()) else {
            return Ok(None);
        };
        if let Some(until) = &self.until {
            let common = common_prefix(first, until);
            if let Some(cut) = self.middle_below(source, common, FIRST_PROBES).await? {
                return Ok(Some(cut));
            }
        }
        let Some(second_page) = self.cut_after(source, begin).await? else { return Ok(None) };
        let crowded = self.crowded_prefix(source).await?;
        let cut = self.middle_below(source, crowded, MAX_PROBES).await?;
        Ok(cut.or(Some(second_page)))
    }

    /// Finds a real name near the middle of the names that begin with a text.
    async fn middle_below(
        &self,
        source: &Directory,
        common: &str,
        probes: usize,
    ) -> Result<Option<(String, Vec<String>)>> {
        let Some(begin) = self.page.last() else { return Ok(None) };
        let scale = Scale::new(common, &self.page, self.until.as_deref());
        let mut end = scale.end(self.until.as_deref());
        for _ in 0..probes {
            let middle = scale.text((scale.position(begin) + end) / 2.0);
            if middle.as_str() <= begin.as_str() {
                break;
            }
            if let Some(cut) = self.cut_after(source, &middle).await? {
                return Ok(Some(cut));
            }
            end = scale.position(&middle);
        }
        Ok(None)
    }

    /// Returns the longest text with which nearly all names of the range begin. What comes after
    /// them is less than a page.
    async fn crowded_prefix(&self, source: &Directory) -> Result<&str> {
        let (Some(first), Some(last)) = (self.page.first(), self.page.last()) else {
            return Ok("");
        };
        let common = common_prefix(first, last);
        let ends: Vec<usize> =
            common.char_indices().map(|(at, _)| at).chain([common.len()]).collect();
        // It is rarely much shorter than what the names of the first page have in common. So steps
        // from there double, until one is short enough.
        let (mut low, mut high, mut step) = (0, ends.len() - 1, 0);
        while low < high {
            let halfway = (low + high).div_ceil(2);
            let probe = halfway.max(high.saturating_sub(step));
            step = 2 * step + 1;
            let after_all = format!("{}{}", &common[..ends[probe]], char::MAX);
            match self.cut_after(source, &after_all).await? {
                None => low = probe,
                Some(_) => high = probe - 1,
            }
        }
        Ok(&common[..ends[low]])
    }

    /// Returns the first name after a text and some of those that follow, if at least a page of the
    /// range comes after the text.
    async fn cut_after(
        &self,
        source: &Directory,
        text: &str,
    ) -> Result<Option<(String, Vec<String>)>> {
        let mut names = page(source, Some(text), self.until.as_deref(), PAGE).await?;
        if names.len() < PAGE {
            return Ok(None);
        }
        let cut = names.remove(0);
        Ok(Some((cut, thinned(names))))
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

/// Keeps some names of a page, with the first and the last one.
fn thinned(page: Vec<String>) -> Vec<String> {
    let last = page.len().saturating_sub(1);
    let is_kept = |at: usize| at.is_multiple_of(SKIPPED + 1) || at == last;
    page.into_iter().enumerate().filter(|(at, _)| is_kept(*at)).map(|(_, name)| name).collect()
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

/// Estimates the number of objects of a range from the density of its first page, of which some
/// names are given.
fn estimate(page: &[String], until: Option<&str>) -> f64 {
    let (Some(first), Some(last)) = (page.first(), page.last()) else { return 0.0 };
    let common = until.map_or("", |until| common_prefix(first, until));
    let scale = Scale::new(common, page, until);
    let (first, last) = (scale.position(first), scale.position(last));
    let share = (last - first) / (scale.end(until) - first);
    PAGE as f64 / share.clamp(1e-9, 1.0)
}

/// Positions between 0 and 1 of names that begin with the same text, in the digits of the
/// characters that names contain.
#[derive(Debug)]
struct Scale {
    common: String,
    digits: Vec<char>,
}

impl Scale {
    fn new(common: &str, page: &[String], until: Option<&str>) -> Self {
        let rest = |name: &str| name.strip_prefix(common).unwrap_or_default().to_owned();
        let names = page.iter().map(String::as_str).chain(until);
        let mut digits: BTreeSet<char> =
            names.flat_map(|name| rest(name).chars().collect::<Vec<_>>()).collect();
        // Numbers after the page have digits that it lacks.
        if digits.iter().any(char::is_ascii_digit) {
            digits.extend('0'..='9');
        }
        Self { common: common.to_owned(), digits: digits.into_iter().collect() }
    }

    /// Returns the position of a name that begins with the common text.
    fn position(&self, name: &str) -> f64 {
        let base = self.digits.len() as f64 + 1.0;
        let rest = name.strip_prefix(&self.common).unwrap_or_default();
        let (mut position, mut weight) = (0.0, 1.0 / base);
        for character in rest.chars().take(DIGITS) {
            let digit = self.digits.partition_point(|digit| *digit < character);
            position += weight * (digit as f64 + 1.0);
            weight /= base;
        }
        position
    }

    /// Returns the position of the end of a range.
    fn end(&self, until: Option<&str>) -> f64 {
        let inside = until.filter(|until| until.starts_with(&self.common));
        inside.map_or(1.0, |until| self.position(until))
    }

    /// Returns the text at a position. It need not be a valid key.
    fn text(&self, position: f64) -> String {
        let base = self.digits.len() as f64 + 1.0;
        let (mut rest, mut text) = (position, self.common.clone());
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
    use storage_core::{Memory, Operation, Storage};
    use storage_testkit::faults::Faults;

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
    async fn a_border_takes_few_pages_of_the_listing() {
        let even = (0..20_000_u32).map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761)));
        let months = (0..24_000).map(|n| format!("2026/{:02}/img-{n:06}.jpg", n % 12));
        for (names, most) in [(even.collect::<Vec<_>>(), 12), (months.collect(), 60)] {
            let (storage, ..) = filled(names.into_iter()).await;
            let faults = Faults::new();
            let counted = storage.layer(|inner| faults.layer(inner));
            let directory = Directory::new(&counted, "dir").unwrap();
            let borders = borders(&directory, 6).await.unwrap().len();
            let pages = faults.calls(Operation::List);
            assert!(borders == 5 && pages <= most, "{pages}");
        }
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
