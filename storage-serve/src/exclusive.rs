//! [`Exclusive`]: a value that is used only through `&mut`.

use std::sync::{Mutex, PoisonError};

/// A value that is used only through `&mut`, and is therefore `Sync` even if its type is not.
///
/// The mutex is never locked.
pub(crate) struct Exclusive<T>(Mutex<T>);

impl<T> Exclusive<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}
