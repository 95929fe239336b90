//! Handles one pair: compares the contents and copies the object.

use std::sync::Arc;
use std::time::Duration;

use storage_core::{ETag, Error, ErrorKind, ObjectEntry, ObjectMeta, Operation, Result, SaveMode};

use crate::compare::{self, Compared, Comparison, Evidence, entry};
use crate::copy::{Copied, copy};
use crate::event::{KeyEvent, Outcome, UnderWay};
use crate::headers::HeaderRule;
use crate::merge::Pair;
use crate::retry::Retry;
use crate::sync::backup::back_up;
use crate::sync::options::Existing;
use crate::sync::shared::{Shared, target_changed};

/// How often a copy begins again because its source was replaced meanwhile.
const MAX_VERSIONS: u32 = 5;

/// The age from which an ETag is strong, if it is ever. That of a file is weak for 2 s after
/// another program has written it.
const WEAK_TIME: Duration = Duration::from_secs(3);
/// The pause between two looks at a weak ETag.
const WEAK_PAUSE: Duration = Duration::from_millis(250);

/// What became of a pair.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) pair: Pair,
    pub(crate) result: Done,
    pub(crate) bytes_sent: u64,
    pub(crate) dropped: Vec<Error>,
}

/// The result for a pair.
#[derive(Debug)]
pub(crate) enum Done {
    Same(Evidence),
    /// The options leave the object of the destination as it is.
    Left,
    New,
    Changed,
    /// The source no longer has the object.
    Vanished,
    /// The destination has an object where the key needs a directory, or the reverse. If that
    /// object is an extra, it may be deleted at the end of the run.
    Blocked(Error),
    Failed(Error),
}

/// What to do with a pair that both sides or the source have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Same(Evidence),
    /// The options leave the object of the destination as it is.
    Left,
    Copy,
    /// The contents must be compared first.
    CompareContents,
    /// The object that the source has now must be looked up first.
    LookUpSource,
    /// The objects differ, and the options forbid that.
    Forbidden,
}

/// Decides by what the listings contain. Sends no request.
pub(crate) fn decide(shared: &Shared, pair: &Pair) -> Decision {
    match decide_by_entries(shared, pair) {
        settled @ (Decision::Same(_) | Decision::Left) => settled,
        _ if shared.is_source_past && pair.target.is_some() => Decision::LookUpSource,
        decided => decided,
    }
}

fn decide_by_entries(shared: &Shared, pair: &Pair) -> Decision {
    let (Some(source), Some(target)) = (&pair.source, &pair.target) else { return Decision::Copy };
    if shared.options.existing == Existing::Ignore {
        return Decision::Left;
    }
    match compare::compare_entries(shared.options.comparison, source, target, shared.are_s3) {
        Compared::Same(evidence) => Decision::Same(evidence),
        Compared::Different(_) => different(shared, pair),
        Compared::Undecided => Decision::CompareContents,
    }
}

/// Returns what happens with objects that differ.
fn different(shared: &Shared, pair: &Pair) -> Decision {
    match shared.options.existing {
        Existing::Update if compare::is_target_newer(pair) => Decision::Left,
        Existing::Immutable => Decision::Forbidden,
        _ => Decision::Copy,
    }
}

/// Returns whether an extra object may be what keeps a key from being saved. A job deletes in
/// another step, so it has no later copy.
fn is_blocked(shared: &Shared, pair: &Pair, error: &Error) -> bool {
    shared.options.delete.is_some()
        && shared.uploads.is_none()
        && pair.target.is_none()
        && error.kind() == ErrorKind::Conflict
        && matches!(error.operation(), Some(Operation::Save | Operation::Copy))
}

/// Handles a pair that needs requests.
pub(crate) async fn settle(shared: Arc<Shared>, pair: Pair, decision: Decision) -> Settled {
    let mut settled = Settled { pair, result: Done::Vanished, bytes_sent: 0, dropped: Vec::new() };
    settled.result = match run(&shared, &mut settled, decision).await {
        Ok(done) => done,
        Err(error) if is_blocked(&shared, &settled.pair, &error) => Done::Blocked(error),
        Err(error) => Done::Failed(error),
    };
    report(&shared, &settled);
    settled
}

