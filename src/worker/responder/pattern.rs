//! Which responders are meant: by subject, with wildcards, or by domain. Pure.

use crate::bus::subject::Subjects;
use crate::feature::presentity::domain_token;

/// The form in which responders are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Box<str>>);

/// The text names no responders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected dfks.responder.<kind>.<domain>.<Feature>, * for any part, > for the rest, or a domain")]
pub(crate) struct PatternError;

impl Pattern {
    /// Reads `dfks.responder.set.example_com.DoNotDisturb`, `dfks.responder.*.example_com.>`, `set.*.*` or `example.com`.
    ///
    /// # Errors
    ///
    /// [`PatternError`]
    pub(crate) fn parse(subjects: &Subjects, text: &str) -> Result<Self, PatternError> {
        let text = text.trim();
        let key = subjects.responder_key(text);
        let tokens: Vec<Box<str>> = key.unwrap_or(text).split('.').map(Into::into).collect();
        let is_kind = tokens.first().is_some_and(|kind| matches!(&**kind, "get" | "set" | "*" | ">"));
        if key.is_some() || is_kind && (tokens.len() == 3 || tokens.last().is_some_and(|last| &**last == ">")) {
            let ends = tokens.iter().position(|token| &**token == ">").map(|at| at + 1);
            let is_whole = if ends.is_some() { ends == Some(tokens.len()) && tokens.len() <= 3 } else { tokens.len() == 3 };
            let is_named = tokens.iter().all(|token| !token.is_empty() && !token.contains(char::is_whitespace));
            return if is_whole && is_named && is_kind { Ok(Self(tokens)) } else { Err(PatternError) };
        }
        let is_domain = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || matches!(c, '*' | '>' | '@'));
        if is_domain { Ok(Self(vec!["*".into(), domain_token(text).into(), "*".into()])) } else { Err(PatternError) }
    }

    /// Whether a key `<kind>.<domain>.<Feature>` is meant.
    pub(crate) fn takes(&self, key: &str) -> bool {
        let mut tokens = key.split('.');
        for wanted in &self.0 {
            match (&**wanted, tokens.next()) {
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (wanted, Some(token)) if wanted == token => {}
                _ => return false,
            }
        }
        tokens.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_responders_by_subject_and_by_domain() {
        let subjects = Subjects::new("dfks");
        let keys =
            ["get.example_com.DoNotDisturb", "set.example_com.DoNotDisturb", "set.b_example.CallForwardingBusy", "set.tel.DoNotDisturb"];
        for (text, want) in [
            ("dfks.responder.set.example_com.DoNotDisturb", &[1][..]),
            ("dfks.responder.*.example_com.DoNotDisturb", &[0, 1]),
            ("dfks.responder.set.>", &[1, 2, 3]),
            ("dfks.responder.>", &[0, 1, 2, 3]),
            ("set.*.DoNotDisturb", &[1, 3]),
            ("set.>", &[1, 2, 3]),
            (">", &[0, 1, 2, 3]),
            ("Example.COM", &[0, 1]),
            ("example_com", &[0, 1]),
            ("tel", &[3]),
            ("elsewhere.example", &[]),
        ] {
            let pattern = Pattern::parse(&subjects, text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let found: Vec<_> = keys.iter().enumerate().filter(|(_, key)| pattern.takes(key)).map(|(at, _)| at).collect();
            assert_eq!(found, want, "{text}");
        }
        let wrong =
            ["", "dfks.responder.set", "dfks.responder.put.a.b", "dfks.responder.set.>.b", "dfks.responder.set..b", "*@a", "a b", "set.*"];
        for text in wrong {
            assert_eq!(Pattern::parse(&subjects, text), Err(PatternError), "{text}");
        }
    }
}
