//! How a command ends: exit codes after `sysexits.h`, as `dfks --help` lists them.

use std::error::Error;
use std::process::ExitCode;

use crate::bus::message::ErrorBody;
use crate::config::ConfigError;

/// Why a command was not carried out: one line on stderr, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// Whoever was asked refused it, or it failed while running.
    #[error("{0}")]
    Refused(String),
    /// Whoever was asked answered with an error.
    #[error("{0}")]
    Answered(ErrorBody),
    #[error("{0}")]
    NobodyAnswered(String),
    /// The configuration cannot be run.
    #[error("{0}")]
    Config(String),
    /// The command line cannot be read.
    #[error("{0}")]
    Usage(String),
    /// Who read what is printed has gone: `dfks watchers | head -1`.
    #[error("nobody reads what is printed")]
    NobodyReads,
}

impl Failure {
    /// 1 refused, 69 nobody answered, 78 bad configuration, 64 usage, 141 (128 + SIGPIPE) nobody reads.
    #[must_use]
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::Answered(_) => 1,
            Self::NobodyAnswered(_) => 69,
            Self::Config(_) => 78,
            Self::Usage(_) => 64,
            // as of a program that the signal ends
            Self::NobodyReads => 141,
        }
    }

    /// The same for the system.
    #[must_use]
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    /// The same for programs: `{"error":{"code":400,"description":"unknown feature 'Foo': …","exit_code":1,"field":"feature"}}`.
    ///
    /// `code` and `field` are there when a service answered with them.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let (code, field) = match self {
            Self::Answered(body) => (Some(body.code), body.field.as_deref()),
            _ => (None, None),
        };
        let mut error = serde_json::Map::new();
        error.insert("description".to_owned(), self.to_string().into());
        error.insert("exit_code".to_owned(), self.code().into());
        error.extend(code.map(|code| ("code".to_owned(), code.into())));
        error.extend(field.map(|field| ("field".to_owned(), field.into())));
        serde_json::json!({ "error": error })
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
    fn the_exit_codes_are_the_documented_ones() {
        let text = String::new;
        let failures = [Failure::Refused(text()), Failure::NobodyAnswered(text()), Failure::Config(text()), Failure::Usage(text())];
        assert_eq!(failures.map(|failure| failure.code()), [1, 69, 78, 64]);
        assert_eq!(Failure::NobodyReads.code(), 141);
    }

    #[test]
    fn a_program_is_told_what_a_person_is_told() {
        let body = ErrorBody { code: 400, description: "unknown feature".to_owned(), field: Some("feature".to_owned()) };
        let want = r#"{"error":{"code":400,"description":"unknown feature","exit_code":1,"field":"feature"}}"#;
        assert_eq!(Failure::Answered(body).to_json().to_string(), want);
        let want = r#"{"error":{"description":"nobody","exit_code":69}}"#;
        assert_eq!(Failure::NobodyAnswered("nobody".to_owned()).to_json().to_string(), want);
    }
}
