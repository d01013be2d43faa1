//! Names of header fields.

use std::fmt;

macro_rules! names {
    ($($variant:ident $text:literal),* $(,)?) => {
        /// A header field that this crate knows.
        ///
        /// Shape: in any case on the way in, and by its compact form; as RFC 3261 §20 writes it on the way out.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Name {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
        }

        impl Name {
            /// Every name, the ones that nearly every message has first: they are looked up in this order.
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$variant),*];
            const TEXTS: &[(&'static str, Self)] = &[$(($text, Self::$variant)),*];

            /// The name as it is written: `Call-ID`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

names! {
    Via "Via", From "From", To "To", CallId "Call-ID", CSeq "CSeq", Contact "Contact", MaxForwards "Max-Forwards", Event "Event",
    Accept "Accept", Expires "Expires", ContentLength "Content-Length", UserAgent "User-Agent", ContentType "Content-Type",
    Allow "Allow", AllowEvents "Allow-Events", Supported "Supported", Authorization "Authorization", Route "Route",
    RecordRoute "Record-Route", SubscriptionState "Subscription-State", Server "Server", Require "Require",
    ProxyRequire "Proxy-Require", ContentEncoding "Content-Encoding", ContentDisposition "Content-Disposition",
    ContentLanguage "Content-Language", RetryAfter "Retry-After", MinExpires "Min-Expires", WwwAuthenticate "WWW-Authenticate",
    ProxyAuthenticate "Proxy-Authenticate", ProxyAuthorization "Proxy-Authorization", AuthenticationInfo "Authentication-Info",
    AcceptEncoding "Accept-Encoding", AcceptLanguage "Accept-Language", Unsupported "Unsupported", Warning "Warning",
    Reason "Reason", Date "Date", Timestamp "Timestamp", Subject "Subject", Organization "Organization", MimeVersion "MIME-Version",
    ReferTo "Refer-To", ReferredBy "Referred-By", SessionExpires "Session-Expires",
}

impl Name {
    /// The name that a text is, in any case, whole or compact (RFC 3261 §7.3.3 and the registry of IANA).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let [letter] = text.as_bytes() {
            return Self::of_compact(*letter);
        }
        let known = |(name, _): &&(&str, Self)| name.len() == text.len() && name.eq_ignore_ascii_case(text);
        Self::TEXTS.iter().find(known).map(|(_, name)| *name)
    }

    const fn of_compact(letter: u8) -> Option<Self> {
        Some(match letter.to_ascii_lowercase() {
            b'v' => Self::Via,
            b'f' => Self::From,
            b't' => Self::To,
            b'i' => Self::CallId,
            b'm' => Self::Contact,
            b'o' => Self::Event,
            b'l' => Self::ContentLength,
            b'c' => Self::ContentType,
            b'u' => Self::AllowEvents,
            b'k' => Self::Supported,
            b'e' => Self::ContentEncoding,
            b's' => Self::Subject,
            b'r' => Self::ReferTo,
            b'b' => Self::ReferredBy,
            b'x' => Self::SessionExpires,
            _ => return None,
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for name in Name::ALL {
            for text in [name.as_str().to_owned(), name.as_str().to_lowercase(), name.as_str().to_uppercase()] {
                assert_eq!(Name::parse(&text), Some(*name), "{text}");
            }
        }
        assert_eq!(Name::parse("X-Foo"), None);
        assert_eq!(Name::parse(""), None);
    }

    #[test]
    fn compact_forms_are_the_whole_names() {
        for (letter, name) in [
            ("v", Name::Via),
            ("f", Name::From),
            ("T", Name::To),
            ("i", Name::CallId),
            ("m", Name::Contact),
            ("o", Name::Event),
            ("l", Name::ContentLength),
            ("c", Name::ContentType),
            ("U", Name::AllowEvents),
            ("k", Name::Supported),
            ("e", Name::ContentEncoding),
            ("s", Name::Subject),
            ("r", Name::ReferTo),
            ("b", Name::ReferredBy),
            ("x", Name::SessionExpires),
        ] {
            assert_eq!(Name::parse(letter), Some(name));
        }
        assert_eq!(Name::parse("q"), None);
    }
}