async fn run(shared: &Shared, settled: &mut Settled, decision: Decision) -> Result<Done> {
    let _under_way = UnderWay::begin(shared.on_activity.as_ref(), settled.pair.name());
    let decision = match decision {
        Decision::LookUpSource => match look_up_source(shared, &mut settled.pair).await? {
            Some(decision) => decision,
            None => return Ok(Done::Vanished),
        },
        decided => decided,
    };
    let decision = match decision {
        Decision::CompareContents => compare_contents(shared, &settled.pair).await?,
        decided => decided,
    };
    match decision {
        Decision::Same(evidence) => Ok(Done::Same(evidence)),
        Decision::Left => Ok(Done::Left),
        Decision::Forbidden => Err(Error::new(
            ErrorKind::Conflict,
            "the objects differ, and the destination is immutable",
        )),
        _ if shared.options.dry_run => Ok(copied(&settled.pair)),
        _ => transfer(shared, settled).await,
    }
}

fn copied(pair: &Pair) -> Done {
    if pair.target.is_some() { Done::Changed } else { Done::New }
}

/// Decides by the object that the source has now. Returns `None` if it has none.
async fn look_up_source(shared: &Shared, pair: &mut Pair) -> Result<Option<Decision>> {
    let mut retry = Retry::default();
    loop {
        match current(shared, &pair.source).await {
            Ok(None) => return Ok(None),
            Ok(found) => {
                pair.source = found;
                return Ok(Some(decide_by_entries(shared, pair)));
            }
            Err(error) => shared.wait(&mut retry, error).await?,
        }
    }
}

async fn compare_contents(shared: &Shared, pair: &Pair) -> Result<Decision> {
    let (Some(source), Some(target)) = (&pair.source, &pair.target) else {
        return Ok(Decision::Copy);
    };
    let mut retry = Retry::default();
    loop {
        match shared.compare_contents(source, target).await {
            Ok(Some(true)) => return Ok(Decision::Same(Evidence::Checksum)),
            Ok(_) => return Ok(different(shared, pair)),
            // The copy finds out which version there is now.
            Err(error) if compare::is_changed(&error) => return Ok(different(shared, pair)),
            Err(error) => shared.wait(&mut retry, error).await?,
        }
    }
}

/// Copies the object of the source, in the version that it has now.
async fn transfer(shared: &Shared, settled: &mut Settled) -> Result<Done> {
    let (mut retry, mut versions, mut is_conditional) = (Retry::default(), 0, true);
    let mut may_be_saved = false;
    if !back_up(shared, &settled.pair).await? {
        return check_changed_target(shared, settled).await;
    }
    loop {
        let error = match copy_once(shared, &settled.pair, is_conditional).await {
            Ok(done) => {
                settled.bytes_sent = done.bytes;
                settled.dropped = done.dropped;
                // Without an ETag in the listing it may be another version.
                if let Some(source) = &mut settled.pair.source {
                    source.size = done.source.size;
                }
                shared.gate.succeeded();
                return Ok(copied(&settled.pair));
            }
            // The object is there, and is not what was asked for. Another attempt, or a
            // comparison, would take it for the result.
            Err(error) if error.took_effect() => return Err(error),
            Err(error) => error,
        };
        let concerns_source =
            matches!(error.operation(), Some(Operation::Open | Operation::Copy | Operation::Stat));
        match error.kind() {
            ErrorKind::NotFound if concerns_source => return Ok(Done::Vanished),
            // A service that copies names the verb `copy` for its destination, too.
            ErrorKind::AlreadyExists => return check_changed_target(shared, settled).await,
            ErrorKind::PreconditionFailed if concerns_source && versions < MAX_VERSIONS => {
                versions += 1;
                match current(shared, &settled.pair.source).await? {
                    Some(entry) => settled.pair.source = Some(entry),
                    None => return Ok(Done::Vanished),
                }
            }
            ErrorKind::PreconditionFailed if !concerns_source => {
                return check_changed_target(shared, settled).await;
            }
            // Some services evaluate no condition of a large save.
            ErrorKind::Unsupported
                if is_conditional && error.operation() == Some(Operation::Save) =>
            {
                if !is_target_as_listed(shared, &settled.pair).await? {
                    return check_changed_target(shared, settled).await;
                }
                is_conditional = false;
            }
            // Some drivers do not call the error of a conditional save or copy retryable, because
            // it may have happened. The next one then finds its object.
            ErrorKind::Unexpected | ErrorKind::Timeout
                if !error.is_retryable()
                    && matches!(
                        error.operation(),
                        Some(Operation::Save | Operation::CompleteMultipart | Operation::Copy)
                    ) =>
            {
                may_be_saved = true;
                // Another run compares again, so that it finds out.
                retry.wait(error.with_retryable(true)).await?;
            }
            ErrorKind::Conflict if may_be_saved && !error.is_retryable() => {
                return check_changed_target(shared, settled).await;
            }
            _ => shared.wait(&mut retry, error).await?,
        }
    }
}

