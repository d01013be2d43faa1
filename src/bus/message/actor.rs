//! Who asks for a change, in words of their own.

use serde::{Deserialize, Deserializer, de};

/// Longest `actor`, in characters.
const MAX_ACTOR_CHARS: usize = 128;

/// Why a text names no actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ActorError {
    /// It is too long.
    #[error("actor has {0} characters: expected at most {MAX_ACTOR_CHARS}")]
    TooLong(usize),
    /// It has a control character.
    #[error("actor has the control character U+{0:04X}: expected none")]
    ControlCharacter(u32),
}

/// Checks who asks: at most 128 characters, none of them a control character.
///
/// # Errors
///
/// [`ActorError`], answered 400.
pub(crate) fn check_actor(text: &str) -> Result<(), ActorError> {
    let chars = text.chars().count();
    if chars > MAX_ACTOR_CHARS {
        return Err(ActorError::TooLong(chars));
    }
    text.chars().find(|character| character.is_control()).map_or(Ok(()), |found| Err(ActorError::ControlCharacter(found.into())))
}

pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let actor = Option::<String>::deserialize(deserializer)?;
    actor.as_deref().map_or(Ok(()), check_actor).map_err(de::Error::custom)?;
    Ok(actor)
}
