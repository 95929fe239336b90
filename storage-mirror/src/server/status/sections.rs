//! The sections of the page below the charts: tables and lists.

use std::fmt::Write;

use super::super::analytics::{Counts, TopKey};
use super::super::record::Outcome;
use super::format::{bytes, count, percent, share};
use super::html::{escaped, shown};
use super::periods::{History, Unit};
use super::query::PageQuery;
use super::view::{Keys, View};

/// The figures of the charts as a table, the latest first.
pub(super) fn history_table(query: &PageQuery, history: &History) -> String {
    let unit = history.buckets.first().map_or(Unit::Day, |bucket| bucket.unit);
    let mut html = format!(
        "<details class=card><summary>The figures of the charts as a table</summary>\
         <div class=scroll tabindex=0 role=region aria-label=\"Figures of the charts\"><table>\
         <thead><tr><th scope=col>{}<th scope=col>Downloads<th scope=col>Requests\
         <th scope=col>Hit rate by requests<th scope=col>Hit rate by bytes\
         <th scope=col>From the cache<th scope=col>From origin<tbody>",
        unit.name()
    );
    for bucket in history.buckets.iter().rev() {
        let mut label = bucket.label();
        if unit == Unit::Day {
            let day = PageQuery { day: Some(bucket.start), ..without_search(query) };
            label = format!("<a href=\"{}#keys\">{label}</a>", escaped(&day.href()));
        }
        let counts = &bucket.counts;
        let _ = write!(
            html,
            "<tr><th scope=row>{label}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}",
            count(counts.downloads),
            count(counts.requests),
            percent(counts.hit_requests, counts.requests),
            percent(counts.bytes_hit, counts.bytes_hit + counts.bytes_miss),
            bytes(counts.bytes_hit),
            bytes(counts.bytes_miss)
        );
    }
    html + "</table></div></details>"
}

fn without_search(query: &PageQuery) -> PageQuery {
    PageQuery { day: None, search: String::new(), from: 0, ..query.clone() }
}

/// The list of keys with its search.
pub(super) fn keys(query: &PageQuery, keys: &Keys) -> String {
    let (title, rows, note) = match keys {
        Keys::Top { summary, is_today } => {
            let keys = count(summary.total.keys);
            let day = summary.day.in_words(true);
            let title = if *is_today { "Top keys today" } else { "Top keys" };
            let note = match (summary.top.len(), *is_today) {
                (0, _) => format!("No object was requested on {day} (UTC)."),
                (n, _) => format!("{n} of {keys} keys with requests on {day} (UTC)."),
            };
            (title, &summary.top[..], note)
        }
        Keys::Search(found) => {
            let matches = count(found.matches as u64);
            let shown = found.top.len();
            let mut note = format!("{matches} keys of today contain this text.");
            if shown < found.matches {
                let _ = write!(note, " The {shown} with the most downloads are shown.");
            }
            if let Some(next) = found.next {
                let next = PageQuery { from: next, ..query.clone() };
                let _ = write!(
                    note,
                    " The search visited the keys up to number {}. <a href=\"{}#keys\">Search the \
                     next keys</a>",
                    count(next.from as u64),
                    escaped(&next.href())
                );
            }
            ("Search", &found.top[..], note)
        }
        Keys::NoSuchDay => ("Top keys", &[][..], "No figures are kept for this day.".to_owned()),
    };
    let today = match (query.day, query.search.is_empty()) {
        (None, true) => String::new(),
        _ => format!(
            " <a href=\"{}#keys\">Top keys today</a>",
            escaped(&without_search(query).href())
        ),
    };
    format!(
        "<section id=keys><h2>{title}</h2>{}<p>{note}{today}</p>{}</section>",
        search_form(query),
        key_table(rows)
    )
}

fn search_form(query: &PageQuery) -> String {
    let mut hidden = String::new();
    for (name, value) in without_search(query).parameters() {
        let value = escaped(&value);
        let _ = write!(hidden, "<input type=hidden name={name} value=\"{value}\">");
    }
    let text = escaped(&query.search);
    format!(
        "<form method=get action=\"#keys\" role=search><label for=q>Search the keys of today</label>\
         <input id=q name=q type=search maxlength=1024 value=\"{text}\" \
         placeholder=\"part of a key\" autocomplete=off spellcheck=false>{hidden}\
         <button>Search</button></form>"
    )
}

