//! The configuration that a command works with.

use super::args::ConfigArgs;
use super::exit::Failure;
use crate::config::{AuthMode, Config};
use crate::edge::io::users_file;
use crate::worker::Script;

/// The configuration as `run` and `check` see it, with every file that it names.
///
/// # Errors
///
/// [`Failure::Config`], which names the key or the file.
pub(super) fn load(args: &ConfigArgs) -> Result<Config, Failure> {
    let mut env = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with("DFKS__")) else { continue };
        match value.into_string() {
            Ok(value) => env.push((name.to_owned(), value)),
            Err(value) => return Err(Failure::Config(format!("{name} = '{}': expected UTF-8", value.display()))),
        }
    }
    let config = Config::load(args.config.as_deref(), env)?;
    if !config.routes.script.as_os_str().is_empty() {
        Script::load(&config.routes).map_err(|error| Failure::Config(error.to_string()))?;
    }
    let auth = &config.sip.auth;
    if auth.mode == AuthMode::Digest && !auth.users.as_os_str().is_empty() {
        users_file::load(&auth.users).map_err(|error| Failure::Config(error.to_string()))?;
    }
    Ok(config)
}
