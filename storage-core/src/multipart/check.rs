//! [`check_parts`]: whether the stored parts of an upload are those of its plan, for drivers.

use std::collections::BTreeMap;

use crate::checksum::Checksum;
#[cfg(feature = "checksums")]
use crate::composed_crc::compose_crc;
use crate::error::{Error, ErrorKind, Result};
use crate::metadata::ObjectMeta;
use crate::multipart::{CompleteOptions, OtherParts, Part, UploadPlan};

/// The parts that an object consists of, in order, after [`check_parts`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckedParts {
    /// The parts, numbered from 1 without a gap.
    pub parts: Vec<Part>,
    /// The size of the object in bytes.
    pub size: u64,
    /// The CRC of the object, if that of every part is known. Needs the feature `checksums`.
    pub checksum: Option<Checksum>,
}

/// Compares the stored parts of an upload with its plan and with the options of its completion. For
/// drivers.
///
/// # Errors
/// - `Conflict` if a part is missing, if a part other than the last one is not of the part size, if
///   a part of the options is not stored or has other bytes, or if there is another part and the
///   options refuse it.
/// - `Integrity` if the object would have another size or another checksum than the plan.
/// - `Unsupported` if the plan has a checksum and that of a part is not known.
pub fn check_parts(
    stored: impl IntoIterator<Item = Part>,
    plan: &UploadPlan,
    options: &CompleteOptions,
) -> Result<CheckedParts> {
    let mut others: BTreeMap<_, _> = stored.into_iter().map(|part| (part.number, part)).collect();
    let mut named = BTreeMap::new();
    for wanted in &options.parts {
        // A part may be named twice.
        let stored = others.remove(&wanted.number).or_else(|| named.remove(&wanted.number));
        check_acknowledged(wanted, stored.as_ref())?;
        named.extend(stored.map(|part| (part.number, part)));
    }
    match (options.others, others.keys().next()) {
        (OtherParts::Used, _) => named.append(&mut others),
        (OtherParts::Refused, Some(&number)) => return Err(unknown_part(number)),
        (OtherParts::Refused | OtherParts::Discarded, _) => {}
    }
    let parts: Vec<_> = named.into_values().collect();
    let size = checked_size(&parts, plan)?;
    let checksum = composed(&parts);
    if let Some(wanted) = &plan.checksum {
        let message = match &checksum {
            Some(found) if found == wanted => None,
            Some(found) if found.algorithm() == wanted.algorithm() => {
                Some(format!("the parts together have the checksum {found}"))
            }
            _ => {
                return Err(Error::unsupported(
                    "the checksum of the object cannot be verified, because that of a part is \
                     unknown: send the parts through this library, or begin without a checksum",
                ));
            }
        };
        if let Some(message) = message {
            let message = format!("{message}, but {wanted} was declared: abort the upload");
            return Err(Error::new(ErrorKind::Integrity, message));
        }
    }
    Ok(CheckedParts { parts, size, checksum })
}

/// Compares the object of an upload that was completed before with what the caller of another
/// completion knows to be stored. For drivers, before they report that completion as done: another
/// process may have completed the upload with other parts.
///
/// Finds what the metadata shows: another size, and another CRC if both are known. The plan
/// is that of the id, which an id from a listing lacks.
///
/// # Errors
/// `Conflict` if the object does not consist of these parts.
pub fn check_completed(
    object: &ObjectMeta,
    plan: Option<&UploadPlan>,
    options: &CompleteOptions,
) -> Result<()> {
    let Some(plan) = plan else { return Ok(()) };
    let is_complete = match options.others {
        OtherParts::Used => options.parts.iter().all(|part| is_in(part, object.size, plan)),
        OtherParts::Discarded | OtherParts::Refused => {
            // The completion has verified the size and the checksum of the plan.
            let sizes = UploadPlan { size: None, checksum: None, ..plan.clone() };
            let named = check_parts(options.parts.clone(), &sizes, options)?;
            let is_other = named.checksum.as_ref().is_some_and(|named| {
                let declared = plan.checksum.as_ref();
                let declared = declared.filter(|sum| sum.algorithm() == named.algorithm());
                let stored = object.checksums.get(named.algorithm()).or(declared);
                stored.is_some_and(|stored| stored != named)
            });
            named.size == object.size && !is_other
        }
    };
    if is_complete {
        return Ok(());
    }
    Err(conflict("another process has completed the upload with other parts".to_owned()))
}

