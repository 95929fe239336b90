//! [`Users`]: a stand-in for a table of a database, with the avatar in a column of JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::Avatar;

/// Users by id, each with the JSON of the avatar. Clones share the users.
#[derive(Debug, Clone, Default)]
pub struct Users {
    avatars: Arc<Mutex<BTreeMap<u64, Option<String>>>>,
}

/// There is no user with this id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownUser;

impl Users {
    /// Creates users without avatars.
    pub fn with_ids(ids: impl IntoIterator<Item = u64>) -> Self {
        let users = ids.into_iter().map(|id| (id, None)).collect();
        Self { avatars: Arc::new(Mutex::new(users)) }
    }

    /// Deletes a user.
    pub fn delete(&self, id: u64) {
        self.avatars.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Returns the avatar of a user.
    ///
    /// # Errors
    /// There is no such user.
    pub async fn avatar(&self, id: u64) -> Result<Option<Avatar>, UnknownUser> {
        let avatars = self.avatars.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(parse(avatars.get(&id).ok_or(UnknownUser)?.as_deref()))
    }

    /// Returns the users with an avatar, in the order of their ids.
    pub async fn avatars(&self) -> Vec<(u64, Avatar)> {
        let avatars = self.avatars.lock().unwrap_or_else(PoisonError::into_inner);
        let parsed = |(id, column): (&u64, &Option<String>)| Some((*id, parse(column.as_deref())?));
        avatars.iter().filter_map(parsed).collect()
    }

    /// Replaces the avatar of a user and returns the old one, in one transaction, so that two
    /// concurrent requests do not return the same old avatar.
    ///
    /// # Errors
    /// There is no such user.
    pub async fn set_avatar(
        &self,
        id: u64,
        avatar: Option<&Avatar>,
    ) -> Result<Option<Avatar>, UnknownUser> {
        let column = avatar.and_then(|avatar| serde_json::to_string(avatar).ok());
        let mut avatars = self.avatars.lock().unwrap_or_else(PoisonError::into_inner);
        let before = avatars.get_mut(&id).ok_or(UnknownUser)?;
        Ok(parse(std::mem::replace(before, column).as_deref()))
    }
}

fn parse(column: Option<&str>) -> Option<Avatar> {
    column.and_then(|json| serde_json::from_str(json).ok())
}

impl fmt::Display for UnknownUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no such user")
    }
}

impl std::error::Error for UnknownUser {}
