//! Entity tags of states: the version, and a digest of what is shown, for a route may show something else without a change. Pure.

use sha2::{Digest, Sha256};

use crate::bus::message::GetResponse;

/// The tag of an answer: the highest version in it, and what its JSON comes to. `"7-5d41402abc4b2a76"`
pub(super) fn of(response: &GetResponse, json: &[u8]) -> String {
    let version = response.features.iter().map(|state| state.version).max().unwrap_or(0);
    let digest = Sha256::digest(json);
    let short = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("\"{version}-{short:016x}\"")
}

/// The version in a tag of ours; `None`: it is no such tag, or several.
pub(super) fn version(tag: &str) -> Option<u64> {
    let (version, digest) = tag.trim().strip_prefix('"')?.strip_suffix('"')?.split_once('-')?;
    digest.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| version.parse().ok())?
}

/// Whether an `If-None-Match` has the tag. Compared weakly. Source: RFC 9110 §13.1.2.
pub(super) fn is_in(if_none_match: &str, tag: &str) -> bool {
    if_none_match.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::message::Kind;
    use crate::feature::FeatureState;

    #[test]
    fn a_tag_follows_the_version_and_what_is_shown() {
        let state = |version| FeatureState { version, ..FeatureState::new("DoNotDisturb") };
        let response = GetResponse { kind: Kind::default(), presentity: "sip:a@h".into(), features: vec![state(3), state(7), state(5)] };
        let tag = of(&response, b"{}");
        assert_eq!(tag, "\"7-44136fa355b3678a\"", "the same at every bridge, and in the next version");
        assert_ne!(tag, of(&response, b"{ }"));
    }

    #[test]
    fn the_version_is_read_out_of_one_tag() {
        for (tag, want) in [
            ("\"7-44136fa355b3678a\"", Some(7)),
            (" \"0-0\" ", Some(0)),
            ("W/\"7-ab\"", None),
            ("\"7-ab\", \"8-ab\"", None),
            ("7-ab", None),
            ("", None),
        ] {
            assert_eq!(version(tag), want, "{tag}");
        }
    }

    #[test]
    fn a_list_of_tags_is_read_as_rfc_9110_has_it() {
        for (header, want) in [
            ("\"7-ab\"", true),
            ("W/\"7-ab\"", true),
            ("\"x\", W/\"7-ab\"", true),
            ("*", true),
            ("\"7-a\"", false),
            ("7-ab", false),
            ("", false),
        ] {
            assert_eq!(is_in(header, "\"7-ab\""), want, "{header}");
        }
    }
}
