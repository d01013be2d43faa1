//! What a script says, by `log`, `print` and `debug`: a line of our log, or, in a run that is only tried, kept for who tries it.

use std::cell::RefCell;

use crate::bus::service::reason_text;

/// Most lines kept of one run.
const MAX_LINES: usize = 128;

thread_local! {
    /// What was said in the run on this thread, where it is kept. A run never leaves its thread.
    static KEPT: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Which function said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Log,
    Print,
    Debug,
}

/// Says a line.
pub(super) fn say(kind: Line, text: &str) {
    let text = reason_text(text);
    let is_kept = KEPT.with_borrow_mut(|kept| match kept {
        Some(lines) => {
            if lines.len() < MAX_LINES {
                lines.push(text.clone());
            }
            true
        }
        None => false,
    });
    match kind {
        _ if is_kept => {}
        Line::Log => tracing::info!(%text, "route log"),
        Line::Print => tracing::info!(%text, "route print"),
        Line::Debug => tracing::debug!(%text, "route debug"),
    }
}

/// What `run` returns, and what was said meanwhile.
pub(super) fn keep<T>(run: impl FnOnce() -> T) -> (T, Vec<String>) {
    KEPT.set(Some(Vec::new()));
    let outcome = run();
    (outcome, KEPT.take().unwrap_or_default())
}