/// Returns whether an object of this size can contain the part. A part that is shorter than the
/// part size is the last one.
fn is_in(part: &Part, object_size: u64, plan: &UploadPlan) -> bool {
    let before = u64::from(part.number.saturating_sub(1)).saturating_mul(plan.part_size);
    let end = before.saturating_add(part.size);
    end == object_size || (part.size == plan.part_size && end < object_size)
}

fn unknown_part(number: u32) -> Error {
    conflict(format!(
        "part {number} is stored, and the caller of this completion did not send it: declare the \
         size of the object at the beginning, or name the parts of the object (complete_with)"
    ))
}

fn check_acknowledged(wanted: &Part, stored: Option<&Part>) -> Result<()> {
    let message = match stored {
        Some(stored) if is_equal(wanted, stored) => return Ok(()),
        Some(_) => "was replaced by other bytes after it was acknowledged",
        None => "was acknowledged and is not stored",
    };
    Err(conflict(format!("part {} {message}: send it again", wanted.number)))
}

fn is_equal(a: &Part, b: &Part) -> bool {
    let is_same_version = match (&a.checksum, &b.checksum) {
        (Some(a), Some(b)) if a.algorithm() == b.algorithm() => a == b,
        _ => a.etag.strong_eq(&b.etag),
    };
    is_same_version && a.size == b.size
}

/// Returns the size of the object, if the numbers have no gap and every size is that of the plan.
fn checked_size(parts: &[Part], plan: &UploadPlan) -> Result<u64> {
    let mut size: u64 = 0;
    for (part, number) in parts.iter().zip(1..) {
        if part.number != number {
            return Err(conflict(format!("part {number} is missing: send it")));
        }
        let is_last = number as usize == parts.len();
        if part.size != plan.part_size && !(is_last && is_last_size(part, plan)) {
            return Err(conflict(format!(
                "part {number} of {} has {} bytes, but the part size is {} bytes: send it again",
                parts.len(),
                part.size,
                plan.part_size
            )));
        }
        size = size.saturating_add(part.size);
    }
    if parts.is_empty() {
        return Err(conflict("no part is stored: an empty object has one empty part".to_owned()));
    }
    match plan.size {
        Some(wanted) if wanted.div_ceil(plan.part_size.max(1)) > parts.len() as u64 => {
            Err(conflict(format!("part {} is missing: send it", parts.len() + 1)))
        }
        Some(wanted) if wanted != size => Err(Error::new(
            ErrorKind::Integrity,
            format!(
                "the parts have {size} bytes together, but {wanted} bytes were declared: abort the \
                 upload"
            ),
        )),
        _ => Ok(size),
    }
}

/// Only an object of one part may be empty.
fn is_last_size(part: &Part, plan: &UploadPlan) -> bool {
    part.size < plan.part_size && (part.size > 0 || part.number == 1)
}

#[cfg(feature = "checksums")]
fn composed(parts: &[Part]) -> Option<Checksum> {
    compose_crc(parts.iter().map(|part| (part.checksum.as_ref(), part.size)))
}

#[cfg(not(feature = "checksums"))]
fn composed(_parts: &[Part]) -> Option<Checksum> {
    None
}

fn conflict(message: String) -> Error {
    Error::new(ErrorKind::Conflict, message)
}

#[cfg(all(test, feature = "checksums"))]
mod tests {
    use super::*;
    use crate::checksum::ChecksumAlgorithm;
    use crate::etag::ETag;
    use crate::multipart::MultipartOptions;

    fn plan(part_size: u64) -> UploadPlan {
        UploadPlan::new(&MultipartOptions::new().part_size(part_size)).expect("it has a part size")
    }

    fn crc(bytes: &[u8]) -> Checksum {
        Checksum::of(ChecksumAlgorithm::Crc64Nvme, bytes)
    }

    fn part(number: u32, bytes: &[u8]) -> Part {
        let etag = ETag::strong(format!("{number}-{}", bytes.len())).expect("it is valid");
        Part::new(number, bytes.len() as u64, etag).with_checksum(Some(crc(bytes)))
    }

    fn kind(parts: &[Part], plan: &UploadPlan, options: &CompleteOptions) -> ErrorKind {
        check_parts(parts.to_vec(), plan, options).expect_err("the parts are wrong").kind()
    }

