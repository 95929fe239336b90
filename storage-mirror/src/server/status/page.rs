//! The page: its frame, its head, and the most important figures.

use std::fmt::Write;

use super::chart::Chart;
use super::format::{bytes, count, money, percent, price_per_gb, span};
use super::html::{escaped, shown};
use super::periods::History;
use super::query::{PageQuery, Period};
use super::sections;
use super::view::View;

pub(super) const STYLE: &str = include_str!("page.css");

/// The icon of the page: two layers. Without it, browsers request `/favicon.ico` from origin.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http:%2F%2Fwww.w3.org/2000/svg' \
    viewBox='0 0 16 16'%3E%3Cpath fill='%230f766e' d='M1 9h14v5H1z'/%3E%3Cpath fill='%23d97706' \
    d='M1 3h14v4H1z'/%3E%3C/svg%3E";

/// The intervals at which the page can load itself again.
const REFRESH: [(Option<u32>, &str); 4] =
    [(None, "off"), (Some(10), "10 s"), (Some(60), "1 min"), (Some(300), "5 min")];

/// Formats the page.
pub(super) fn page(view: &View<'_>) -> String {
    let mut page = head(view);
    page.push_str("<main>");
    if view.analytics.is_some() {
        page.push_str(&periods(view.query));
    }
    page.push_str(&tiles(view));
    if let Some(analytics) = &view.analytics {
        let history = &analytics.history;
        if analytics.unread > 0 {
            let _ = write!(
                page,
                "<p class=note>{} kept days are still being summed up and are missing here.</p>",
                count(analytics.unread as u64)
            );
        }
        page.push_str(&charts(history));
        page.push_str(&sections::history_table(view.query, history));
        page.push_str(&sections::keys(view.query, &analytics.keys));
    } else {
        page.push_str(
            "<p class=note>The analytics are disabled (<code>analytics_days = 0</code>). The \
             figures count from the start of the mirror, and there is no history.</p>",
        );
    }
    page.push_str(&sections::cache(view));
    page.push_str(&sections::outcomes(view));
    page.push_str(include_str!("glossary.html"));
    page.push_str("</main>");
    page.push_str(&footer(view));
    page
}

fn head(view: &View<'_>) -> String {
    let refresh = view
        .query
        .refresh
        .map_or(String::new(), |seconds| format!("<meta http-equiv=refresh content={seconds}>"));
    let (version, uptime) = (env!("CARGO_PKG_VERSION"), span(view.uptime));
    let title = escaped(&storage_core::internal::escape_invisible(&view.location));
    let (driver, location) = (escaped(&view.driver), shown(&view.location));
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Mirror of {title}</title>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\
         <meta name=color-scheme content=\"light dark\">{refresh}\
         <link rel=icon href=\"{ICON}\"><style>{STYLE}</style>\
         <header><div><p class=kicker>Mirror of</p><h1>{location}</h1>\
         <p class=sub>Driver <code>{driver}</code> · up for {uptime} · anystorage {version}</p>\
         </div>{}</header>",
        refresh_links(view.query)
    )
}

