//! The JetStream domain that streams and buckets are in, as seen from a server of another one: that of a leaf node, or of the hub. Pure.
//!
//! Only what goes to JetStream itself has other subjects there. What is stored by its own subject (`dfks.command.set`,
//! `dfks.event.…`), acknowledgements (`$JS.ACK.…`) and flow control keep theirs. Source: ADR-15; `generateJSMappingTable` of
//! nats-server: a server keeps `$JS.API.>` and `$KV.>` to its own domain, and takes `$JS.<domain>.API.>` from others.

/// `nats.domain`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Domain {
    /// `$JS.<domain>.API`; `None` without a domain.
    api: Option<Box<str>>,
}

/// First tokens of the subjects of JetStream itself.
const API: &str = "$JS.API.";
/// First token of the subjects of buckets.
const BUCKETS: &str = "$KV.";

impl Domain {
    /// Empty: that of the server.
    pub(super) fn new(name: &str) -> Self {
        Self { api: (!name.is_empty()).then(|| format!("$JS.{name}.API").into()) }
    }

    pub(super) fn name(&self) -> &str {
        let name = self.api.as_ref().and_then(|api| api.strip_prefix("$JS.")?.strip_suffix(".API"));
        name.unwrap_or_default()
    }

    /// Where a message for this subject is sent: `$JS.hub.API.STREAM.INFO.DFKS_EVENTS`, `$JS.hub.API.$KV.dfks-edges.edge-0`.
    pub(super) fn subject(&self, subject: String) -> String {
        let Some(api) = &self.api else { return subject };
        if let Some(call) = subject.strip_prefix(API) {
            format!("{api}.{call}")
        } else if subject.starts_with(BUCKETS) {
            format!("{api}.{subject}")
        } else {
            subject
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_goes_to_jetstream_itself_has_another_subject() {
        let (none, hub) = (Domain::new(""), Domain::new("hub"));
        assert_eq!((none.name(), hub.name()), ("", "hub"));
        for (subject, want) in [
            ("$JS.API.STREAM.INFO.S", "$JS.hub.API.STREAM.INFO.S"),
            ("$JS.API.DIRECT.GET.KV_b.$KV.b.k", "$JS.hub.API.DIRECT.GET.KV_b.$KV.b.k"),
            ("$KV.b.k", "$JS.hub.API.$KV.b.k"),
            ("$JS.ACK.hub.A.S.c.1.2.3.4.5", "$JS.ACK.hub.A.S.c.1.2.3.4.5"),
            ("$JS.FC.S.c.x", "$JS.FC.S.c.x"),
            ("dfks.command.set", "dfks.command.set"),
        ] {
            assert_eq!((none.subject(subject.to_owned()), hub.subject(subject.to_owned())), (subject.to_owned(), want.to_owned()));
        }
    }
}
