//! The bearer token of a listener for HTTP.

use std::fmt;
use std::hint::black_box;
use std::io;
use std::path::Path;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

/// The bearer token that clients must send, if one is configured. Source: RFC 6750 §2.1.
#[derive(Clone)]
pub(crate) struct Token(Option<Box<[u8]>>);

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TokenError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It holds no token, or more than one line.
    #[error("expected a file with one token of printable characters without blanks")]
    NoToken,
}

impl Token {
    /// Reads the token in a file; no path: everyone is let in.
    ///
    /// # Errors
    ///
    /// [`TokenError`]
    pub(crate) fn read(path: &Path) -> Result<Self, TokenError> {
        if path.as_os_str().is_empty() {
            return Ok(Self(None));
        }
        let text = std::fs::read(path)?;
        let token = text.trim_ascii();
        if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
            return Err(TokenError::NoToken);
        }
        Ok(Self(Some(token.into())))
    }

    /// Whether a token is asked for at all.
    pub(crate) fn is_required(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a request with these headers is let in.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.0 else { return true };
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().split_at_checked("Bearer ".len()));
        shown.is_some_and(|(scheme, shown)| scheme.eq_ignore_ascii_case(b"Bearer ") && is_same(token, shown.trim_ascii()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_required() { "Token(hidden)" } else { "Token(none)" })
    }
}

/// Constant-time comparison, except for the length.
fn is_same(token: &[u8], shown: &[u8]) -> bool {
    let difference = token.iter().zip(shown).fold(0, |difference, (a, b)| black_box(difference | (a ^ b)));
    token.len() == shown.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn lets_in_who_shows_the_token_of_the_file() {
        let token = Token::read(file("s3cret\n").path()).unwrap();
        for (shown, want) in [
            (Some("Bearer s3cret"), true),
            (Some("bearer s3cret"), true),
            (Some("Bearer  s3cret "), true),
            (Some("Bearer s3cre"), false),
            (Some("Bearer s3cret2"), false),
            (Some("Bearer S3cret"), false),
            (Some("Bearer "), false),
            (Some("Basic s3cret"), false),
            (Some("s3cret"), false),
            (None, false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(shown) = shown {
                headers.insert(AUTHORIZATION, shown.parse().unwrap());
            }
            assert_eq!(token.admits(&headers), want, "{shown:?}");
        }
        assert_eq!(format!("{token:?}"), "Token(hidden)");
        assert!(Token::read(Path::new("")).unwrap().admits(&HeaderMap::new()), "no file, no token");
    }

    #[test]
    fn a_file_without_a_token_is_refused() {
        for text in ["", " \n", "two words", "two\nlines"] {
            assert!(matches!(Token::read(file(text).path()), Err(TokenError::NoToken)), "{text:?}");
        }
        assert!(matches!(Token::read(Path::new("/nowhere/token")), Err(TokenError::Unreadable(_))));
    }
}
