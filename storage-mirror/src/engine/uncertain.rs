//! [`UncertainKeys`]: keys whose state at origin is uncertain, because a write of them failed or was
//! dropped, and origin may still carry it out.

use std::collections::HashMap;
use std::time::Duration;

use storage_core::Key;
use tokio::time::Instant;

/// How long a key is uncertain: longer than origin works on a request.
const LIFETIME: Duration = Duration::from_secs(60);
/// How many keys are remembered. If there are more, all keys are uncertain, so that no key is
/// forgotten before its time.
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
    async fn no_key_is_forgotten_before_its_time_however_many_there_are() {
        let mut uncertain = UncertainKeys::default();
        let count = 3 * MAX_KEYS + 1;
        for number in 0..count {
            uncertain.insert(&key(number));
            assert!(uncertain.until.len() <= MAX_KEYS);
        }
        assert!((0..count).all(|number| uncertain.contains(&key(number))));
        tokio::time::advance(LIFETIME).await;
        assert!((0..count).all(|number| !uncertain.contains(&key(number))));
        // The keys whose time is over make room.
        uncertain.insert(&key(0));
        assert!(uncertain.contains(&key(0)) && !uncertain.contains(&key(1)));
    }
}
