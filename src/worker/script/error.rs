//! Why a script file is not used, and why a run of it failed.

use std::fmt;
use std::path::PathBuf;

use crate::worker::script::data::DataError;

/// Largest script file, in bytes.
pub(super) const MAX_SCRIPT_BYTES: usize = 1 << 20;

/// Why a script file is not used. At start it is a bad configuration; at a reload the script before it stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// The file cannot be read.
    #[error("routes.script {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is too large.
    #[error("routes.script {}: {bytes} bytes, at most {MAX_SCRIPT_BYTES} are allowed", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: usize,
    },
    /// The file does not compile.
    #[error("routes.script {}{}: {message}", path.display(), Line(*line))]
    Compile {
        /// The file.
        path: PathBuf,
        /// Line of the error, from 1; 0 where it has none.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A route has another number of parameters than one.
    #[error("routes.script {}: {function} must take one parameter: fn {function}(dfks)", path.display())]
    Parameters {
        /// The file.
        path: PathBuf,
        /// The route.
        function: String,
    },
    /// A route that the configuration names is not there.
    #[error("{key} = \"{function}\": expected a function of routes.script {}, which has none of that name{}", path.display(), But(near.as_deref()))]
    Missing {
        /// The file.
        path: PathBuf,
        /// The key that names the route.
        key: &'static str,
        /// The route.
        function: String,
        /// A function that was perhaps meant.
        near: Option<String>,
    },
    /// No such time zone.
    #[error("routes.time_zone \"{name}\": expected an IANA time zone, e.g. \"Europe/Berlin\"")]
    Zone {
        /// As configured.
        name: String,
    },
    /// The data cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A reload would take a route away.
    #[error("routes.script {}: {function} is not there any more{}: an empty one, fn {function}(dfks) {{}}, says that it is meant so", path.display(), But(near.as_deref()))]
    Lost {
        /// The file.
        path: PathBuf,
        /// The route.
        function: String,
        /// A function that was perhaps meant.
        near: Option<String>,
    },
}

impl ScriptError {
    /// Word for the log field `reason`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Read { .. } => "unreadable",
            Self::TooLarge { .. } => "too_large",
            Self::Compile { .. } => "not_compiling",
            Self::Parameters { .. } => "parameters",
            Self::Zone { .. } => "time_zone",
            Self::Data(_) => "data",
            Self::Missing { .. } | Self::Lost { .. } => "route_missing",
        }
    }
}

/// Why a run of a route failed. For a set the change is refused with 500; for a get the state before the script is served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("script error in {function}{}: {message}", Line(*line))]
pub struct RouteError {
    pub(crate) function: String,
    /// Line in the script, from 1; 0 where it has none.
    pub(crate) line: usize,
    /// The field of `dfks`, or the function, that was misused, where one was.
    pub(crate) field: Option<String>,
    pub(crate) message: String,
}

/// ` (but dfks_sett)`; nothing where nothing is near.
struct But<'a>(Option<&'a str>);

impl fmt::Display for But<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |near| write!(f, " (but {near})"))
    }
}

/// `, line 3`; nothing for 0.
struct Line(usize);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, ", line {}", self.0) }
    }
}
