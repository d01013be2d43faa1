//! What people call the features of phones.

use crate::feature::table::{FeatureSpec, FeatureTable};

const SHORT_NAMES: [(&str, &str); 4] =
    [("DND", "DoNotDisturb"), ("CFA", "CallForwardingAlways"), ("CFB", "CallForwardingBusy"), ("CFNA", "CallForwardingNoAnswer")];

impl FeatureTable {
    /// The feature that a person means: by its name, else by a short one (`DND`, `CFA`, `CFB`, `CFNA`), else by its name in any case.
    #[must_use]
    pub(crate) fn meant(&self, text: &str) -> Option<&FeatureSpec> {
        let short = || SHORT_NAMES.into_iter().find(|(short, _)| short.eq_ignore_ascii_case(text)).and_then(|(_, name)| self.find(name));
        self.find(text).or_else(short).or_else(|| self.iter().find(|spec| spec.name().eq_ignore_ascii_case(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_may_write_a_feature_as_they_are_used_to() {
        let table = FeatureTable::built_in();
        for (text, want) in [
            ("DoNotDisturb", Some("DoNotDisturb")),
            ("donotdisturb", Some("DoNotDisturb")),
            ("dnd", Some("DoNotDisturb")),
            ("CFNA", Some("CallForwardingNoAnswer")),
            ("Cfb", Some("CallForwardingBusy")),
            ("cfa", Some("CallForwardingAlways")),
            ("AGENTSTATE", Some("AgentState")),
            ("CF", None),
            ("", None),
        ] {
            assert_eq!(table.meant(text).map(FeatureSpec::name), want, "{text}");
        }
    }
}
