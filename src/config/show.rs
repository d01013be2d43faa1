//! The configuration as text, with secrets hidden and what differs from the default marked.

use std::fmt::Write;

use toml::Value;

use super::Config;
use super::paths::PATHS;

/// Replaces a secret.
const HIDDEN: &str = "***";
/// The mark of a table that is not there by default.
const NO_DEFAULT: &str = "  # default: none";

impl Config {
    /// The effective configuration as TOML: every key, secrets hidden, after what differs from the default a comment that names it.
    ///
    /// Relative paths are made absolute, so it can be loaded from anywhere. Secrets are given as paths; only the user part of
    /// `nats.url` can hold one.
    #[must_use]
    pub(crate) fn to_toml(&self) -> String {
        let mut shown = self.clone();
        shown.nats.url = hide_user(&shown.nats.url);
        let (Ok(Value::Table(mut shown)), Ok(Value::Table(mut defaults))) = (Value::try_from(&shown), Value::try_from(Self::default()))
        else {
            return String::new();
        };
        for key in PATHS {
            make_absolute(&mut shown, key);
            make_absolute(&mut defaults, key);
        }
        let mut out = String::new();
        write_table(&mut out, "", &shown, Some(&defaults));
        out
    }

    /// What is allowed and was hardly meant.
    #[must_use]
    pub(crate) fn warnings(&self) -> Vec<String> {
        let is_hidden = hide_user(&self.nats.url) != self.nats.url;
        let warning = "nats.url holds a user or a password, which is not shown: nats.user and nats.password_file keep it apart";
        is_hidden.then(|| warning.to_owned()).into_iter().collect()
    }
}

/// The same path from wherever it is looked at.
fn make_absolute(table: &mut toml::Table, key: &str) {
    match key.split_once('.') {
        Some((section, key)) => {
            if let Some(Value::Table(table)) = table.get_mut(section) {
                make_absolute(table, key);
            }
        }
        None => {
            if let Some(Value::String(path)) = table.get_mut(key).filter(|path| path.as_str() != Some(""))
                && let Some(absolute) = std::path::absolute(&*path).ok().and_then(|absolute| absolute.into_os_string().into_string().ok())
            {
                *path = absolute;
            }
        }
    }
}

/// The keys of a table, then the tables in it. Without `defaults` the table itself is none of the defaults.
fn write_table(out: &mut String, path: &str, table: &toml::Table, defaults: Option<&toml::Table>) {
    let is_table = |value: &Value| match value {
        Value::Table(_) => true,
        Value::Array(items) => items.iter().any(Value::is_table),
        _ => false,
    };
    for (key, value) in table.iter().filter(|(_, value)| !is_table(value)) {
        let _infallible = write!(out, "{} = {value}", quoted(key));
        match defaults.and_then(|defaults| defaults.get(key)) {
            Some(default) if default != value => {
                let _infallible = writeln!(out, "  # default: {}", one_line(default));
            }
            _ => out.push('\n'),
        }
    }
    for (key, value) in table.iter().filter(|(_, value)| is_table(value)) {
        let below = if path.is_empty() { quoted(key) } else { format!("{path}.{}", quoted(key)) };
        let default = defaults.and_then(|defaults| defaults.get(key)).and_then(Value::as_table);
        // below a table that is marked nothing more is
        let mark = if defaults.is_some() && default.is_none() { NO_DEFAULT } else { "" };
        match value {
            Value::Table(table) => {
                let _infallible = writeln!(out, "\n[{below}]{mark}");
                write_table(out, &below, table, default);
            }
            Value::Array(items) => {
                for table in items.iter().filter_map(Value::as_table) {
                    let _infallible = writeln!(out, "\n[[{below}]]{mark}");
                    write_table(out, &below, table, None);
                }
            }
            _ => {}
        }
    }
}

/// A key as it stands in TOML.
fn quoted(key: &str) -> String {
    let is_bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if is_bare { key.to_owned() } else { one_line(&Value::from(key)) }
}

/// `nats://user:password@host` → `nats://***@host`, for each of a list of URLs.
pub(crate) fn hide_user(urls: &str) -> String {
    urls.split(',').map(hide_user_of_one).collect::<Vec<_>>().join(",")
}

fn hide_user_of_one(url: &str) -> String {
    let Some((before, host)) = url.rsplit_once('@') else { return url.to_owned() };
    let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
    if scheme.is_empty() { format!("{HIDDEN}@{host}") } else { format!("{scheme}://{HIDDEN}@{host}") }
}

/// A value as TOML on one line.
pub(crate) fn one_line(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains("://") => Value::String(hide_user(text)).to_string(),
        other => other.to_string().replace('\n', " ").trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ProfileConfig;
    use crate::feature::FeatureConfig;

    #[test]
    fn hides_whatever_stands_before_the_host_of_a_url() {
        for (url, want) in [
            ("nats://10.0.0.1:4222", "nats://10.0.0.1:4222"),
            ("nats://dfks:s3cret@10.0.0.1:4222", "nats://***@10.0.0.1:4222"),
            ("tls://token@a,nats://u:p@ss@b,c", "tls://***@a,nats://***@b,c"),
            ("u:p@host", "***@host"),
            ("", ""),
        ] {
            assert_eq!(hide_user(url), want, "{url}");
        }
    }

    #[test]
    fn the_shown_configuration_reads_back_as_the_same_and_names_what_differs() {
        let mut config = Config::default();
        config.nats.data_dir = std::path::absolute(&config.nats.data_dir).unwrap();
        assert_eq!(Config::default().to_toml(), config.to_toml(), "from wherever");
        assert!(!config.to_toml().contains('#'), "{}", config.to_toml());
        config.sip.edge_id = "e1".into();
        config.sip.auth.trusted = vec!["10.0.0.0/8".into()];
        config.log.level = "debug".into();
        let agent = "Acme\n\"Desk\"".to_owned();
        config.profile = vec![ProfileConfig { user_agent: agent, ..ProfileConfig::default() }; 2];
        let values = [("ends".to_owned(), ("endTime".to_owned(), "end\"Time".to_owned()))].into();
        config
            .features
            .tables
            .insert("Night Mode".into(), FeatureConfig { request_root: "SetNight".into(), values, ..FeatureConfig::default() });
        let text = config.to_toml();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config, "{text}");
        for line in [
            "edge_id = \"e1\"  # default: \"\"",
            "trusted = [\"10.0.0.0/8\"]  # default: []",
            "level = \"debug\"  # default: \"info\"",
            "[[profile]]  # default: none",
            "[features.\"Night Mode\"]  # default: none",
            "request_root = \"SetNight\"",
            "mode = \"none\"",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
