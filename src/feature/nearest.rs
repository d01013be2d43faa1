//! Which name was probably meant.

/// Longest text that is compared: no name is longer, and what a peer sends may be.
const LONGEST_CHARS: usize = 64;
/// More typing errors than this, and another name was meant: `CallForwardingNever` is not `CallForwardingBusy`.
const MOST_ERRORS: usize = 3;

/// The name that is nearest to `text`, if one is near: at most three typing errors, and a third of it, without regard to case.
///
/// Of several equally near, the first. Distance: Damerau-Levenshtein (insert, delete, replace, swap neighbours).
#[must_use]
pub(crate) fn nearest<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let text: String = text.chars().take(LONGEST_CHARS + 1).collect::<String>().to_lowercase();
    if text.chars().count() > LONGEST_CHARS {
        return None;
    }
    let rated = names.into_iter().map(|name| (strsim::damerau_levenshtein(&text, &name.to_lowercase()), name));
    let (distance, name) = rated.min_by_key(|(distance, _)| *distance)?;
    (distance <= MOST_ERRORS && distance * 3 <= name.chars().count()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant_is_found_and_none_is_guessed() {
        let names = ["DoNotDisturb", "CallForwardingAlways", "CallForwardingBusy", "CallForwardingNoAnswer", "AgentState", "Hoteling"];
        let long = "DoNotDisturb".repeat(100);
        for (text, want) in [
            ("DoNotDisturbb", Some("DoNotDisturb")),
            ("donotdisturb", Some("DoNotDisturb")),
            ("DoNotDistrub", Some("DoNotDisturb")),
            ("CallForwardingAway", Some("CallForwardingAlways")),
            ("CallForwardBusy", Some("CallForwardingBusy")),
            ("Hotelling", Some("Hoteling")),
            ("AgentStat", Some("AgentState")),
            ("DND", None),
            ("Foo", None),
            ("CallForwardingNever", None),
            ("", None),
            (long.as_str(), None),
        ] {
            assert_eq!(nearest(text, names), want, "{text}");
        }
        assert_eq!(nearest("x", []), None);
    }
}
