//! Opens a range of one version of an object, even if the driver ignores the condition.

use std::ops::Range;
use std::sync::Arc;

use crate::driver::Driver;
use crate::error::{Error, ErrorKind, Result};
use crate::etag::ETag;
use crate::key::Key;
use crate::object::Object;
use crate::options::OpenOptions;

/// Opens these bytes of the version with this strong ETag.
///
/// # Errors
/// `PreconditionFailed` if the object has been replaced, also if the driver ignores the condition.
/// `Integrity` if the driver returns another range.
pub(crate) async fn open_range(
    driver: &Arc<dyn Driver>,
    key: &Key,
    etag: &ETag,
    range: Range<u64>,
) -> Result<Object> {
    let options = OpenOptions::new().range(range.clone()).if_match(etag.clone());
    let object = driver.open(key, &options).await?;
    if !object.meta().etag.as_ref().is_some_and(|current| current.strong_eq(etag)) {
        return Err(Error::new(
            ErrorKind::PreconditionFailed,
            "the object has been replaced since it was opened: open it again",
        ));
    }
    if object.range() != range {
        let message =
            format!("requested the bytes {range:?}, and the driver returned {:?}", object.range());
        return Err(Error::new(ErrorKind::Integrity, message));
    }
    Ok(object)
}