async fn copy_once(shared: &Shared, pair: &Pair, is_conditional: bool) -> Result<Copied> {
    let Some(source) = &pair.source else { return Err(Error::not_found()) };
    let (name, target) = (pair.name(), shared.target.storage());
    let mode = match is_conditional {
        true => mode(shared, pair.target.as_ref()).await?,
        false => SaveMode::Overwrite,
    };
    shared.requests(2).await;
    let mut copy = copy(shared.source.storage(), &source.key, target, shared.target.key(name)?)
        .mode(mode)
        .listed(source.clone())
        .lost_metadata(shared.options.lost_metadata)
        .server_side(shared.server_side.clone())
        .looks_before_copy();
    let rules = &shared.options.headers;
    if !rules.is_empty() {
        copy = copy.map_metadata(|metadata| HeaderRule::apply(rules, name, metadata));
    }
    if let Some(bandwidth) = &shared.bandwidth {
        copy = copy.bandwidth(bandwidth.clone());
    }
    if let Some(requests) = &shared.requests {
        copy = copy.requests(requests.clone());
    }
    if let Some(on_bytes) = &shared.on_bytes {
        copy = copy.on_bytes(Arc::clone(on_bytes));
    }
    if let Some(uploads) = &shared.uploads {
        copy = copy.resumable(uploads.recorder(name));
        if let Some(unfinished) = uploads.unfinished(name) {
            copy = copy.resume(unfinished);
        }
    }
    let copied = copy.await?;
    if let Some(uploads) = &shared.uploads {
        uploads.finished(name);
    }
    Ok(copied)
}

/// Returns the condition under which the destination may be written: that it still is what was
/// listed, as far as the driver can compare it.
async fn mode(shared: &Shared, target: Option<&ObjectEntry>) -> Result<SaveMode> {
    let capabilities = shared.target.storage().info().capabilities;
    match target {
        None if capabilities.create_new => Ok(SaveMode::CreateNew),
        Some(target) if capabilities.save_if_match => match &target.etag {
            Some(etag) if !etag.is_weak() => Ok(SaveMode::IfMatch(etag.clone())),
            _ => mode_after_look(shared, target).await,
        },
        _ => Ok(SaveMode::Overwrite),
    }
}

/// Looks up the strong ETag of an object of the destination, which a local disk does not list.
/// Waits for that of a file that another program has just written. Without one, the object is
/// replaced, because the driver does not recognise a change of it.
async fn mode_after_look(shared: &Shared, listed: &ObjectEntry) -> Result<SaveMode> {
    let begin = tokio::time::Instant::now();
    loop {
        shared.requests(1).await;
        let now = match shared.target.storage().stat(&listed.key).await {
            Err(error) if error.is_not_found() => return Err(target_changed()),
            now => now?,
        };
        if !compare::is_listed_version(listed, &now) {
            return Err(target_changed());
        }
        match now.strong_etag() {
            Some(etag) => return Ok(SaveMode::IfMatch(etag.clone())),
            None if may_become_strong(&now) && begin.elapsed() < WEAK_TIME => {
                tokio::time::sleep(WEAK_PAUSE).await;
            }
            None => return Ok(SaveMode::Overwrite),
        }
    }
}

