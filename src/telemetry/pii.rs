//! Presentities and watchers in the log: shown at `debug` and below, masked everywhere else.

use std::cell::Cell;
use std::fmt;

thread_local! {
    /// Whether the log line that is being written on this thread may show them.
    static SHOWN: Cell<bool> = const { Cell::new(false) };
}

/// A presentity, watcher or other URI of a person as a field of the log.
///
/// Shows `sip:alice@10.0.0.11` in an event at `debug` or `trace`, `sip:***@10.0.0.11` in any other, and wherever else it is
/// formatted: a span's field, an error text.
///
/// Use: `tracing::debug!(presentity = %Pii(&presentity), "subscription stored")`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pii<T>(pub T);

impl<T: fmt::Display> fmt::Display for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if SHOWN.get() { self.0.fmt(f) } else { f.write_str(&masked(&self.0.to_string())) }
    }
}

impl<T: fmt::Display> fmt::Debug for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes one log line, with [`Pii`] shown or masked.
pub(crate) fn with_shown<R>(shown: bool, write: impl FnOnce() -> R) -> R {
    let before = SHOWN.replace(shown);
    let result = write();
    SHOWN.set(before);
    result
}

/// The scheme and the host stay, what names the person goes.
fn masked(text: &str) -> String {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    let has_scheme = ["sip", "sips", "tel"].contains(&scheme.to_ascii_lowercase().as_str());
    let host = text.rsplit_once('@').map(|(_, host)| host);
    let mut out = String::new();
    if has_scheme {
        out.push_str(scheme);
        out.push(':');
    }
    out.push_str("***");
    if let Some(host) = host {
        out.push('@');
        out.push_str(host);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_what_names_the_person() {
        for (text, want) in [
            ("sip:alice@10.0.0.11", "sip:***@10.0.0.11"),
            ("SIPS:alice:secret@example.com", "SIPS:***@example.com"),
            ("tel:+31201234567", "tel:***"),
            ("\"Alice\" <sip:alice@h>", "***@h>"),
            ("alice", "***"),
            ("a@b@h", "***@h"),
            ("", "***"),
        ] {
            assert_eq!(Pii(text).to_string(), want);
            assert_eq!(format!("{:?}", Pii(text)), want);
            assert_eq!(with_shown(true, || Pii(text).to_string()), text);
        }
    }
}
