//! The configuration that a command works with.

use super::args::ConfigArgs;
use super::exit::Failure;
use crate::config::{AuthMode, Config, NatsConfig};
use crate::edge::io::users_file;
use crate::worker::Script;

/// The configuration as `run` and `check` see it, with every file that it names.
///
/// # Errors
///
/// [`Failure::Config`], which names the key or the file.
pub(super) fn load(args: &ConfigArgs) -> Result<Config, Failure> {
    let config = load_config(args)?;
    script(&config)?;
    let auth = &config.sip.auth;
    if auth.mode == AuthMode::Digest && !auth.users.as_os_str().is_empty() {
        users_file::load(&auth.users).map_err(|error| Failure::Config(error.to_string()))?;
    }
    Ok(config)
}

/// The configuration without what its script holds.
///
/// # Errors
///
/// [`Failure::Config`], which names the key.
pub(super) fn load_config(args: &ConfigArgs) -> Result<Config, Failure> {
    Ok(Config::load(args.config.as_deref(), environment()?)?)
}

/// `[nats]` alone, as a client needs it; none where no file is named.
///
/// # Errors
///
/// [`Failure::Config`], which names the key or the file.
pub(super) fn load_nats(args: &ConfigArgs) -> Result<Option<NatsConfig>, Failure> {
    let Some(path) = &args.config else { return Ok(None) };
    Ok(Some(Config::load_nats(path, environment()?)?))
}

/// What is allowed and was hardly meant.
///
/// # Errors
///
/// [`Failure::Config`] for a script that was good a moment ago.
pub(super) fn warnings(config: &Config) -> Result<Vec<String>, Failure> {
    let mut warnings = config.warnings();
    if let Some(script) = script(config)? {
        warnings.extend_from_slice(script.warnings());
    }
    Ok(warnings)
}

fn script(config: &Config) -> Result<Option<Script>, Failure> {
    if config.routes.script.as_os_str().is_empty() {
        return Ok(None);
    }
    Script::load(&config.routes).map(Some).map_err(|error| Failure::Config(error.to_string()))
}

fn environment() -> Result<Vec<(String, String)>, Failure> {
    let mut env = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with("DFKS__")) else { continue };
        match value.into_string() {
            Ok(value) => env.push((name.to_owned(), value)),
            Err(value) => return Err(Failure::Config(format!("{name} = '{}': expected UTF-8", value.display()))),
        }
    }
    Ok(env)
}
