//! Methods of requests.

use std::fmt;

/// A request's method: one that is registered, or any other token. Names are case-sensitive (RFC 3261 §7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// A registered method.
    Known(rsip::Method),
    /// Another token, as it was written.
    Other(Box<str>),
}

impl Method {
    /// The method that a token names.
    #[must_use]
    pub fn parse(token: &str) -> Self {
        use rsip::Method as M;
        Self::Known(match token {
            "SUBSCRIBE" => M::Subscribe,
            "NOTIFY" => M::Notify,
            "OPTIONS" => M::Options,
            "ACK" => M::Ack,
            "BYE" => M::Bye,
            "CANCEL" => M::Cancel,
            "INFO" => M::Info,
            "INVITE" => M::Invite,
            "MESSAGE" => M::Message,
            "PRACK" => M::PRack,
            "PUBLISH" => M::Publish,
            "REFER" => M::Refer,
            "REGISTER" => M::Register,
            "UPDATE" => M::Update,
            other => return Self::Other(other.into()),
        })
    }

    /// The method as it is written on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        use rsip::Method as M;
        match self {
            Self::Known(M::Subscribe) => "SUBSCRIBE",
            Self::Known(M::Notify) => "NOTIFY",
            Self::Known(M::Options) => "OPTIONS",
            Self::Known(M::Ack) => "ACK",
            Self::Known(M::Bye) => "BYE",
            Self::Known(M::Cancel) => "CANCEL",
            Self::Known(M::Info) => "INFO",
            Self::Known(M::Invite) => "INVITE",
            Self::Known(M::Message) => "MESSAGE",
            Self::Known(M::PRack) => "PRACK",
            Self::Known(M::Publish) => "PUBLISH",
            Self::Known(M::Refer) => "REFER",
            Self::Known(M::Register) => "REGISTER",
            Self::Known(M::Update) => "UPDATE",
            Self::Other(token) => token,
        }
    }

    /// Whether this is SUBSCRIBE.
    #[must_use]
    pub fn is_subscribe(&self) -> bool {
        matches!(self, Self::Known(rsip::Method::Subscribe))
    }

    /// Whether this is NOTIFY.
    #[must_use]
    pub(crate) fn is_notify(&self) -> bool {
        matches!(self, Self::Known(rsip::Method::Notify))
    }

    /// Whether this is ACK, which is never answered.
    #[must_use]
    pub(crate) fn is_ack(&self) -> bool {
        matches!(self, Self::Known(rsip::Method::Ack))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_registered_method_is_read_as_it_is_written() {
        for method in rsip::Method::all() {
            let method = Method::Known(method);
            assert_eq!(Method::parse(method.as_str()), method);
        }
    }

    #[test]
    fn names_are_case_sensitive_and_unknown_ones_kept() {
        assert_eq!(Method::parse("subscribe"), Method::Other("subscribe".into()));
        assert!(!Method::parse("Subscribe").is_subscribe());
        assert_eq!(Method::parse("!interesting-Method0123456789_*+`.%indeed'~").as_str(), "!interesting-Method0123456789_*+`.%indeed'~");
    }
}
