//! What a get answers: responder, else store, else default; then the script. Pure.

use crate::feature::{FeatureError, FeatureSpec, FeatureState, FeatureTable, Source};
use crate::worker::answer::Answer;
use crate::worker::change::Change;
use crate::worker::record::Record;

/// The features that a request names, in table order; all when it names none.
///
/// # Errors
///
/// [`FeatureError::Unknown`], answered 400.
pub(crate) fn asked<'t>(table: &'t FeatureTable, features: Option<&[String]>) -> Result<Vec<&'t FeatureSpec>, FeatureError> {
    let Some(names) = features else { return Ok(table.iter().collect()) };
    for name in names {
        table.require(name)?;
    }
    Ok(table.iter().filter(|spec| names.iter().any(|name| name == spec.name())).collect())
}

/// The state before the script, and whether it is news that the store should keep as the last known state.
pub(crate) fn known(spec: &FeatureSpec, record: &Record, answer: &Answer) -> (FeatureState, bool) {
    let stored = record.state(spec);
    let Answer::Change(change) = answer else { return (stored, false) };
    // An answer was checked when it was read; what still does not fit the stored state counts as no answer.
    let Ok(mut state) = change.apply(spec, &stored) else { return (stored, false) };
    state.source = Source::Responder;
    let is_news = !state.shows_same_as(&stored);
    if is_news {
        state.version = stored.version.saturating_add(1);
    }
    (state, is_news)
}

/// The state after the script's get route.
///
/// # Errors
///
/// [`FeatureError`] when the script's values do not fit: the state before the script is served.
pub(crate) fn scripted(spec: &FeatureSpec, before: &FeatureState, change: &Change) -> Result<FeatureState, FeatureError> {
    let mut state = change.apply(spec, before)?;
    if !state.shows_same_as(before) {
        state.source = Source::Script;
    }
    Ok(state)
}

/// The record with the responders' answers as the last known states; `None` when they are no news.
///
/// Runs again on a fresh record when another worker was faster, so that versions only grow.
pub(crate) fn last_known(record: &Record, answers: &[(&FeatureSpec, Answer)]) -> Option<Record> {
    let mut updated = None;
    for (spec, answer) in answers {
        let (state, is_news) = known(spec, record, answer);
        if is_news {
            updated.get_or_insert_with(|| record.clone()).put(&state);
        }
    }
    updated
}
