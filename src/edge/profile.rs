//! Differences in behaviour for some phone models, by User-Agent. Pure.

use regex::Regex;

use crate::config::{InitialNotify, ProfileConfig};

/// Longest prefix of a User-Agent that is matched, in bytes.
const MAX_USER_AGENT_BYTES: usize = 256;

/// The differences for one phone. The default is the behaviour of the RFCs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quirks {
    /// The 200 to a change has a body.
    pub cisco_response_body: bool,
    /// In place of `sip.initial_notify`.
    pub initial_notify: Option<InitialNotify>,
    /// `Expires` in the 200 to a change is what remains, and the clock goes on.
    pub remaining_expires: bool,
}

/// The `[[profile]]` tables, in order.
#[derive(Debug, Clone, Default)]
pub struct Profiles(Vec<(Regex, Quirks)>);

impl Profiles {
    /// Compiles the tables.
    ///
    /// # Errors
    ///
    /// The first `user_agent` that is no regular expression; a checked configuration has none.
    pub fn new(tables: &[ProfileConfig]) -> Result<Self, regex::Error> {
        let compiled = tables.iter().map(|table| {
            let quirks = Quirks {
                cisco_response_body: table.cisco_response_body,
                initial_notify: table.initial_notify,
                remaining_expires: table.remaining_expires,
            };
            Ok((table.regex()?, quirks))
        });
        compiled.collect::<Result<_, _>>().map(Self)
    }

    /// The first profile whose expression is found in a User-Agent.
    #[must_use]
    pub fn of(&self, user_agent: &str) -> Quirks {
        let end = user_agent.floor_char_boundary(MAX_USER_AGENT_BYTES);
        let user_agent = user_agent.get(..end).unwrap_or_default();
        self.0.iter().find(|(expression, _)| expression.is_match(user_agent)).map(|(_, quirks)| *quirks).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_profile_that_matches_counts() {
        let table = |user_agent: &str| ProfileConfig { user_agent: user_agent.into(), ..ProfileConfig::default() };
        let profiles = Profiles::new(&[
            ProfileConfig { cisco_response_body: true, ..table("^Cisco-CP(78|88)") },
            ProfileConfig { remaining_expires: true, initial_notify: Some(InitialNotify::Sequential), ..table("(?i)cisco|polycom") },
        ])
        .unwrap();
        let second = Quirks { remaining_expires: true, initial_notify: Some(InitialNotify::Sequential), ..Quirks::default() };
        for (user_agent, want) in [
            ("Cisco-CP8841/12.0", Quirks { cisco_response_body: true, ..Quirks::default() }),
            ("Cisco-SPA/1", second),
            ("PolycomVVX", second),
            ("Yealink SIP-T46", Quirks::default()),
            ("", Quirks::default()),
            (&format!("{}polycom", "é".repeat(200)), Quirks::default()),
        ] {
            assert_eq!(profiles.of(user_agent), want, "{user_agent}");
        }
        assert!(Profiles::new(&[table("(")]).is_err());
    }
}
