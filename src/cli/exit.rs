//! How a command ends: the exit codes of the contract, after sysexits.h.

use std::error::Error;
use std::process::ExitCode;

use crate::bus::error::RequestError;
use crate::config::ConfigError;

/// Why a command was not carried out: one line on stderr, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// Whoever was asked refused it, or it failed while running.
    #[error("{0}")]
    Refused(String),
    /// Nobody answered.
    #[error("{0}")]
    NobodyAnswered(String),
    /// The configuration cannot be run.
    #[error("{0}")]
    Config(String),
    /// The command line cannot be read.
    #[error("{0}")]
    Usage(String),
}

impl Failure {
    /// 1 refused, 69 nobody answered, 78 bad configuration, 64 usage.
    #[must_use]
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::NobodyAnswered(_) => 69,
            Self::Config(_) => 78,
            Self::Usage(_) => 64,
        }
    }

    /// The same for the system.
    #[must_use]
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    /// What became of a request that was sent to `whom`.
    pub(crate) fn of_request(error: &RequestError, whom: &str) -> Self {
        match error {
            RequestError::Refused(body) => Self::Refused(body.description.clone()),
            RequestError::NoResponders => Self::NobodyAnswered(format!("no {whom} listens on this NATS")),
            RequestError::Timeout(after) => Self::NobodyAnswered(format!("no {whom} answered within {after:?}")),
            RequestError::Disconnected => Self::NobodyAnswered("the connection to NATS was lost".to_owned()),
            other => Self::Refused(other.to_string()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.to_string())
    }
}

/// An error and what led to it, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let reason = error.to_string();
        // some errors have their source in their own text
        if !text.contains(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Outer {
        text: &'static str,
        source: io::Error,
    }

    #[test]
    fn an_error_is_told_with_its_cause_and_once() {
        for (text, want) in [("not stored", "not stored: disk full"), ("not stored (disk full)", "not stored (disk full)")] {
            assert_eq!(chain(&Outer { text, source: io::Error::other("disk full") }), want);
        }
    }

    #[test]
    fn the_exit_codes_are_those_of_the_contract() {
        let text = String::new;
        let failures = [Failure::Refused(text()), Failure::NobodyAnswered(text()), Failure::Config(text()), Failure::Usage(text())];
        assert_eq!(failures.map(|failure| failure.code()), [1, 69, 78, 64]);
    }
}
