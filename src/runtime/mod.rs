//! What every role runs on: the clock, time zones, tasks, signals, backoff, timers, and how a changed file is noticed.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

pub(crate) mod backoff;
pub mod clock;
#[cfg(feature = "simulate")]
pub(crate) mod host;
pub(crate) mod room;
pub(crate) mod signal;
pub(crate) mod tasks;
pub(crate) mod wheel;
pub(crate) mod zone;

pub use backoff::Backoff;
pub(crate) use signal::StopSignals;
pub use tasks::{TaskError, Tasks};
pub use wheel::Wheel;

/// Modification time, size and inode of a file: two versions of it differ in one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileStamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl FileStamp {
    /// The file as it is now; `None` while there is none.
    #[must_use]
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self { modified: metadata.modified().ok(), bytes: metadata.len(), inode: metadata.ino() })
    }
}

/// A count as the value of a gauge.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_or_replaced_has_another_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a"), dir.path().join("b"));
        assert_eq!(FileStamp::of(&path), None);
        std::fs::write(&path, "one").unwrap();
        let first = FileStamp::of(&path);
        assert_eq!(FileStamp::of(&path), first);
        std::fs::write(&path, "three").unwrap();
        let second = FileStamp::of(&path);
        assert_ne!(second, first);
        std::fs::write(&other, "three").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_ne!(FileStamp::of(&path), second);
    }
}
