//! Who asked for a change.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who asked for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A key press on a phone: a SUBSCRIBE with a body.
    Phone,
    /// A command: `dfks.set`, `dfks.command.set` or MI.
    Mi,
    /// Nobody: a responder told a get another state than was known. In events only.
    Responder,
    /// Nobody: the time of a feature is over that was set until then.
    Timer,
}

impl Origin {
    /// Whether it is carried out as a command is: whoever asks is not the phone.
    #[must_use]
    pub(crate) const fn is_command(self) -> bool {
        matches!(self, Self::Mi | Self::Timer)
    }

    /// The word on the bus and in the metric label `origin`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Mi => "mi",
            Self::Responder => "responder",
            Self::Timer => "timer",
        }
    }
}
