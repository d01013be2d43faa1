//! Where a forward may lead: `features.target`.

use serde::{Deserialize, Serialize};

use crate::feature::presentity::Presentity;

/// The field that a forward's target is in.
pub(super) const FORWARD_TO: &str = "forwardTo";
/// What a target is where it is not just any text.
pub(super) const EXPECTED: &str = "digits with + * #, or a sip:, sips: or tel: URI";

/// What the target of a forward may be. An empty one is none, and always allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Any text.
    #[default]
    Any,
    /// A number or a URI.
    Uri,
    /// A number or a URI, not the presentity itself, and needed to switch a forward on.
    Strict,
}

impl Target {
    /// The word in the configuration.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Uri => "uri",
            Self::Strict => "strict",
        }
    }

    /// Whether a text is none, or a target by this rule, as far as the text alone says.
    pub(super) fn allows(self, text: &str) -> bool {
        self == Self::Any || text.is_empty() || is_number(text) || is_uri(text)
    }
}

/// Digits with `+ * #`: what a phone's user dials.
fn is_number(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit()) && text.bytes().all(|byte| byte.is_ascii_digit() || b"+*#".contains(&byte))
}

/// A `sip:` or `sips:` URI, with or without a user, or one of `tel:`.
fn is_uri(text: &str) -> bool {
    if text.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"')) {
        return false;
    }
    let without_user = |text: &str| {
        let (scheme, rest) = text.split_once(':')?;
        (!rest.contains('@') && !scheme.eq_ignore_ascii_case("tel")).then(|| format!("{scheme}:x@{rest}"))
    };
    Presentity::parse(text).is_ok() || without_user(text).is_some_and(|text| Presentity::parse(&text).is_ok())
}

/// Whether a call to this target comes back to the presentity: by its URI in any spelling, or by its number.
pub(super) fn leads_to(target: &str, presentity: &str) -> bool {
    let Some(wanted) = Presentity::parse(target).ok() else { return !target.is_empty() && number_of(presentity) == dialled(target) };
    wanted.as_str() == presentity || (wanted.as_str().starts_with("tel:") && number_of(presentity) == number_of(wanted.as_str()))
}

/// The number that a canonical presentity is: of `tel:` what it names, else its user where that is one.
fn number_of(presentity: &str) -> Option<String> {
    let named = presentity.strip_prefix("tel:").map(|number| number.split(';').next().unwrap_or(number));
    dialled(named.or_else(|| presentity.strip_prefix("sip:")?.split('@').next())?)
}

/// A number without what RFC 3966 allows for the eye.
fn dialled(text: &str) -> Option<String> {
    let number: String = text.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')')).collect();
    is_number(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: &str = "sip:alice@10.0.0.11";

    #[test]
    fn a_target_is_a_number_or_a_uri() {
        for (text, want) in [
            ("", true),
            ("2001", true),
            ("+31201234567", true),
            ("*21#", true),
            ("+", false),
            ("020 1234567", false),
            ("bob", false),
            ("sip:bob@10.0.0.11", true),
            ("SIPS:bob@Example.com:5061;transport=tls", true),
            ("sip:voicemail.example.com", true),
            ("sip:[2001:db8::1]:5070", true),
            ("sip:", false),
            ("sip:@h", false),
            ("<sip:bob@h>", false),
            (" sip:bob@h", false),
            ("tel:+31-20-1234567", true),
            ("tel:", false),
            ("mailto:bob@h", false),
            ("javascript:alert(1)", false),
        ] {
            assert_eq!(Target::Uri.allows(text), want, "{text:?}");
            assert_eq!(Target::Strict.allows(text), want, "{text:?}");
            assert!(Target::Any.allows(text), "{text:?}");
        }
    }

    #[test]
    fn a_forward_to_oneself_is_known_in_every_spelling() {
        for (target, presentity, want) in [
            ("sip:alice@10.0.0.11", ALICE, true),
            ("SIPS:%61lice@10.0.0.11:5061;transport=tls", ALICE, true),
            ("sip:alice@10.0.0.12", ALICE, false),
            ("2001", "sip:2001@h", true),
            ("sip:2001@H", "sip:2001@h", true),
            ("2002", "sip:2001@h", false),
            ("+31201234567", "tel:+31-20-1234567", true),
            ("tel:+31.20.1234567", "sip:+31201234567@h", true),
            ("2001", ALICE, false),
            ("", "sip:2001@h", false),
        ] {
            assert_eq!(leads_to(target, presentity), want, "{target} {presentity}");
        }
    }
}
