//! What is stored by this version and by those before, as files: tests read them with the types of today.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A stored message.
///
/// Shape: `{"subject":"$KV.dfks-edges.edge1","headers":{"Nats-TTL":"5s"},"payload":{…}}`
#[derive(Debug)]
pub(crate) struct Kept {
    /// Whether this version writes it so.
    pub(crate) is_of_today: bool,
    /// The file, to say which one is wrong.
    pub(crate) file: String,
    /// The whole message.
    pub(crate) message: Value,
}

impl Kept {
    /// Its payload, read as this type; one that this version writes is written again to the same.
    pub(crate) fn read<T: Serialize + DeserializeOwned>(&self) -> T {
        let payload = &self.message["payload"];
        let read: T = serde_json::from_value(payload.clone()).unwrap_or_else(|error| panic!("{}: {error}", self.file));
        if self.is_of_today {
            assert_eq!(serde_json::to_value(&read).unwrap(), *payload, "{}", self.file);
        }
        read
    }
}

/// What is kept of this kind; there is some of this version.
pub(crate) fn kept(kind: &str) -> Vec<Kept> {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let mut found = read(&schemas.join("records").join(kind), true);
    assert!(!found.is_empty(), "no {kind} is kept");
    for release in entries(&schemas.join("compat")) {
        found.extend(read(&release.join("records").join(kind), false));
    }
    found
}

fn read(folder: &Path, is_of_today: bool) -> Vec<Kept> {
    let file = |path: &PathBuf| path.display().to_string();
    let message = |path: &PathBuf| serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    entries(folder).iter().map(|path| Kept { is_of_today, file: file(path), message: message(path) }).collect()
}

/// In order; none where the folder is not there: no release has every kind.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}
