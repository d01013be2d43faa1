//! A context of the `nats` CLI: server and login by a name. Source: ADR-21, `natscontext` of nats-io/jsm.go.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::exit::Failure;
use crate::bus::login::Login;
use crate::config::NatsTlsConfig;

/// Where a context without a URL leads.
const DEFAULT_URL: &str = "nats://127.0.0.1:4222";
/// Inboxes of the `nats` CLI where a context names no others.
const DEFAULT_INBOX: &str = "_INBOX";

/// What a context says of the way to NATS.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Context {
    pub(super) url: String,
    pub(super) login: Login,
    pub(super) tls: NatsTlsConfig,
    pub(super) is_tls_first: bool,
    pub(super) inbox_prefix: String,
    /// JetStream domain.
    pub(super) domain: String,
}

/// `~/.config/nats/context/NAME.json`. Fields that are not here do not concern us.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct File {
    url: String,
    user: String,
    password: String,
    token: String,
    creds: String,
    nkey: String,
    user_jwt: String,
    user_seed: String,
    cert: String,
    key: String,
    ca: String,
    inbox_prefix: String,
    jetstream_domain: String,
    tls_first: bool,
    nsc: String,
    socks_proxy: String,
}

/// Ways to look a secret up that only the `nats` CLI knows.
const LOOKED_UP: [&str; 5] = ["op://", "nsc://", "env://", "file://", "data:"];

impl Context {
    /// The context of this name; the one that is selected where it is empty.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`], which names the context, its file and the field.
    pub(super) fn load(name: &str) -> Result<Self, Failure> {
        let folder = folder().ok_or_else(|| Failure::Usage("--context: neither XDG_CONFIG_HOME nor HOME is set".to_owned()))?;
        let name = if name.is_empty() { selected(&folder)? } else { name.to_owned() };
        if name.contains("..") || name.contains('/') || name.contains('\\') {
            return Err(Failure::Usage(format!("--context '{name}': expected the name of a context, as `nats context ls` shows it")));
        }
        let path = folder.join("context").join(format!("{name}.json"));
        let wrong = |reason: String| Failure::Usage(format!("--context '{name}': {} {reason}", path.display()));
        let text = fs::read_to_string(&path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let file: File = serde_json::from_str(&text).map_err(|error| wrong(format!("is no context: {error}")))?;
        file.into_context(&path).map_err(wrong)
    }
}

impl File {
    fn into_context(self, path: &Path) -> Result<Context, String> {
        for (field, value) in [("nsc", &self.nsc), ("socks_proxy", &self.socks_proxy)] {
            if !value.is_empty() {
                return Err(format!("has {field}, which dfks does not know: give user, token, nkey or creds, or --config"));
            }
        }
        let fields = [
            ("user", &self.user),
            ("password", &self.password),
            ("token", &self.token),
            ("creds", &self.creds),
            ("nkey", &self.nkey),
            ("user_jwt", &self.user_jwt),
            ("user_seed", &self.user_seed),
        ];
        if let Some((field, _)) = fields.into_iter().find(|(_, value)| LOOKED_UP.iter().any(|scheme| value.starts_with(scheme))) {
            return Err(format!("has its {field} looked up elsewhere, which dfks cannot do: write it into the context, or use --config"));
        }
        let login = self.login(path)?;
        let file = |name: &str| if name.is_empty() { PathBuf::new() } else { expanded(name) };
        Ok(Context {
            login,
            tls: NatsTlsConfig { ca: file(&self.ca), certificate: file(&self.cert), key: file(&self.key) },
            url: if self.url.is_empty() { DEFAULT_URL.to_owned() } else { self.url },
            is_tls_first: self.tls_first,
            inbox_prefix: if self.inbox_prefix.is_empty() { DEFAULT_INBOX.to_owned() } else { self.inbox_prefix },
            domain: self.jetstream_domain,
        })
    }

