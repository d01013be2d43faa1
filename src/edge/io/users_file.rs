//! The users file: read at the start, and again when it changes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::edge::gate::users::{Users, UsersError};
use crate::edge::metrics::EdgeMetrics;
use crate::runtime::FileStamp;

/// Poll interval of the file. A change is read once two polls see the same file, so that none is read half written.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Largest file taken in, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Why a users file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsersFileError {
    /// It cannot be read.
    #[error("sip.auth.users = \"{}\": {source}", path.display())]
    Read {
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    #[error("sip.auth.users = \"{}\": expected at most {MAX_FILE_BYTES} bytes", path.display())]
    TooLarge { path: PathBuf },
    /// One of its lines is wrong.
    #[error("sip.auth.users = \"{}\": {source}", path.display())]
    Line { path: PathBuf, source: UsersError },
}

/// Reads a users file.
///
/// # Errors
///
/// [`UsersFileError`]: at the start the process exits with 78, later the last good users stay in use.
pub(crate) fn load(path: &Path) -> Result<Users, UsersFileError> {
    let failed = |source| UsersFileError::Read { path: path.to_path_buf(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_FILE_BYTES {
        return Err(UsersFileError::TooLarge { path: path.to_path_buf() });
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    Users::parse(&text).map_err(|source| UsersFileError::Line { path: path.to_path_buf(), source })
}

/// Polls the file until `stop`, and sends its users each time they change.
pub(crate) async fn watch(
    path: PathBuf,
    used: Option<FileStamp>,
    users: mpsc::Sender<Arc<Users>>,
    metrics: Arc<EdgeMetrics>,
    stop: CancellationToken,
) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut changes = Changes { used, seen: None };
    while stop.run_until_cancelled(look.tick()).await.is_some() {
        if !changes.look(FileStamp::of(&path)) {
            continue;
        }
        let file = path.clone();
        // Reading a large file would block the SIP loop.
        match tokio::task::spawn_blocking(move || load(&file)).await {
            Ok(Ok(read)) => {
                metrics.users_loaded(read.len(), read.incomplete());
                if users.send(Arc::new(read)).await.is_err() {
                    return;
                }
            }
            Ok(Err(error)) => metrics.users_not_loaded(&error),
            Err(_) => {}
        }
    }
}

/// The state of the file at the last polls.
struct Changes {
    /// The file in use, or the last one that could not be read.
    used: Option<FileStamp>,
    /// The file at the last poll.
    seen: Option<FileStamp>,
}

impl Changes {
    /// Whether the file has changed, and was the same at two polls since.
    fn look(&mut self, stamp: Option<FileStamp>) -> bool {
        let is_settled = self.seen == stamp;
        self.seen.clone_from(&stamp);
        if !is_settled || self.used == stamp {
            return false;
        }
        self.used = stamp;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "d9153196ac59ec921871d229d1bd7f5c";

    #[test]
    fn a_bad_file_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        let said = || load(&path).unwrap_err().to_string();
        let prefix = format!("sip.auth.users = \"{}\": ", path.display());
        assert_eq!(said(), format!("{prefix}No such file or directory (os error 2)"));
        std::fs::write(&path, format!("bob:r:{MD5}\nalice")).unwrap();
        assert_eq!(said(), format!("{prefix}line 2: expected user:realm:HA1, or user:realm:HA1:SHA-256"));
        std::fs::write(&path, [0xff, b'\n']).unwrap();
        assert!(said().starts_with(&prefix));
    }

    #[tokio::test]
    async fn a_changed_file_is_taken_into_use_and_a_bad_one_leaves_the_users_of_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write(&format!("alice:r:{MD5}\n"));
        let (sender, mut users) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let metrics = Arc::new(EdgeMetrics::new(&[], &crate::edge::limit::CAPACITIES));
        let watching = crate::runtime::tasks::spawn_owned(watch(path.clone(), FileStamp::of(&path), sender, metrics, stop.clone()));
        let soon = Duration::from_secs(2);
        assert!(tokio::time::timeout(Duration::from_millis(1200), users.recv()).await.is_err(), "nothing has changed");
        write("alice:r:none\n");
        assert!(tokio::time::timeout(Duration::from_millis(1200), users.recv()).await.is_err(), "a bad file changes nothing");
        write(&format!("alice:r:{MD5}\nbob:r:{MD5}\n"));
        let read = tokio::time::timeout(soon, users.recv()).await.expect("within 2 s").unwrap();
        assert_eq!(read.len(), 2);
        stop.cancel();
        watching.await.unwrap();
    }
}
