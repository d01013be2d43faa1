//! What clap says of a command line that it cannot read, without what the environment adds to it. Pure.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};

/// Options that the environment may give, as a usage line shows them.
const FROM_ENVIRONMENT: [(&str, &str); 2] = [("--config", "--config <FILE> "), ("--prefix", "--prefix <PREFIX> ")];

/// The error, whose usage line has only what was typed: an option of the environment looks there as if it were needed.
pub(super) fn as_typed(mut error: clap::Error, typed: impl Iterator<Item = OsString>) -> clap::Error {
    let typed: Vec<_> = typed.map(|word| word.to_string_lossy().into_owned()).collect();
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else { return error };
    let mut text = usage.to_string();
    let before = text.clone();
    for (option, shown) in FROM_ENVIRONMENT {
        if !typed.iter().any(|word| word == option || word.starts_with(&format!("{option}="))) {
            text = text.replace(shown, "");
        }
    }
    if text != before {
        error.insert(ContextKind::Usage, ContextValue::StyledStr(text.into()));
    }
    error
}