    #[test]
    fn the_checksum_is_composed_from_the_parts() {
        let parts = [part(1, b"abcd"), part(2, b"efgh"), part(3, b"i")];
        let mut plan = plan(4);
        plan.checksum = Some(crc(b"abcdefghi"));
        let checked = check_parts(parts.clone(), &plan, &CompleteOptions::new()).unwrap();
        assert_eq!((checked.size, checked.checksum), (9, Some(crc(b"abcdefghi"))));
        plan.checksum = Some(crc(b"abcdefghj"));
        assert_eq!(kind(&parts, &plan, &CompleteOptions::new()), ErrorKind::Integrity);
    }

    #[test]
    fn the_checksum_of_many_parts_is_that_of_all_bytes() {
        let bytes: Vec<u8> = (0..100_003_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        for size in [1_000, 4_096, 100_003] {
            let parts = bytes.chunks(size).zip(1..).map(|(bytes, number)| part(number, bytes));
            let checked = check_parts(parts, &plan(size as u64), &CompleteOptions::new()).unwrap();
            assert_eq!(checked.checksum, Some(crc(&bytes)), "parts of {size} bytes");
        }
    }

    fn object(bytes: &[u8]) -> ObjectMeta {
        let key = crate::key::Key::new("a").expect("it is valid");
        ObjectMeta::new(key, bytes.len() as u64)
    }

    #[test]
    fn a_repeated_completion_needs_no_checksums_of_the_named_parts() {
        let parts = [part(1, b"abcd"), part(2, b"e")].map(|part| part.with_checksum(None));
        let mut plan = plan(4);
        (plan.size, plan.checksum) = (Some(5), Some(crc(b"abcde")));
        let options = CompleteOptions::new().exactly(parts);
        check_completed(&object(b"abcde"), Some(&plan), &options).unwrap();
    }

    #[test]
    fn a_completed_object_of_other_parts_is_a_conflict() {
        let parts = [part(1, b"abcd"), part(2, b"e")];
        let mut plan = plan(4);
        for other in [&b"abcdefg"[..], b"abcd", b"abcdefghi"] {
            for options in [
                CompleteOptions::new().exactly(parts.clone()),
                CompleteOptions::new().requiring(parts.clone()),
            ] {
                let error = check_completed(&object(other), Some(&plan), &options).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Conflict, "{other:?}");
            }
        }
        plan.checksum = Some(crc(b"abcdX"));
        let options = CompleteOptions::new().exactly(parts);
        let error = check_completed(&object(b"abcdX"), Some(&plan), &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }

    #[test]
    fn a_plan_with_a_part_size_of_zero_is_no_panic() {
        let mut plan = plan(1);
        (plan.part_size, plan.size) = (0, Some(1));
        let empty = [part(1, b"")];
        let error = check_parts(empty, &plan, &CompleteOptions::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
    }

    #[test]
    fn a_gap_and_a_wrong_size_are_refused() {
        let options = CompleteOptions::new();
        for parts in [
            vec![],
            vec![part(2, b"abcd")],
            vec![part(1, b"abcd"), part(3, b"a")],
            vec![part(1, b"abc"), part(2, b"abcd")],
            vec![part(1, b"abcde")],
            vec![part(1, b"abcd"), part(2, b"")],
        ] {
            assert_eq!(kind(&parts, &plan(4), &options), ErrorKind::Conflict, "{parts:?}");
        }
        assert!(check_parts([part(1, b"")], &plan(4), &options).is_ok());
        let sized = UploadPlan { size: Some(5), ..plan(4) };
        assert_eq!(kind(&[part(1, b"abcd")], &sized, &options), ErrorKind::Conflict);
        let parts = [part(1, b"abcd"), part(2, b"ef")];
        assert_eq!(kind(&parts, &sized, &options), ErrorKind::Integrity);
    }

    #[test]
    fn a_part_that_came_late_is_found() {
        let stored = [part(1, b"abcd"), part(2, b"efgh"), part(3, b"late")];
        let known = [part(1, b"abcd"), part(2, b"efgh")];
        let exactly = CompleteOptions::new().exactly(known.clone());
        assert_eq!(check_parts(stored.clone(), &plan(4), &exactly).unwrap().parts, known);
        let only = CompleteOptions::new().only(known.clone());
        assert_eq!(kind(&stored, &plan(4), &only), ErrorKind::Conflict);
        assert_eq!(check_parts(known.clone(), &plan(4), &only).unwrap().parts, known);
        let replaced = CompleteOptions::new().requiring([part(2, b"ABCD")]);
        assert_eq!(kind(&stored, &plan(4), &replaced), ErrorKind::Conflict);
        let missing = CompleteOptions::new().requiring([part(4, b"x")]);
        assert_eq!(kind(&stored, &plan(4), &missing), ErrorKind::Conflict);
    }
}
