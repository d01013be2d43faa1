//! Parameters behind a header value.

use std::fmt;

use crate::sip::scan;

/// Header parameters, in order and in strict form.
///
/// Shape: `;tag=1928301774;lr;x="a b"`; empty when there are none. A value with a character that a token or host may not have
/// is kept as a quoted string. Source: RFC 3261 §25.1 `generic-param`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Params(Box<str>);

impl Params {
    /// Reads what follows a value, from its first `;` on. Blanks and empty parameters are tolerated; `None` when
    /// a parameter's name is no token, a quote never ends or something stands before the first `;`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Some(Self::default());
        }
        let mut out = String::with_capacity(text.len());
        for param in scan::split_outside(text.strip_prefix(';')?, b';', false) {
            let (name, value) = match param.split_once('=') {
                Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
                None => (param, None),
            };
            if !scan::is_token(name) || !scan::is_closed(value.unwrap_or_default()) {
                return None;
            }
            out.push(';');
            out.push_str(name);
            push_value(&mut out, value.unwrap_or_default());
        }
        Some(Self(out.into()))
    }

    /// The raw value of a parameter (with its quotes, if it has any), empty for one without; names in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, value)| value.unwrap_or_default())
    }

    /// Whether a parameter is there.
    #[must_use]
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Every parameter, in order: name, and value where there is one.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        scan::split_outside(&self.0, b';', false).map(|param| match param.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (param, None),
        })
    }

    /// Whether a parameter is there more than once, so that two readers may take different ones.
    #[must_use]
    pub(crate) fn repeats(&self, name: &str) -> bool {
        self.iter().filter(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).nth(1).is_some()
    }

    /// Adds a parameter at the end, or replaces the one of that name.
    pub fn set(&mut self, name: &str, value: &str) {
        let mut out = String::with_capacity(self.0.len() + name.len() + value.len() + 2);
        for (old, old_value) in self.iter().filter(|(old, _)| !old.eq_ignore_ascii_case(name)) {
            out.push(';');
            out.push_str(old);
            if let Some(old_value) = old_value {
                out.push('=');
                out.push_str(old_value);
            }
        }
        out.push(';');
        out.push_str(name);
        push_value(&mut out, value);
        self.0 = out.into();
    }
}

/// Writes `=value`, as it is where the grammar allows that, else as a quoted string; nothing for an empty value.
fn push_value(out: &mut String, value: &str) {
    if value.is_empty() {
        return;
    }
    out.push('=');
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'<' | b'>' | b'\\');
    if value.bytes().all(is_plain) {
        out.push_str(value);
        return;
    }
    let _infallible = match scan::quoted(value) {
        Some((inside, "")) => scan::write_quoted(out, &inside),
        _ => scan::write_quoted(out, value),
    };
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_phones_send_and_writes_it_strictly() {
        for (text, want) in [
            ("", Some("")),
            ("  ", Some("")),
            (";tag=1", Some(";tag=1")),
            (" ; tag = 1 ;lr", Some(";tag=1;lr")),
            (";;a=1;;", Some(";a=1")),
            (r#";x="a;b,\"c\"";y"#, Some(r#";x="a;b,\"c\"";y"#)),
            (";x=a b", Some(r#";x="a b""#)),
            (";x=", Some(";x")),
            (r#";x="""#, Some(r#";x="""#)),
            (r#";x="never"#, None),
            (";+sip.instance=\"<urn:uuid:1>\"", Some(";+sip.instance=\"<urn:uuid:1>\"")),
            (";received=2001:db8::1;maddr=[::1]", Some(";received=2001:db8::1;maddr=[::1]")),
            (";tag=abc@10.0.0.1/x", Some(";tag=abc@10.0.0.1/x")),
            ("tag=1", None),
            (";=1", None),
            (";a b=1", None),
            (";<a>", None),
        ] {
            assert_eq!(Params::parse(text).map(|params| params.to_string()).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn finds_and_sets_by_name() {
        let mut params = Params::parse(";Branch=z9hG4bKx;rport;q=\"\"").unwrap();
        assert_eq!((params.get("branch"), params.get("RPORT"), params.get("maddr")), (Some("z9hG4bKx"), Some(""), None));
        params.set("rport", "5062");
        params.set("received", "10.0.0.1");
        assert_eq!(params.to_string(), ";Branch=z9hG4bKx;q=\"\";rport=5062;received=10.0.0.1");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_the_same(pairs in prop::collection::vec(("[a-zA-Z0-9.!%*_+-]{1,8}", prop::option::of("[ -~é]{0,12}")), 0..6)) {
            let mut text = String::new();
            for (name, value) in &pairs {
                write!(text, ";{name}").unwrap();
                push_value(&mut text, value.as_deref().unwrap_or_default());
            }
            let params = Params::parse(&text).unwrap();
            prop_assert_eq!(params.to_string(), text);
            prop_assert_eq!(Params::parse(&params.to_string()), Some(params));
        }

        #[test]
        fn anything_that_is_read_is_written_readably(text in ";.{0,60}") {
            if let Some(params) = Params::parse(&text) {
                prop_assert_eq!(Params::parse(&params.to_string()), Some(params));
            }
        }
    }
}