    /// The first that there is, in the order of the `nats` CLI.
    fn login(&self, path: &Path) -> Result<Login, String> {
        let read = |field: &str, name: &str| {
            let file = expanded(name);
            match fs::read_to_string(&file) {
                Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
                Ok(_) => Err(format!("names in {field} the file {}, which is empty", file.display())),
                Err(error) => Err(format!("names in {field} the file {}, which cannot be read: {error}", file.display())),
            }
        };
        Ok(if !self.user.is_empty() {
            Login::User { user: self.user.clone(), password: self.password.clone() }
        } else if !self.creds.is_empty() {
            Login::Credentials { text: read("creds", &self.creds)?, path: expanded(&self.creds) }
        } else if !self.user_jwt.is_empty() {
            Login::Credentials { text: credentials(&self.user_jwt, &self.user_seed), path: path.to_owned() }
        } else if !self.nkey.is_empty() {
            Login::Nkey(read("nkey", &self.nkey)?)
        } else if !self.token.is_empty() {
            Login::Token(self.token.clone())
        } else {
            Login::Url
        })
    }
}

/// A user JWT and its seed as they stand in a `.creds` file.
fn credentials(jwt: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

/// `$XDG_CONFIG_HOME/nats`, else `~/.config/nats`.
fn folder() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config"))).map(|config| config.join("nats"))
}

/// The context that `nats context select` chose.
fn selected(folder: &Path) -> Result<String, Failure> {
    let name = fs::read_to_string(folder.join("context.txt")).unwrap_or_default();
    match name.trim() {
        "" => Err(Failure::Usage("--context '': no context is selected: `nats context select` does it, or name one".to_owned())),
        name => Ok(name.to_owned()),
    }
}

/// `~/…` is in the home folder.
fn expanded(name: &str) -> PathBuf {
    match (name.strip_prefix("~/"), env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Context, String> {
        serde_json::from_str::<File>(json).unwrap().into_context(Path::new("/contexts/lab.json"))
    }

    #[test]
    fn takes_what_the_nats_cli_writes() {
        let context = read(
            r#"{"description":"lab","url":"tls://a:4222,tls://b:4222","token":"","user":"portal","password":"s3cret","creds":"","nkey":"",
                "cert":"/c.pem","key":"/k.pem","ca":"/ca.pem","nsc":"","jetstream_domain":"hub","jetstream_api_prefix":"",
                "inbox_prefix":"_INBOX_portal","user_jwt":"","color_scheme":"","tls_first":true}"#,
        );
        let want = Context {
            url: "tls://a:4222,tls://b:4222".into(),
            login: Login::User { user: "portal".into(), password: "s3cret".into() },
            tls: NatsTlsConfig { ca: "/ca.pem".into(), certificate: "/c.pem".into(), key: "/k.pem".into() },
            is_tls_first: true,
            inbox_prefix: "_INBOX_portal".into(),
            domain: "hub".into(),
        };
        assert_eq!(context.unwrap(), want);
        let empty = read("{}").unwrap();
        assert_eq!((empty.url.as_str(), empty.login, empty.inbox_prefix.as_str()), (DEFAULT_URL, Login::Url, "_INBOX"));
        assert_eq!(read(r#"{"token":"t"}"#).unwrap().login, Login::Token("t".into()));
        let jwt = read(r#"{"user_jwt":"ey.J","user_seed":"SUA"}"#).unwrap().login;
        let Login::Credentials { text, .. } = jwt else { panic!("{jwt:?}") };
        assert!(text.contains("JWT-----\ney.J\n") && text.contains("SEED-----\nSUA\n"), "{text}");
    }

    #[test]
    fn says_what_it_cannot_take() {
        for (json, want) in [
            (r#"{"nsc":"nsc://o/a/u"}"#, "has nsc, which dfks does not know"),
            (r#"{"socks_proxy":"socks5://p"}"#, "has socks_proxy, which dfks does not know"),
            (r#"{"user":"u","password":"op://vault/x"}"#, "has its password looked up elsewhere"),
            (r#"{"creds":"/nowhere/a.creds"}"#, "names in creds the file /nowhere/a.creds, which cannot be read: "),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.starts_with(want), "{error}");
        }
    }
}
