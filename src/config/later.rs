//! Keys reserved for later versions: accepted only at their default.
//!
//! Whoever adds such a feature deletes its row here.

use super::error::as_toml;
use super::{Config, ConfigError};

struct Later {
    key: &'static str,
    feature: &'static str,
}

const LATER: [Later; 1] = [row("trace.otlp", "OTLP")];

const fn row(key: &'static str, feature: &'static str) -> Later {
    Later { key, feature }
}

/// Refuses a reserved key that is set; it is never ignored.
pub(crate) fn check(config: &Config) -> Result<(), ConfigError> {
    let (Ok(ours), Ok(defaults)) = (toml::Value::try_from(config), toml::Value::try_from(Config::default())) else {
        return Ok(());
    };
    for later in &LATER {
        let (Some(value), Some(default)) = (at(&ours, later.key), at(&defaults, later.key)) else { continue };
        if value != default {
            return Err(refusal(later.key.to_owned(), value, later.feature, &as_toml(default)));
        }
    }
    Ok(())
}

fn refusal(key: String, value: &impl serde::Serialize, feature: &str, expected: &str) -> ConfigError {
    ConfigError::Later { key, value: as_toml(value), feature: feature.to_owned(), expected: expected.to_owned() }
}

/// The value at a dotted key.
pub(crate) fn at<'a>(tree: &'a toml::Value, key: &str) -> Option<&'a toml::Value> {
    key.split('.').try_fold(tree, |tree, part| tree.get(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_names_a_key_that_exists() {
        let defaults = toml::Value::try_from(Config::default()).unwrap();
        for later in &LATER {
            assert!(at(&defaults, later.key).is_some(), "{}", later.key);
        }
    }
}
