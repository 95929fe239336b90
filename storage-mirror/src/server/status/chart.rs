//! Charts as SVG. The text of the axes is HTML around the drawing, so that the drawing can stretch
//! to any width and the text keeps its size.

use std::fmt::Write;

use super::format;
use super::html::escaped;
use super::periods::{Bucket, History};

/// The height of a drawing in its own units. Its width is one unit for each bucket.
const HEIGHT: f64 = 100.0;

/// A chart of one figure or two.
pub(super) struct Chart<'a> {
    pub(super) title: &'static str,
    pub(super) help: &'static str,
    /// The names of the figures. The first has the colour of the cache, the second that of origin.
    pub(super) legend: &'static [&'static str],
    pub(super) history: &'a History,
}

impl Chart<'_> {
    /// Draws a bar for each bucket, with the first figure at the bottom and the second above it.
    pub(super) fn bars(
        &self,
        values: impl Fn(&Bucket) -> Vec<u64>,
        format: impl Fn(u64) -> String,
    ) -> String {
        let rows: Vec<_> = self.history.buckets.iter().map(&values).collect();
        let max = nice_maximum(rows.iter().map(|row| row.iter().sum()).max().unwrap_or(0));
        let mut drawing = String::new();
        for (at, (bucket, row)) in self.history.buckets.iter().zip(&rows).enumerate() {
            let texts = row.iter().map(|value| format(*value)).collect();
            self.open_bucket(&mut drawing, at, bucket, texts);
            let mut top = HEIGHT;
            for (value, class) in row.iter().zip(["a", "b"]).filter(|(value, _)| **value > 0) {
                let height = HEIGHT * format::share(*value, max);
                top -= height;
                // Writing to a string does not fail.
                let _ = write!(
                    drawing,
                    "<rect class={class} x={at}.12 y={top:.2} width=.76 height={height:.2} />"
                );
            }
            drawing.push_str("</g>");
        }
        self.figure(&drawing, &[format(max), format(max / 2), format(0)])
    }

    /// Draws a line for each figure, up to 100 %. The scale begins at a round number that no value
    /// is below. A bucket without a value is a gap.
    pub(super) fn shares(&self, values: impl Fn(&Bucket) -> Vec<(u64, u64)>) -> String {
        let rows: Vec<_> = self.history.buckets.iter().map(&values).collect();
        let share = |(part, all): &(u64, u64)| (*all > 0).then(|| format::share(*part, *all));
        let lowest = rows.iter().flatten().filter_map(share).fold(1.0, f64::min);
        let floor = nice_minimum(lowest);
        let mut drawing = String::new();
        for (figure, class) in (0..self.legend.len()).zip(["a", "b"]) {
            let shares: Vec<_> = rows.iter().map(|row| row.get(figure).and_then(share)).collect();
            let _ = write!(drawing, "<path class={class} d=\"{}\" />", path(&shares, floor));
        }
        for (at, (bucket, row)) in self.history.buckets.iter().zip(&rows).enumerate() {
            let texts = row.iter().map(|(part, all)| format::percent(*part, *all)).collect();
            self.open_bucket(&mut drawing, at, bucket, texts);
            drawing.push_str("</g>");
        }
        let scale = [1.0, f64::midpoint(1.0, floor), floor];
        self.figure(&drawing, &scale.map(|share| format!("{} %", 100.0 * share)))
    }

    /// Opens the group of a bucket, with its text and an area over its full height that shows it.
    fn open_bucket(&self, drawing: &mut String, at: usize, bucket: &Bucket, texts: Vec<String>) {
        let texts = self.legend.iter().zip(texts).map(|(name, text)| format!("{name}: {text}"));
        let texts = texts.collect::<Vec<_>>().join(", ");
        let title = escaped(&format!("{}. {texts}", bucket.label()));
        let _ = write!(
            drawing,
            "<g><title>{title}</title><rect class=hover x={at} y=0 width=1 height={HEIGHT} />"
        );
    }

    fn figure(&self, drawing: &str, scale: &[String; 3]) -> String {
        let (title, help, width) = (self.title, self.help, self.history.buckets.len());
        let [high, middle, low] = scale;
        let legend = self.legend.iter().zip(["a", "b"]);
        let legend: String =
            legend.map(|(name, class)| format!("<span class={class}>{name}</span>")).collect();
        let first = self.history.buckets.first().map(Bucket::label).unwrap_or_default();
        let last = if width > 1 { self.history.buckets.last() } else { None };
        let last = last.map(Bucket::label).unwrap_or_default();
        format!(
            "<figure class=card><figcaption><h3>{title}</h3><p>{help}</p></figcaption>\
             <div class=legend>{legend}</div>\
             <div class=plot><div class=scale aria-hidden=true><span>{high}</span>\
             <span>{middle}</span><span>{low}</span></div>\
             <svg role=img aria-label=\"{title}. The figures are in the table below.\" \
             viewBox=\"0 0 {width} {HEIGHT}\" preserveAspectRatio=none>\
             <title>{title}</title>\
             <path class=grid d=\"M0 0H{width}M0 50H{width}M0 100H{width}\" />{drawing}</svg>\
             <div class=dates aria-hidden=true><span>{first}</span><span>{last}</span></div>\
             </div></figure>"
        )
    }
}

