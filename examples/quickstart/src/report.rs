//! What the quickstart prints: a title for each storage, then three columns: the step, what it was
//! about, what came of it.

/// Prints as it goes, so that a failure shows what came before it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    step: &'static str,
}

impl Report {
    /// Begins a storage.
    pub(crate) fn title(&mut self, name: &str, location: &str) {
        self.step = "";
        println!("{name} at {location}");
    }

    /// Tells what came of a step; the step's name stands before its first line only.
    pub(crate) fn row(&mut self, step: &'static str, subject: &str, outcome: impl AsRef<str>) {
        let shown = if step == self.step { "" } else { step };
        self.step = step;
        println!("  {shown:<7} {subject:<20} {}", outcome.as_ref());
    }

    /// Ends a storage.
    pub(crate) fn gap(&self) {
        println!();
    }

    /// Says the last word.
    pub(crate) fn end(&self, word: &str) {
        println!("{word}");
    }
}
