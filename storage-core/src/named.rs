//! [`Named`]: a few values by their names.

/// A few values by their names, in the order of the names.
///
/// A list, because the code of a `BTreeMap` is compiled for each type of value, in the build of
/// every application.
#[derive(Debug, Clone)]
pub(crate) struct Named<T>(Vec<(String, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Named<T> {
    /// Adds a value, or replaces the one of that name.
    pub(crate) fn insert(&mut self, name: String, value: T) {
        match self.position(&name) {
            Ok(position) => self.0[position].1 = value,
            Err(position) => self.0.insert(position, (name, value)),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        self.get_key_value(name).map(|(_, value)| value)
    }

    pub(crate) fn get_key_value(&self, name: &str) -> Option<(&str, &T)> {
        let (name, value) = &self.0[self.position(name).ok()?];
        Some((name, value))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, value)| value)
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.as_str().cmp(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_the_order_of_their_names_and_can_be_replaced() {
        let mut named = Named::default();
        for (name, value) in [("b", 1), ("a", 2), ("c", 3), ("b", 4)] {
            named.insert(name.to_owned(), value);
        }
        assert_eq!(named.names().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(named.values().collect::<Vec<_>>(), [&2, &4, &3]);
        assert_eq!((named.get("b"), named.get("d")), (Some(&4), None));
    }
}
