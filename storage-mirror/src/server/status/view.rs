//! [`View`]: the figures of the page. Collecting them costs the same for ten keys and for a million,
//! except for a search, which has a limit.

use std::sync::Arc;

use super::super::analytics::{Analytics, Counts, DaySummary, SearchResult};
use super::super::metrics::{Metric, metrics};
use super::super::price::Price;
use super::super::record::Outcome;
use super::super::records::Records;
use super::periods::History;
use super::query::PageQuery;
use crate::engine::Engine;

/// The sources of the figures. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Mirror {
    pub(super) engine: Engine,
    pub(super) records: Arc<Records>,
    pub(super) max_size: u64,
    pub(super) price: Option<Price>,
}

/// Everything that the page shows.
pub(super) struct View<'a> {
    pub(super) query: &'a PageQuery,
    pub(super) price: Option<&'a Price>,
    /// The driver of origin.
    pub(super) driver: String,
    pub(super) location: String,
    pub(super) uptime: u64,
    pub(super) max_size: u64,
    pub(super) lost: u64,
    pub(super) metrics: Vec<Metric>,
    /// Requests and bytes by outcome, since the start.
    pub(super) outcomes: Vec<(Outcome, u64, u64)>,
    /// `None` if the analytics are disabled.
    pub(super) analytics: Option<AnalyticsView>,
}

/// What the page shows of the analytics.
pub(super) struct AnalyticsView {
    pub(super) history: History,
    /// The number of kept days that are not in the history yet.
    pub(super) unread: usize,
    pub(super) keys: Keys,
}

/// The list of keys.
pub(super) enum Keys {
    /// The top keys of a day.
    Top { summary: DaySummary, is_today: bool },
    /// The result of a search, in the keys of the current day.
    Search(SearchResult),
    /// The selected day has no summary.
    NoSuchDay,
}

impl<'a> View<'a> {
    pub(super) fn new(mirror: &'a Mirror, query: &'a PageQuery) -> Self {
        let (engine, records) = (&mirror.engine, &mirror.records);
        let origin = engine.origin().info();
        Self {
            query,
            price: mirror.price.as_ref(),
            driver: origin.name.clone().into_owned(),
            location: origin.location.clone(),
            uptime: records.started.elapsed().as_secs(),
            max_size: mirror.max_size,
            lost: records.lost(),
            metrics: metrics(engine, &records.requests),
            outcomes: all_outcomes(records),
            analytics: records.analytics.as_deref().map(|found| AnalyticsView::new(found, query)),
        }
    }

    /// Returns the sums of the selected period, or since the start if there are no analytics.
    pub(super) fn sum(&self) -> Counts {
        match &self.analytics {
            Some(analytics) => analytics.history.sum,
            None => since_start(&self.outcomes),
        }
    }

    /// Returns the current value of a metric.
    pub(super) fn metric(&self, name: &str) -> u64 {
        self.metrics.iter().find(|metric| metric.name == name).map_or(0, |metric| metric.value)
    }
}

impl AnalyticsView {
    fn new(analytics: &Analytics, query: &PageQuery) -> Self {
        let totals = analytics.day_totals();
        let keys = match query.day.filter(|day| *day != totals.today) {
            _ if !query.search.is_empty() => {
                Keys::Search(analytics.search(&query.search, query.from))
            }
            None => Keys::Top { summary: analytics.summarize_today(), is_today: true },
            Some(day) => match analytics.summary(day) {
                Some(summary) => Keys::Top { summary, is_today: false },
                None => Keys::NoSuchDay,
            },
        };
        Self { history: History::new(&totals, query.period), unread: totals.unread, keys }
    }
}

/// Returns the sums of the outcomes that send an object.
pub(super) fn since_start(outcomes: &[(Outcome, u64, u64)]) -> Counts {
    let mut sum = Counts::default();
    for (outcome, requests, bytes) in outcomes {
        match outcome {
            Outcome::Missing | Outcome::Failed => {}
            outcome if outcome.is_hit() => {
                sum.requests += requests;
                sum.hit_requests += requests;
                sum.bytes_hit += bytes;
            }
            _ => {
                sum.requests += requests;
                sum.bytes_miss += bytes;
            }
        }
    }
    sum
}

/// Returns requests and bytes of each outcome, since the start.
pub(super) fn all_outcomes(records: &Records) -> Vec<(Outcome, u64, u64)> {
    let outcome = |outcome| {
        let (requests, bytes) = records.totals(outcome);
        (outcome, requests, bytes)
    };
    Outcome::ALL.map(outcome).into()
}
