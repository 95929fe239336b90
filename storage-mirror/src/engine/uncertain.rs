//! [`UncertainKeys`]: keys whose state at origin is uncertain, because a write of them failed or was
//! dropped, and origin may still carry it out.

use std::collections::HashMap;
use std::time::Duration;

use storage_core::Key;
use tokio::time::Instant;

/// How long a key is uncertain. Exceeds the time that origin takes to carry out a request.
const LIFETIME: Duration = Duration::from_secs(60);
/// The maximum number of recorded keys. If there are more, all keys are uncertain, so that no key
/// is dropped early.
const MAX_KEYS: usize = 10_000;

/// Keys that are uncertain for a minute.
#[derive(Debug, Default)]
pub(super) struct UncertainKeys {
    until: HashMap<Key, Instant>,
    /// Until when all keys are uncertain.
    all_until: Option<Instant>,
}

impl UncertainKeys {
    pub(super) fn insert(&mut self, key: &Key) {
        let now = Instant::now();
        if self.until.len() >= MAX_KEYS && !self.until.contains_key(key) {
            self.until.retain(|_, until| now < *until);
            if self.until.len() >= MAX_KEYS {
                self.insert_all();
            }
        }
        self.until.insert(key.clone(), now + LIFETIME);
    }

    pub(super) fn insert_all(&mut self) {
        self.until.clear();
        self.all_until = Some(Instant::now() + LIFETIME);
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        let now = Instant::now();
        self.all_until.is_some_and(|until| now < until)
            || self.until.get(key).is_some_and(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        Key::new(format!("k/{number}")).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_uncertain_for_a_minute() {
        let mut uncertain = UncertainKeys::default();
        uncertain.insert(&key(1));
        tokio::time::advance(LIFETIME - Duration::from_secs(1)).await;
        assert!(uncertain.contains(&key(1)) && !uncertain.contains(&key(2)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!uncertain.contains(&key(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn any_number_of_keys_stay_uncertain_for_a_minute() {
        let mut uncertain = UncertainKeys::default();
        let count = 3 * MAX_KEYS + 1;
        for number in 0..count {
            uncertain.insert(&key(number));
            assert!(uncertain.until.len() <= MAX_KEYS);
        }
        assert!((0..count).all(|number| uncertain.contains(&key(number))));
        tokio::time::advance(LIFETIME).await;
        assert!((0..count).all(|number| !uncertain.contains(&key(number))));
        // Keys that are no longer uncertain make room.
        uncertain.insert(&key(0));
        assert!(uncertain.contains(&key(0)) && !uncertain.contains(&key(1)));
    }
}
