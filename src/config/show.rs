//! The configuration as text, with secrets hidden. Pure.

use super::Config;

/// Replaces a secret.
const HIDDEN: &str = "***";

impl Config {
    /// The effective configuration as TOML: every key, secrets hidden.
    ///
    /// Secrets are given as paths; only the user part of `nats.url` can hold one.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut shown = self.clone();
        shown.nats.url = hide_user(&shown.nats.url);
        toml::to_string(&shown).unwrap_or_default()
    }
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
pub(crate) fn one_line(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) if text.contains("://") => toml::Value::String(hide_user(text)).to_string(),
        other => other.to_string().replace('\n', " ").trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_shown_configuration_reads_back_as_the_same() {
        let config = Config::default();
        assert_eq!(toml::from_str::<Config>(&config.to_toml()).unwrap(), config);
    }
}
