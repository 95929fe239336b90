//! The files of a shard with failures and with extras.

use bytes::Bytes;
use serde::Serialize;
use storage_core::Result;

/// The size in bytes at which a file ends. One is read as a whole.
const MAX_FILE: usize = 8 * 1024 * 1024;

/// What a file contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Failed,
    Extra,
}

impl Kind {
    /// Returns the directory of the files of a shard, with a slash at its end.
    pub(crate) fn directory(self, id: &str) -> String {
        let directory = match self {
            Self::Failed => "failed",
            Self::Extra => "extra",
        };
        format!("{directory}/{id}/")
    }

    /// Returns the name of a file below the directory of the job.
    pub(crate) fn path(self, id: &str, number: u64) -> String {
        format!("{}{number:08}.jsonl", self.directory(id))
    }
}

/// Returns the number of a file by its name below its directory.
pub(crate) fn number(name: &str) -> Option<u64> {
    name.strip_suffix(".jsonl")?.parse().ok()
}

/// Returns the texts of the files with these records.
pub(crate) fn files<T: Serialize>(records: &[T]) -> Result<Vec<Bytes>> {
    let (mut files, mut text) = (Vec::new(), Vec::new());
    for record in records {
        serde_json::to_writer(&mut text, record).map_err(std::io::Error::from)?;
        text.push(b'\n');
        if text.len() >= MAX_FILE {
            files.push(Bytes::from(std::mem::take(&mut text)));
        }
    }
    if !text.is_empty() {
        files.push(Bytes::from(text));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_records_make_several_files_of_bounded_size() {
        let record = "x".repeat(MAX_FILE / 3);
        let files = files(&vec![record; 7]).unwrap();
        assert_eq!(files.len(), 3);
        assert!(files.iter().all(|file| file.len() < 2 * MAX_FILE));
        assert!(super::files::<String>(&[]).unwrap().is_empty());
    }

    #[test]
    fn the_number_of_a_file_is_read_from_its_name() {
        let path = Kind::Extra.path("00001", 1 << 40);
        let name = path.strip_prefix(&Kind::Extra.directory("00001"));
        assert_eq!(name.and_then(number), Some(1 << 40));
        assert_eq!(number("a.jsonl"), None);
    }
}