/// Formats rows as a table. The roles are explicit because the rows are displayed as blocks on a
/// phone, and some browsers then do not expose them as a table.
fn key_table(rows: &[TopKey]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let most = rows.iter().map(|row| row.counts.downloads).max().unwrap_or(0);
    let mut html = "<table class=keys role=table><thead role=rowgroup><tr role=row>".to_owned();
    for name in ["Key", "Downloads", "Requests", "Hit rate", "From the cache", "From origin"] {
        let _ = write!(html, "<th role=columnheader scope=col>{name}");
    }
    html.push_str("<tbody role=rowgroup>");
    for TopKey { key, counts } in rows {
        let width = 100.0 * share(counts.downloads, most);
        let _ = write!(
            html,
            "<tr role=row><th role=rowheader scope=row>{}<svg class=bar aria-hidden=true \
             viewBox=\"0 0 100 1\" preserveAspectRatio=none><rect width={width:.1} height=1 />\
             </svg>{}",
            shown(key.as_str()),
            key_cells(counts)
        );
    }
    html + "</table>"
}

fn key_cells(counts: &Counts) -> String {
    let cells = [
        ("Downloads", count(counts.downloads)),
        ("Requests", count(counts.requests)),
        ("Hit rate", percent(counts.hit_requests, counts.requests)),
        ("From the cache", bytes(counts.bytes_hit)),
        ("From origin", bytes(counts.bytes_miss)),
    ];
    let cell = |(name, value)| format!("<td role=cell data-name=\"{name}\">{value}");
    cells.into_iter().map(cell).collect()
}

/// The content of the cache, and its figures since the start.
pub(super) fn cache(view: &View<'_>) -> String {
    let used = view.metric("bytes");
    let share = format!("{:.1}", 100.0 * share(used, view.max_size).min(1.0));
    let number = |name| count(view.metric(name));
    let size = |name| bytes(view.metric(name));
    let figures = [
        ("Objects", number("objects"), "Objects in the cache."),
        (
            "Memory",
            size("memory_bytes"),
            "Small objects and metadata that are kept in memory as well.",
        ),
        ("Running fetches", number("in_flight"), "Objects that are arriving from origin now."),
        (
            "Fetched from origin",
            size("origin_bytes_total"),
            "Bytes that the cache received from origin since the start, also for fetches that no \
             client waited for.",
        ),
        (
            "Failed fetches",
            number("origin_failures_total"),
            "Fetches that origin refused or broke off since the start.",
        ),
        (
            "Evicted objects",
            number("evicted_total"),
            "Objects that were removed since the start to make room. If this grows fast, a larger \
             <code>max_size</code> raises the hit rate.",
        ),
        (
            "Corrupt objects",
            number("corrupt_total"),
            "Objects whose bytes on the disk had changed. They were fetched again.",
        ),
        (
            "Lost log lines",
            count(view.lost),
            "Requests that are missing in the access log because its file was slow or could not be written.",
        ),
    ];
    let mut html = format!(
        "<section><h2>The cache now</h2><div class=card><p class=usage><strong>{}</strong> of {} \
         used <span>{share} %</span></p><svg class=bar role=img aria-label=\"{share} % of the \
         cache is used\" viewBox=\"0 0 100 1\" preserveAspectRatio=none>\
         <rect width={share} height=1 /></svg><dl class=figures>",
        bytes(used),
        bytes(view.max_size)
    );
    for (name, value, help) in figures {
        let _ = write!(
            html,
            "<div><dt>{name}</dt><dd class=value>{value}</dd><dd class=help>{help}</dd></div>"
        );
    }
    html + "</dl></div></section>"
}

/// Requests and bytes by outcome.
pub(super) fn outcomes(view: &View<'_>) -> String {
    let mut html = "<section><h2>Responses since the start</h2><table><thead><tr>\
        <th scope=col>Outcome<th scope=col>Requests<th scope=col>Sent<tbody>"
        .to_owned();
    for (outcome, requests, sent) in &view.outcomes {
        let _ = write!(
            html,
            "<tr><th scope=row>{}<small>{}</small><td>{}<td>{}",
            outcome.name(),
            meaning(*outcome),
            count(*requests),
            bytes(*sent)
        );
    }
    html + "</table></section>"
}

fn meaning(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Hit => "The cache had the object, and it was fresh.",
        Outcome::Stale => {
            "The cache had an expired object, and served it while origin was slow or failed, or while it was fetched again."
        }
        Outcome::Revalidated => "The cache had an expired object, and origin confirmed it.",
        Outcome::Miss => {
            "The object was fetched from origin, and the client received it meanwhile."
        }
        Outcome::Collapsed => "The client shared the fetch of an earlier request.",
        Outcome::Passed => {
            "The object came from origin and is not cached: it is too large, or origin forbids it."
        }
        Outcome::Missing => "Origin has no such object.",
        Outcome::Failed => "Origin failed, and the cache had nothing to serve.",
    }
}