/// Returns whether the ETag of an object is weak because the object is new.
fn may_become_strong(object: &ObjectMeta) -> bool {
    let is_weak = object.etag.as_ref().is_some_and(ETag::is_weak);
    let age = object.last_modified.map(|modified| modified.elapsed());
    // A time in the future is that of another clock.
    is_weak && age.is_some_and(|age| age.is_ok_and(|age| age < WEAK_TIME))
}

/// Returns whether the destination has what was listed, for a save without a condition. A save in
/// the moment between the two is replaced.
async fn is_target_as_listed(shared: &Shared, pair: &Pair) -> Result<bool> {
    shared.requests(1).await;
    let now = shared.target.storage().stat(shared.target.key(pair.name())?).await;
    match (&pair.target, now) {
        (Some(listed), Ok(now)) => Ok(compare::is_listed_version(listed, &now)),
        (None, Ok(_)) => Ok(false),
        (listed, Err(error)) if error.is_not_found() => Ok(listed.is_none()),
        (_, Err(error)) => Err(error),
    }
}

/// Looks up the version that an object has now.
async fn current(shared: &Shared, listed: &Option<ObjectEntry>) -> Result<Option<ObjectEntry>> {
    let Some(listed) = listed else { return Ok(None) };
    shared.requests(1).await;
    match shared.source.storage().stat(&listed.key).await {
        Ok(meta) => Ok(Some(entry(meta))),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Compares again after another program has written the destination. It may have copied the same
/// object, as a second worker of a job does.
async fn check_changed_target(shared: &Shared, settled: &Settled) -> Result<Done> {
    shared.requests(1).await;
    let meta = shared.target.storage().stat(shared.target.key(settled.pair.name())?).await;
    let (Ok(meta), Some(source)) = (meta, &settled.pair.source) else {
        return Err(target_changed());
    };
    let target = entry(meta);
    if shared.options.existing == Existing::Ignore {
        return Ok(Done::Left);
    }
    match compare_changed(shared, source, &target).await? {
        Compared::Same(evidence) => Ok(Done::Same(evidence)),
        _ => Err(target_changed()),
    }
}

/// Compares the contents unless sizes, ETags or the options decide. Times prove nothing, because
/// the object of the destination has just been written.
async fn compare_changed(
    shared: &Shared,
    source: &ObjectEntry,
    target: &ObjectEntry,
) -> Result<Compared> {
    let by_listing =
        compare::compare_entries(shared.options.comparison, source, target, shared.are_s3);
    match by_listing {
        Compared::Same(Evidence::SizeAlone) if shared.options.comparison != Comparison::Size => {}
        Compared::Same(Evidence::SizeAndTime) | Compared::Different(Evidence::SizeAndTime) => {}
        Compared::Undecided => {}
        decided => return Ok(decided),
    }
    Ok(match shared.compare_contents(source, target).await? {
        Some(true) => Compared::Same(Evidence::Checksum),
        _ => Compared::Different(Evidence::Checksum),
    })
}

fn report(shared: &Shared, settled: &Settled) {
    let uploads = shared.uploads.as_ref();
    if uploads.is_some_and(|uploads| !uploads.includes(settled.pair.name())) {
        return;
    }
    let outcome = match &settled.result {
        Done::Same(_) | Done::Left => Outcome::Same,
        Done::New => Outcome::New,
        Done::Changed => Outcome::Changed,
        Done::Vanished => Outcome::Unknown,
        // Reported when it is copied after all, or fails.
        Done::Blocked(_) => return,
        Done::Failed(_) => Outcome::Failed,
    };
    let vanished;
    let error = match &settled.result {
        Done::Failed(error) => Some(error),
        Done::Vanished => {
            vanished = Error::new(
                ErrorKind::NotFound,
                "the object was deleted from the source after it had been listed",
            );
            Some(&vanished)
        }
        _ => settled.dropped.first(),
    };
    let size = settled.pair.source.as_ref().map(|source| source.size);
    shared.emit(&KeyEvent { key: settled.pair.name(), outcome, size, error });
}
