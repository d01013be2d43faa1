//! How a client logs in: what the configuration names by files, read, or what a command line brings along.

use std::fmt;
use std::path::{Path, PathBuf};

use async_nats::{ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;

use crate::bus::error::BusError;
use crate::config::NatsConfig;

/// One way to log in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Login {
    /// As the URL says: `nats://user:password@host`, `nats://token@host`, or not at all.
    Url,
    /// A user JWT with its seed, as in a `.creds` file.
    Credentials {
        /// The file that it came from.
        path: PathBuf,
        /// The file's text.
        text: String,
    },
    User {
        user: String,
        password: String,
    },
    Token(String),
    /// The seed.
    Nkey(String),
}

/// How a client comes to NATS, where its configuration does not say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// In place of that of the configuration.
    pub(crate) login: Option<Login>,
    /// First tokens of its inboxes.
    pub(crate) inbox_prefix: String,
    /// Whether it begins with TLS, before the server says anything.
    pub(crate) is_tls_first: bool,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url => "Url",
            Self::Credentials { .. } => "Credentials",
            Self::User { .. } => "User",
            Self::Token(_) => "Token",
            Self::Nkey(_) => "Nkey",
        })
    }
}

impl Login {
    /// The one that `[nats]` names.
    ///
    /// # Errors
    ///
    /// [`BusError`] for a file that cannot be read, or logins of two kinds.
    pub(crate) async fn of(config: &NatsConfig) -> Result<Self, BusError> {
        let set: Vec<_> = [
            ("nats.credentials_file", !config.credentials_file.as_os_str().is_empty()),
            ("nats.user", !config.user.is_empty()),
            ("nats.token_file", !config.token_file.as_os_str().is_empty()),
            ("nats.nkey_file", !config.nkey_file.as_os_str().is_empty()),
        ]
        .into_iter()
        .filter_map(|(key, is_set)| is_set.then_some(key))
        .collect();
        match *set.as_slice() {
            [] => Ok(Self::Url),
            ["nats.credentials_file"] => {
                let path = config.credentials_file.clone();
                Ok(Self::Credentials { text: secret("nats.credentials_file", &path).await?, path })
            }
            ["nats.user"] => {
                let password = secret("nats.password_file", &config.password_file).await?;
                Ok(Self::User { user: config.user.clone(), password })
            }
            ["nats.token_file"] => Ok(Self::Token(secret("nats.token_file", &config.token_file).await?)),
            [_nkey] => Ok(Self::Nkey(secret("nats.nkey_file", &config.nkey_file).await?)),
            [first, second, ..] => Err(BusError::Ambiguous { first, second }),
        }
    }

    /// Has a client of the servers of `url` log in so.
    ///
    /// # Errors
    ///
    /// [`BusError::Credentials`]
    pub(super) fn apply(self, url: &str, options: ConnectOptions) -> Result<ConnectOptions, BusError> {
        Ok(match self {
            Self::Url => with_user_of_url(url, options),
            Self::Credentials { path, text } => {
                // the client takes the last line only with its end
                options.credentials(&format!("{text}\n")).map_err(|source| BusError::Credentials { path, source })?
            }
            Self::User { user, password } => options.user_and_password(user, password),
            Self::Token(token) => options.token(token),
            Self::Nkey(seed) => options.nkey(seed),
        })
    }
}

/// The servers of `nats.url`.
///
/// # Errors
///
/// [`BusError::Url`]
pub(crate) fn servers(url: &str) -> Result<Vec<ServerAddr>, BusError> {
    let entries = url.split(',').map(str::trim).enumerate();
    entries.map(|(n, entry)| entry.parse().map_err(|source| BusError::Url { position: n + 1, source })).collect()
}

/// User and password, or token, as they may stand in the URL of the first server that has one: `nats://user:password@host`.
fn with_user_of_url(url: &str, options: ConnectOptions) -> ConnectOptions {
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let Some(server) = servers(url).unwrap_or_default().into_iter().find(ServerAddr::has_user_pass) else { return options };
    match (server.username(), server.password()) {
        (Some(user), Some(password)) => options.user_and_password(plain(user), plain(password)),
        (Some(token), None) => options.token(plain(token)),
        (None, _) => options,
    }
}

/// The text of a file that a key names.
///
/// # Errors
///
/// [`BusError::File`], [`BusError::EmptyFile`]
pub(super) async fn secret(key: &'static str, path: &Path) -> Result<String, BusError> {
    let text = tokio::fs::read_to_string(path).await.map_err(|source| BusError::File { key, path: path.into(), source })?;
    match text.trim() {
        "" => Err(BusError::EmptyFile { key, path: path.into() }),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn is_of_one_kind() {
        let config = NatsConfig { user: "edge".into(), token_file: "token".into(), ..NatsConfig::default() };
        let error = Login::of(&config).await.unwrap_err();
        assert!(matches!(error, BusError::Ambiguous { first: "nats.user", second: "nats.token_file" }), "{error}");
        assert_eq!(Login::of(&NatsConfig::default()).await.unwrap(), Login::Url);
    }

    #[tokio::test]
    async fn names_the_key_of_a_secret_that_is_missing() {
        let config = NatsConfig { user: "edge".into(), password_file: "/nowhere/password".into(), ..NatsConfig::default() };
        let error = Login::of(&config).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere/password of nats.password_file");
    }

    #[test]
    fn is_not_shown() {
        let login = Login::User { user: "edge".into(), password: "s3cret".into() };
        assert_eq!(format!("{login:?} {:?}", Login::Token("t0ken".into())), "User Token");
    }
}
