//! The output of the quickstart: a title for each storage, and a table of step, subject and result.

/// Prints each row at once, so that the rows before a failure are visible.
#[derive(Debug, Default)]
pub(crate) struct Report {
    step: &'static str,
}

impl Report {
    /// Prints the title of a storage.
    pub(crate) fn title(&mut self, name: &str, location: &str) {
        self.step = "";
        println!("{name} at {location}");
    }

    /// Prints the result of a step. The name of the step is in its first row only.
    pub(crate) fn row(&mut self, step: &'static str, subject: &str, outcome: impl AsRef<str>) {
        let shown = if step == self.step { "" } else { step };
        self.step = step;
        println!("  {shown:<7} {subject:<20} {}", outcome.as_ref());
    }

    /// Prints the empty line after a storage.
    pub(crate) fn end_storage(&self) {
        println!();
    }

    /// Prints the last line.
    pub(crate) fn end(&self, text: &str) {
        println!("{text}");
    }
}
