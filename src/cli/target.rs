//! Which NATS a client command speaks to, and as whom: what stands on the command line, over a context, over a configuration, over
//! the environment.

use std::env;
use std::error::Error;
use std::path::PathBuf;

use super::args::ClientArgs;
use super::context::Context;
use super::exit::{Failure, chain};
use super::load::load_nats;
use crate::bus::Arrival;
use crate::bus::embedded::URL_FILE;
use crate::bus::login::Login;
use crate::config::NatsConfig;

/// Asked where no server is named.
const DEFAULT_URL: &str = "nats://127.0.0.1:4222";
/// Where answers to client commands come in, unless said otherwise.
const INBOX: &str = "_INBOX_cli";

/// A way to NATS.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) nats: NatsConfig,
    pub(super) arrival: Arrival,
    given: Given,
}

/// Under which names it was given.
#[derive(Debug, Default)]
struct Given {
    /// Keys of a configuration, and what stood for them.
    names: Vec<(&'static str, &'static str)>,
    by_file: bool,
}

impl Target {
    /// Takes each thing from where it is named first: `--nats` (with a login, where it has one), `--creds`, `--prefix`,
    /// `--inbox-prefix`; `--context`; `--config` or `DFKS_CONFIG`; `NATS_URL` and `NATS_CREDS`.
    ///
    /// # Errors
    ///
    /// [`Failure`], which names it as it was given.
    pub(super) fn of(args: &ClientArgs) -> Result<Self, Failure> {
        let context = args.context.as_deref().map(Context::load).transpose()?;
        let configured = load_nats(&args.config)?;
        let mut given = Given { by_file: configured.is_some(), names: Vec::new() };
        let mut nats = configured.unwrap_or_default();
        let mut arrival = Arrival { login: None, inbox_prefix: INBOX.to_owned(), is_tls_first: false };
        let creds = creds(args, context.is_some() || has_login(&nats), &mut given)?;
        if let Some(context) = context {
            (nats.url, nats.tls, nats.domain) = (context.url, context.tls, context.domain);
            forget_login(&mut nats);
            arrival = Arrival { login: Some(context.login), inbox_prefix: context.inbox_prefix, is_tls_first: context.is_tls_first };
            given.by_file = false;
        }
        url(args, &mut nats, &mut given)?;
        if args.nats.as_ref().is_some_and(|url| url.contains('@')) {
            forget_login(&mut nats);
            arrival.login = Some(Login::Url);
        }
        if let Some(creds) = creds {
            forget_login(&mut nats);
            (nats.credentials_file, arrival.login) = (creds, None);
        }
        if let Some(prefix) = &args.prefix {
            nats.prefix.clone_from(prefix);
            given.names.push(("nats.prefix", "--prefix"));
        }
        if args.context.is_some() {
            given.names.push(("nats.", "--context: nats."));
        }
        if let Some(prefix) = &args.inbox_prefix {
            arrival.inbox_prefix.clone_from(prefix);
        }
        let inbox = &arrival.inbox_prefix;
        let is_token = |token: &str| !token.is_empty() && !token.contains(|c: char| c.is_whitespace() || "*>".contains(c));
        if !inbox.split('.').all(is_token) {
            return Err(Failure::Usage(format!("--inbox-prefix '{inbox}': expected tokens of a subject, e.g. _INBOX_portal")));
        }
        let target = Self { nats, arrival, given };
        target.nats.check().map_err(|error| target.as_given(&error))?;
        Ok(target)
    }

    /// A way that cannot be gone, by the names under which it was given.
    pub(super) fn as_given(&self, error: &dyn Error) -> Failure {
        let text = chain(error);
        if let Some((key, name)) = self.given.names.iter().find(|(key, _)| text.contains(key)) {
            return Failure::Usage(text.replace(key, name));
        }
        if self.given.by_file { Failure::Config(text) } else { Failure::Usage(text) }
    }
}

/// `--creds`; `NATS_CREDS` where nothing else says how to log in.
fn creds(args: &ClientArgs, has_login: bool, given: &mut Given) -> Result<Option<PathBuf>, Failure> {
    const KEY: &str = "nats.credentials_file";
    if let Some(creds) = &args.creds {
        given.names.push((KEY, "--creds"));
        return Ok(Some(creds.clone()));
    }
    let from_environment = if has_login { None } else { set("NATS_CREDS")? };
    given.names.extend(from_environment.iter().map(|_| (KEY, "NATS_CREDS")));
    Ok(from_environment.map(PathBuf::from))
}

/// Where to: `--nats`, else what a context or a configuration says, else `NATS_URL`, else the embedded server of a configuration.
fn url(args: &ClientArgs, nats: &mut NatsConfig, given: &mut Given) -> Result<(), Failure> {
    const KEY: &str = "nats.url";
    if let Some(url) = &args.nats {
        nats.url.clone_from(url);
        given.names.push((KEY, "--nats"));
    } else if nats.url.is_empty() {
        nats.url = match set("NATS_URL")? {
            Some(url) => {
                given.names.push((KEY, "NATS_URL"));
                url
            }
            None if given.by_file => url_of_embedded(nats)?,
            None => DEFAULT_URL.to_owned(),
        };
    }
    Ok(())
}

fn has_login(nats: &NatsConfig) -> bool {
    let files = [&nats.credentials_file, &nats.token_file, &nats.nkey_file];
    !nats.user.is_empty() || files.iter().any(|file| !file.as_os_str().is_empty())
}

fn forget_login(nats: &mut NatsConfig) {
    let none = NatsConfig::default();
    (nats.user, nats.password_file, nats.token_file, nats.nkey_file, nats.credentials_file) =
        (none.user, none.password_file, none.token_file, none.nkey_file, none.credentials_file);
}

/// A variable of the environment; none where it is empty.
fn set(name: &str) -> Result<Option<String>, Failure> {
    match env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(value)) => Err(Failure::Usage(format!("{name} = '{}': expected UTF-8", value.display()))),
    }
}

/// Where the embedded server of a configuration listens now.
fn url_of_embedded(nats: &NatsConfig) -> Result<String, Failure> {
    let file = nats.data_dir.join(URL_FILE);
    match std::fs::read_to_string(&file) {
        Ok(url) => Ok(url.trim().to_owned()),
        Err(error) => Err(Failure::NobodyAnswered(format!(
            "no embedded NATS server runs on nats.data_dir {} ({error}): start 'dfks run' with this configuration, or name a server with --nats",
            nats.data_dir.display()
        ))),
    }
}
