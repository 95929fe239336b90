//! [`Watermark`]: up to which key everything is settled.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The key up to which all keys are settled, although objects are handled several at a time.
///
/// Keys are announced in their order. A key that takes long holds the watermark back; the keys
/// after it are then compared again by a later run, which is cheap and safe.
#[derive(Debug, Default)]
pub(crate) struct Watermark(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The objects under way and those after them, in the order of their keys.
    pending: VecDeque<Pending>,
    /// The number of the first pending object.
    first: u64,
    settled: Option<String>,
}

#[derive(Debug)]
struct Pending {
    name: String,
    is_settled: bool,
}

impl Watermark {
    /// Returns the last key of those up to which all are settled.
    pub(crate) fn get(&self) -> Option<String> {
        self.state().settled.clone()
    }

    /// Notes a key that is settled at once.
    pub(crate) fn pass(&self, name: &str) {
        let mut state = self.state();
        match state.pending.back_mut() {
            None => state.set(name),
            // Only the last of a run of settled keys counts.
            Some(last) if last.is_settled => last.name.replace_range(.., name),
            Some(_) => {
                let pending = Pending { name: name.to_owned(), is_settled: true };
                state.pending.push_back(pending);
            }
        }
    }

    /// Notes an object that is under way. Returns its number.
    pub(crate) fn begin(&self, name: &str) -> u64 {
        let mut state = self.state();
        state.pending.push_back(Pending { name: name.to_owned(), is_settled: false });
        state.first + state.pending.len() as u64 - 1
    }

    /// Notes that the object of this number is settled.
    pub(crate) fn finish(&self, number: u64) {
        let mut state = self.state();
        let index = number.checked_sub(state.first).and_then(|index| usize::try_from(index).ok());
        if let Some(pending) = index.and_then(|index| state.pending.get_mut(index)) {
            pending.is_settled = true;
        }
        while state.pending.front().is_some_and(|pending| pending.is_settled) {
            state.first += 1;
            let settled = state.pending.pop_front();
            state.settled = settled.map(|pending| pending.name);
        }
    }

    // No code panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn set(&mut self, name: &str) {
        match &mut self.settled {
            // Uses the memory of the last name again.
            Some(settled) => settled.replace_range(.., name),
            None => self.settled = Some(name.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_under_way_holds_the_watermark_back() {
        let watermark = Watermark::default();
        assert_eq!(watermark.get(), None);
        watermark.pass("a");
        let b = watermark.begin("b");
        watermark.pass("c");
        watermark.pass("d");
        let e = watermark.begin("e");
        assert_eq!(watermark.get().as_deref(), Some("a"));
        watermark.finish(e);
        assert_eq!(watermark.get().as_deref(), Some("a"));
        watermark.finish(b);
        assert_eq!(watermark.get().as_deref(), Some("e"));
        watermark.pass("f");
        assert_eq!(watermark.get().as_deref(), Some("f"));
    }

    #[test]
    fn objects_settle_in_any_order() {
        let watermark = Watermark::default();
        let numbers: Vec<_> = ["a", "b", "c"].map(|name| watermark.begin(name)).to_vec();
        watermark.finish(numbers[1]);
        assert_eq!(watermark.get(), None);
        watermark.finish(numbers[0]);
        assert_eq!(watermark.get().as_deref(), Some("b"));
        watermark.finish(numbers[2]);
        assert_eq!(watermark.get().as_deref(), Some("c"));
    }
}
