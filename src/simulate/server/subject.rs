//! Subjects and their wildcards. Pure.

pub(super) use crate::bus::token::takes as matches;

/// Whether some subject is taken by both.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
            _ => return false,
        }
    }
}

pub(super) fn is_literal(subject: &str) -> bool {
    subject.split('.').all(|token| !matches!(token, "*" | ">"))
}

/// Whether one of the filters takes it; no filter takes everything.
pub(super) fn any_matches(filters: &[String], subject: &str) -> bool {
    filters.is_empty() || filters.iter().any(|filter| matches(filter, subject))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_those_of_nats() {
        for (filter, subject, want) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("*.b", "a.b", true),
            (">", "a", true),
            ("a.*.c", "a.b.d", false),
        ] {
            assert_eq!(matches(filter, subject), want, "{filter} {subject}");
            assert!(!want || overlap(filter, subject), "{filter} {subject}");
        }
        assert!(overlap("a.*", "*.b") && !overlap("a.*", "b.*") && !overlap("a.>", "a") && overlap("a.>", "a.*"));
        assert!(is_literal("a.b") && !is_literal("a.>"));
    }
}