/// Returns links to the page with other parameters. The current one is marked.
fn links(label: &str, links: impl Iterator<Item = (PageQuery, &'static str, bool)>) -> String {
    let mut nav = format!("<nav aria-label=\"{label}\">");
    for (query, name, is_current) in links {
        let current = if is_current { " aria-current=true" } else { "" };
        let _ = write!(nav, "<a href=\"{}\"{current}>{name}</a>", escaped(&query.href()));
    }
    nav + "</nav>"
}

fn refresh_links(query: &PageQuery) -> String {
    let link =
        |(refresh, name)| (PageQuery { refresh, ..query.clone() }, name, query.refresh == refresh);
    let nav = links("Refresh", REFRESH.into_iter().map(link));
    format!("<div class=refresh><span>Refresh</span>{nav}</div>")
}

fn periods(query: &PageQuery) -> String {
    let link =
        |(period, name)| (PageQuery { period, ..query.clone() }, name, query.period == period);
    links("Period", Period::OFFERED.into_iter().map(link))
}

/// The most important figures, each with its meaning.
fn tiles(view: &View<'_>) -> String {
    let sum = view.sum();
    let sent = sum.bytes_hit + sum.bytes_miss;
    let mut tiles = vec![
        (
            "Hit rate by requests",
            percent(sum.hit_requests, sum.requests),
            "The share of requests for objects that the cache served.".to_owned(),
        ),
        (
            "Hit rate by bytes",
            percent(sum.bytes_hit, sent),
            "The share of all sent bytes that came from the cache.".to_owned(),
        ),
        (
            "Traffic saved",
            bytes(sum.bytes_hit),
            "Bytes that clients received from the cache. Without the mirror, origin would have \
             sent them."
                .to_owned(),
        ),
        money_tile(view, sum.bytes_hit),
    ];
    if view.analytics.is_some() {
        tiles.push((
            "Downloads",
            count(sum.downloads),
            "Clients that received an object, counted once for each object and day.".to_owned(),
        ));
    }
    tiles.push((
        "Traffic sent",
        bytes(sent),
        "All bytes that clients received, from the cache and from origin.".to_owned(),
    ));
    let mut html = "<dl class=tiles>".to_owned();
    for (name, value, help) in tiles {
        let _ = write!(
            html,
            "<div class=card><dt>{name}</dt><dd class=value>{value}</dd><dd class=help>{help}</dd>\
             </div>"
        );
    }
    html + "</dl>"
}

fn money_tile(view: &View<'_>, saved: u64) -> (&'static str, String, String) {
    let name = "Money saved";
    match view.price {
        Some(price) => {
            let help = format!(
                "The saved traffic at {} per GB (10⁹ bytes).",
                escaped(&price_per_gb(price))
            );
            (name, escaped(&money(price, saved)), help)
        }
        None => {
            let help = "Set <code>price_per_gb</code> to what origin charges for traffic, as in \
                        <code>price_per_gb = 0.09</code>.";
            (name, "–".to_owned(), help.to_owned())
        }
    }
}

fn charts(history: &History) -> String {
    let traffic = Chart {
        title: "Traffic",
        help: "Bytes that clients received.",
        legend: &["From the cache", "From origin"],
        history,
    };
    let rates = Chart {
        title: "Hit rate",
        help: "The share that the cache served.",
        legend: &["By requests", "By bytes"],
        history,
    };
    let downloads = Chart {
        title: "Downloads",
        help: "Clients that received an object.",
        legend: &["Downloads"],
        history,
    };
    let traffic = traffic.bars(|b| vec![b.counts.bytes_hit, b.counts.bytes_miss], bytes);
    let rates = rates.shares(|b| {
        let sent = b.counts.bytes_hit + b.counts.bytes_miss;
        vec![(b.counts.hit_requests, b.counts.requests), (b.counts.bytes_hit, sent)]
    });
    let downloads = downloads.bars(|b| vec![b.counts.downloads], count);
    let (from, to) = (history.from.in_words(true), history.to.in_words(true));
    let dates = if from == to { to } else { format!("{from} – {to}") };
    format!(
        "<section aria-label=History><h2>History <small>{dates} (UTC)</small></h2>\
         <div class=charts>{traffic}{rates}{downloads}</div></section>"
    )
}

fn footer(view: &View<'_>) -> String {
    let mut files = String::new();
    if let Some(analytics) = &view.analytics {
        let (from, to) = (analytics.history.from, analytics.history.to);
        let _ = write!(
            files,
            "<a href=\"analytics?format=csv&amp;from={from}&amp;to={to}\">Downloads by day and \
             key (CSV)</a><a href=\"analytics?format=jsonl&amp;from={from}&amp;to={to}\">The same \
             as JSON Lines</a>"
        );
    }
    format!(
        "<footer><nav aria-label=Files>{files}<a href=metrics>Metrics (Prometheus)</a>\
         <a href=\"?format=json\">Status (JSON)</a></nav></footer>"
    )
}
