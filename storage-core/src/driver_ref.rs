//! [`DriverRef`]: typed access to the driver below all layers.

use std::any::{self, Any};
use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use crate::driver::Driver;
use crate::error::{Error, ErrorKind, Result};
use crate::key::{IntoKey, IntoPrefix, Key, Prefix};

/// The driver below all layers of a storage, and the prefix that the layers put before every key.
///
/// [`Storage::driver_as`](crate::Storage::driver_as) returns one with the type of the driver. It
/// dereferences to that type, so its methods can be called directly. They bypass every layer: no
/// prefix, timeout, retry, limit or span applies. Convert keys and prefixes with [`key`](Self::key)
/// and [`prefix`](Self::prefix) before passing them to the driver.
///
/// [`Driver::innermost`] returns one without the type.
pub struct DriverRef<'a, T: ?Sized = dyn Any + Send + Sync> {
    driver: &'a T,
    name: Cow<'static, str>,
    /// Empty, or ends in a slash.
    prefix: String,
}

impl<'a> DriverRef<'a> {
    /// Creates a reference to a driver, with no prefix.
    #[must_use]
    pub fn new<D: Driver>(driver: &'a D) -> Self {
        Self { driver, name: driver.info().name, prefix: String::new() }
    }

    /// Adds the prefix that a layer adds to every key.
    ///
    /// Each layer adds its own to what the driver that it wraps returns. A layer that changes keys
    /// in another way returns an error from [`Driver::innermost`].
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        self.prefix.push_str(prefix);
        self
    }

    /// Converts to a reference to the driver's own type.
    pub(crate) fn downcast<T: Driver>(self) -> Result<DriverRef<'a, T>> {
        let Self { driver, name, prefix } = self;
        match driver.downcast_ref() {
            Some(driver) => Ok(DriverRef { driver, name, prefix }),
            None => Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the driver of this storage is {name:?}, which is not of the type {}",
                    any::type_name::<T>()
                ),
            )
            .with_driver(name)),
        }
    }
}

impl<'a, T: ?Sized> DriverRef<'a, T> {
    /// Returns the driver.
    #[must_use]
    pub fn driver(&self) -> &'a T {
        self.driver
    }

    /// Converts a key of the storage to the key under which the driver has the object.
    ///
    /// # Errors
    /// `InvalidKey` if the text is not a valid key, or if it is too long with the prefix.
    pub fn key(&self, key: impl IntoKey) -> Result<Key> {
        let key = key.into_key()?;
        Key::new(format!("{}{key}", self.prefix))
            .map_err(|error| error.map_key(|_| key.to_string()))
    }

    /// Converts a prefix of the storage's keys to the prefix that those keys have at the driver.
    /// `""` stands for all keys of the storage.
    ///
    /// # Errors
    /// `InvalidKey` if the text cannot be the beginning of a key, or if it is too long with the
    /// prefix.
    pub fn prefix(&self, prefix: impl IntoPrefix) -> Result<Prefix> {
        let prefix = prefix.into_prefix()?;
        Prefix::new(format!("{}{prefix}", self.prefix))
            .map_err(|error| error.map_key(|_| prefix.to_string()))
    }
}

impl<T: ?Sized> Deref for DriverRef<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.driver
    }
}

impl<T: ?Sized> Clone for DriverRef<'_, T> {
    fn clone(&self) -> Self {
        Self { driver: self.driver, name: self.name.clone(), prefix: self.prefix.clone() }
    }
}

impl<T: ?Sized> fmt::Debug for DriverRef<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverRef")
            .field("driver", &self.name)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
