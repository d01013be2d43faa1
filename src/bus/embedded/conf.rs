//! The server's configuration file: written at each start, for our eyes alone.

use std::fmt::{self, Write as _};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::bus::error::BusError;
use crate::bus::login::secret;
use crate::config::NatsConfig;

/// In `nats.data_dir`: the URL of the server that runs on it.
pub(crate) const URL_FILE: &str = "nats.url";

/// What a client has to show.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing: whoever reaches the server may do everything.
    Open,
    /// A user and its password.
    User {
        user: String,
        password: String,
    },
    Token(String),
}

impl Access {
    /// As our own clients show it.
    ///
    /// # Errors
    ///
    /// [`BusError`] for a file that cannot be read or is empty.
    pub(super) async fn of(config: &NatsConfig) -> Result<Self, BusError> {
        if !config.user.is_empty() {
            let password = secret("nats.password_file", &config.password_file).await?;
            return Ok(Self::User { user: config.user.clone(), password });
        }
        if !config.token_file.as_os_str().is_empty() {
            return Ok(Self::Token(secret("nats.token_file", &config.token_file).await?));
        }
        Ok(Self::Open)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::User { .. } => "User",
            Self::Token(_) => "Token",
        })
    }
}

/// Writes the file anew: what an earlier version left may be readable by others.
pub(super) fn write(file: &Path, listen: SocketAddr, data_dir: &Path, domain: &str, access: &Access) -> io::Result<()> {
    let draft = file.with_extension("conf.new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    written.write_all(text(listen, data_dir, domain, access).as_bytes())?;
    fs::rename(&draft, file)
}

fn text(listen: SocketAddr, data_dir: &Path, domain: &str, access: &Access) -> String {
    let port = if listen.port() == 0 { "-1".to_owned() } else { listen.port().to_string() };
    let host = match listen {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    let authorization = match access {
        Access::Open => String::new(),
        Access::User { user, password } => format!("authorization {{ user: {}, password: {} }}\n", quoted(user), quoted(password)),
        Access::Token(token) => format!("authorization {{ token: {} }}\n", quoted(token)),
    };
    // the server makes a directory "jetstream" in it
    let store_dir = quoted(&data_dir.to_string_lossy());
    let domain = if domain.is_empty() { String::new() } else { format!(", domain: {}", quoted(domain)) };
    format!(
        "# Written by dfks at each start: changes made here are lost.\n\
         # For a server with settings of your own, run one and name it in nats.url.\n\
         server_name: \"dfks-embedded\"\n\
         listen: \"{host}:{port}\"\n\
         jetstream {{ store_dir: {store_dir}{domain} }}\n\
         {authorization}"
    )
}

/// A text as the server reads it from its file.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_ascii_control() => {
                let _infallible = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn holds_any_path_and_any_secret() {
        let access = Access::User { user: "dfks".into(), password: "a\"b\\c\td$e".into() };
        let text = text("[::1]:0".parse().unwrap(), Path::new(r#"/a "b"\c"#), "hub", &access);
        assert!(text.contains(r#"listen: "[::1]:-1""#), "{text}");
        assert!(text.contains(r#"store_dir: "/a \"b\"\\c", domain: "hub" }"#), "{text}");
        assert!(text.contains(r#"authorization { user: "dfks", password: "a\"b\\c\x09d$e" }"#), "{text}");
        assert_eq!(format!("{access:?}"), "User");
    }

    #[test]
    fn is_ours_alone_also_where_it_was_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("nats-server.conf");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        write(&file, "127.0.0.1:0".parse().unwrap(), dir.path(), "", &Access::Token("t".into())).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::read_to_string(&file).unwrap().contains("authorization { token: \"t\" }"));
    }
}
