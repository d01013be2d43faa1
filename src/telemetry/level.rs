//! The log level of a running process: another one for a while, then the one of the configuration. Switching costs what is switched off
//! nothing: the interest of each place that logs is asked anew, and kept.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The NATS client's targets begin with this.
const NATS_CLIENT: &str = "async_nats";
/// Where it connects.
pub(super) const NATS_CONNECTOR: &str = "async_nats::connector";
/// Longest text of a level.
const MAX_LEVEL_BYTES: usize = 512;
/// In place of a level: that of the configuration.
const CONFIGURED: &str = "configured";

/// Why a level is not set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LevelError {
    /// It is no level, and no list of targets with theirs.
    #[error("invalid level '{0}': expected error, warn, info, debug, trace, off, a list such as info,dfks::edge=debug, or configured")]
    Invalid(String),
    /// The text is too long.
    #[error("level has {0} bytes: expected at most {MAX_LEVEL_BYTES}")]
    TooLong(usize),
    /// The log takes no other level.
    #[error("the log of this process takes no other level: {0}")]
    Fixed(String),
}

/// How the filter of the log is exchanged.
type Exchange = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// The level of this process's log.
pub(crate) struct LogLevel {
    configured: String,
    exchange: Exchange,
    level: Mutex<String>,
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLevel").field("configured", &self.configured).field("level", &self.level).finish_non_exhaustive()
    }
}

impl LogLevel {
    pub(super) fn new(configured: &str, exchange: Exchange) -> Self {
        Self { configured: configured.to_owned(), exchange, level: Mutex::new(configured.to_owned()) }
    }

    /// As it is now.
    pub(crate) fn now(&self) -> String {
        self.level().clone()
    }

    /// Logs at this level from now on.
    ///
    /// # Errors
    ///
    /// [`LevelError`]: the level is as it was.
    pub(crate) fn set(&self, level: &str) -> Result<(), LevelError> {
        let level = if level.eq_ignore_ascii_case(CONFIGURED) { &*self.configured } else { level };
        let filter = read(level)?;
        let mut now = self.level();
        (self.exchange)(filter).map_err(LevelError::Fixed)?;
        level.clone_into(&mut now);
        Ok(())
    }

    /// Logs as the configuration says.
    pub(crate) fn set_back(&self) {
        if let Err(error) = self.set(CONFIGURED) {
            tracing::warn!(%error, "log level not set back");
        }
    }

    fn level(&self) -> MutexGuard<'_, String> {
        self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A filter as `log.level` has it. A word that is no level would be the name of a target.
fn read(level: &str) -> Result<EnvFilter, LevelError> {
    if level.len() > MAX_LEVEL_BYTES {
        return Err(LevelError::TooLong(level.len()));
    }
    let invalid = || LevelError::Invalid(level.chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect());
    let is_level = |part: &str| {
        part.contains('=') || !part.trim().is_empty() && LevelFilter::from_str(part.trim()).is_ok() && part.trim().parse::<usize>().is_err()
    };
    if !level.split(',').all(is_level) {
        return Err(invalid());
    }
    filter_of(level).map_err(|_unreadable| invalid())
}

/// The most that a level shows, as a word.
pub(crate) fn loudest(level: &str) -> &'static str {
    let hint = read(level).ok().and_then(|filter| {
        use tracing_subscriber::layer::Filter;
        <EnvFilter as Filter<tracing_subscriber::Registry>>::max_level_hint(&filter)
    });
    match hint {
        Some(LevelFilter::OFF) => "off",
        Some(LevelFilter::ERROR) => "error",
        Some(LevelFilter::WARN) => "warn",
        Some(LevelFilter::INFO) => "info",
        Some(LevelFilter::DEBUG) => "debug",
        _ => "trace",
    }
}

/// The filter of a level or a list of targets, as `log.level` has it.
pub(super) fn filter_of(level: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(quieted(level))
}

/// The NATS client keeps to its warnings, what it does and why it cannot connect is logged by us, unless the filter names one of its targets.
fn quieted(filter: &str) -> String {
    let parts = || filter.split(',').map(str::trim);
    let is_named = parts().any(|part| part.starts_with(NATS_CLIENT));
    let is_loud = |level: &str| ["info", "debug", "trace"].contains(&level.to_ascii_lowercase().as_str());
    // of two levels without a target the last counts
    match parts().rfind(|part| !part.contains('=')) {
        _ if is_named => filter.to_owned(),
        // each attempt to connect that fails would be an error there
        Some(level) if is_loud(level) => format!("{filter},{NATS_CLIENT}=warn,{NATS_CONNECTOR}=off"),
        Some(level) if !level.eq_ignore_ascii_case("off") => format!("{filter},{NATS_CONNECTOR}=off"),
        _ => filter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_level_is_one_that_the_configuration_takes() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&seen);
        let exchange = move |filter: EnvFilter| {
            told.lock().unwrap().push(filter.to_string());
            Ok(())
        };
        let level = LogLevel::new("info", Box::new(exchange));
        assert_eq!(level.now(), "info");
        level.set("DEBUG").unwrap();
        assert_eq!(level.now(), "DEBUG");
        level.set("info,dfks::edge=trace").unwrap();
        for wrong in ["", "loud", "info,loud", "=", "3", "dfks=loud", "a\nb"] {
            assert!(matches!(level.set(wrong), Err(LevelError::Invalid(_))), "{wrong}");
        }
        assert!(matches!(level.set(&"x".repeat(513)), Err(LevelError::TooLong(513))));
        assert_eq!(level.now(), "info,dfks::edge=trace");
        level.set_back();
        assert_eq!((level.now().as_str(), seen.lock().unwrap().len()), ("info", 3));
    }

    #[test]
    fn the_loudest_is_what_shows_most() {
        for (level, want) in [("off", "off"), ("info", "info"), ("info,dfks::edge=debug", "debug"), ("TRACE", "trace"), ("warn", "warn")] {
            assert_eq!(loudest(level), want, "{level}");
        }
    }

    #[test]
    fn the_nats_client_keeps_to_its_warnings_until_it_is_named() {
        for (filter, want) in [
            ("info", "info,async_nats=warn,async_nats::connector=off"),
            ("DEBUG", "DEBUG,async_nats=warn,async_nats::connector=off"),
            ("trace, dfks::sip=debug", "trace, dfks::sip=debug,async_nats=warn,async_nats::connector=off"),
            ("error,debug", "error,debug,async_nats=warn,async_nats::connector=off"),
            ("debug,error", "debug,error,async_nats::connector=off"),
            ("warn", "warn,async_nats::connector=off"),
            ("off", "off"),
            ("dfks=trace", "dfks=trace"),
            ("debug,async_nats=info", "debug,async_nats=info"),
            ("info,async_nats::jetstream=trace", "info,async_nats::jetstream=trace"),
        ] {
            assert_eq!(quieted(filter), want, "{filter}");
        }
    }
}