/// Returns the line through shares, in the units of the drawing, whose lower end is `floor`.
fn path(shares: &[Option<f64>], floor: f64) -> String {
    let (mut path, mut is_drawing) = (String::new(), false);
    for (at, share) in shares.iter().enumerate() {
        match share {
            Some(share) => {
                let y = HEIGHT * (1.0 - share) / (1.0 - floor);
                let command = if is_drawing { 'L' } else { 'M' };
                let _ = write!(path, "{command}{at}.5 {y:.2}");
                if !is_drawing {
                    // A line without length is shown as a dot, if no other point follows.
                    path.push_str("h0");
                }
                is_drawing = true;
            }
            None => is_drawing = false,
        }
    }
    path
}

/// Returns the largest of some round shares that `lowest` is not below.
fn nice_minimum(lowest: f64) -> f64 {
    [0.9, 0.8, 0.5].into_iter().find(|nice| *nice <= lowest).unwrap_or(0.0)
}

/// Returns the next number of the form 2, 4, 6, 8, 10, 20, 40, ... that a bar does not exceed, so
/// that half of it is also a round number.
fn nice_maximum(max: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        for step in [2, 4, 6, 8, 10] {
            match power.checked_mul(step) {
                Some(nice) if nice >= max => return nice,
                Some(_) => {}
                None => return max,
            }
        }
        match power.checked_mul(10) {
            Some(next) => power = next,
            None => return max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_scale_is_a_round_number_that_no_bar_exceeds() {
        let cases = [(0, 2), (3, 4), (8, 8), (9, 10), (61, 80), (84_000, 100_000), (101, 200)];
        for (max, nice) in cases {
            assert_eq!(nice_maximum(max), nice);
        }
        assert_eq!(nice_maximum(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_line_has_a_gap_where_there_is_no_value() {
        let shares = [Some(1.0), Some(0.0), None, Some(0.5)];
        assert_eq!(path(&shares, 0.0), "M0.5 0.00h0L1.5 100.00M3.5 50.00h0");
    }

    #[test]
    fn the_scale_of_a_line_begins_below_its_lowest_value() {
        let cases = [(1.0, 0.9), (0.9, 0.9), (0.85, 0.8), (0.6, 0.5), (0.49, 0.0), (0.0, 0.0)];
        for (lowest, floor) in cases {
            assert_eq!(nice_minimum(lowest), floor);
        }
        assert_eq!(path(&[Some(0.9), Some(0.95)], 0.9), "M0.5 100.00h0L1.5 50.00");
    }
}
