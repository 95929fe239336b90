//! [`KeyEvent`]: what happened to one key. [`Activity`]: which keys are under way. [`Remaining`]:
//! how much is left.

use std::sync::Arc;

use storage_core::Error;

/// What a transfer did with one key, or found out about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Both sides have the same object, or the options leave that of the destination as it is.
    Same,
    /// The destination lacked the object, which was copied.
    New,
    /// The objects differed, and that of the destination was replaced.
    Changed,
    /// The source lacks the object. A sync with deletions has deleted it, unless there is an error:
    /// then it kept all extras.
    Extra,
    /// The key failed.
    Failed,
    /// It is unknown whether the objects are the same, or the object of the source was deleted
    /// since it was listed.
    Unknown,
}

impl Outcome {
    /// Returns the character that stands for the outcome in reports: `= + * - ! ?`.
    #[must_use]
    pub fn symbol(self) -> char {
        match self {
            Self::Same => '=',
            Self::New => '+',
            Self::Changed => '*',
            Self::Extra => '-',
            Self::Failed => '!',
            Self::Unknown => '?',
        }
    }
}

/// What happened to one key.
#[derive(Debug)]
#[non_exhaustive]
pub struct KeyEvent<'a> {
    /// The key, relative to the directories of both sides. Ends in `/` if it stands for everything
    /// below a directory that could not be read.
    pub key: &'a str,
    /// What happened.
    pub outcome: Outcome,
    /// The size of the object in bytes, if it is known.
    pub size: Option<u64>,
    /// Why the key failed or is unknown, why an extra was kept, and why metadata was dropped.
    pub error: Option<&'a Error>,
}

/// A function that receives what happened to each key, in no order.
pub type OnEvent = Arc<dyn Fn(&KeyEvent<'_>) + Send + Sync>;

/// The work on one key begins, or has ended: its contents are compared, or its object is copied.
/// The name is relative to the directories of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activity<'a> {
    /// The work on this key begins.
    Begun(&'a str),
    /// The work on this key has ended, whatever its outcome, or was dropped.
    Ended(&'a str),
}

/// A function that receives which keys are under way. Each begin is followed by one end.
pub type OnActivity = Arc<dyn Fn(Activity<'_>) + Send + Sync>;

/// A key that is under way until this is dropped.
pub(crate) struct UnderWay {
    on_activity: OnActivity,
    name: String,
}

impl UnderWay {
    /// Reports that the work on a key begins. Returns `None` if no function receives that.
    pub(crate) fn begin(on_activity: Option<&OnActivity>, name: &str) -> Option<Self> {
        let on_activity = Arc::clone(on_activity?);
        on_activity(Activity::Begun(name));
        Some(Self { on_activity, name: name.to_owned() })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        (self.on_activity)(Activity::Ended(&self.name));
    }
}

/// What remains to be copied after both listings have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remaining {
    /// Objects that wait, or whose copies are under way.
    pub objects: u64,
    /// The bytes of these objects.
    pub bytes: u64,
}

/// A function that receives what remains.
pub type OnRemaining = Arc<dyn Fn(Remaining) + Send + Sync>;
