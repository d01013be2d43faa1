//! The result of `subs_phtable_list`. Pure.

use serde_json::{Value, json};

use crate::bus::message::Watcher;
use crate::feature::Presentity;
use crate::mi::http::method::Filter;

/// The subscriptions that the filter lets through, edge by edge: the fields that OpenSIPS has, then ours.
pub(crate) fn listing<'w>(edges: impl IntoIterator<Item = (&'w str, &'w [Watcher])>, filter: &Filter) -> Value {
    let chosen = edges.into_iter().flat_map(|(edge_id, watchers)| {
        let chosen = watchers.iter().filter(|watcher| takes(filter, watcher));
        chosen.map(move |watcher| entry(edge_id, watcher))
    });
    chosen.collect()
}

fn entry(edge_id: &str, watcher: &Watcher) -> Value {
    json!({
        "pres_uri": watcher.presentity,
        "event": watcher.package,
        "expires": watcher.expires_at,
        "watcher": watcher.watcher,
        "callid": watcher.call_id,
        "contact": watcher.contact,
        "status": "active",
        "transport": watcher.transport,
        "user_agent": watcher.user_agent,
        "edge_id": edge_id,
        "subscription": watcher.subscription,
        "versions": watcher.versions,
    })
}

/// The presentity of a filter without wildcards: the edges are asked for it alone.
pub(crate) fn presentity_of(filter: &Filter) -> Option<String> {
    filter.to.clone().filter(|to| !to.contains(['*', '?']))
}

/// The domain that a pattern stays within, as it stands in subjects: the edges are asked for that alone.
pub(crate) fn domain_of(filter: &Filter) -> Option<String> {
    let (_, host) = filter.to.as_deref()?.rsplit_once('@')?;
    let of = Presentity::parse(&format!("sip:x@{host}")).ok();
    of.filter(|_| !host.contains(['*', '?'])).map(|of| of.domain_token())
}

/// Whether a filter lets a subscription through.
pub(crate) fn takes(filter: &Filter, watcher: &Watcher) -> bool {
    let fits = |pattern: &Option<String>, uri: &str| pattern.as_deref().is_none_or(|pattern| matches(pattern.as_bytes(), uri.as_bytes()));
    fits(&filter.to, &watcher.presentity) && fits(&filter.from, &watcher.watcher)
}

/// Shell patterns as far as they need no brackets: `*` is any text, `?` any byte. Linear but for the number of `*`.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // where the last `*` was, and how far it reaches
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b'?') => (p, t) = (p + 1, t + 1),
            Some(byte) if text.get(t) == Some(byte) => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, reach)) => {
                    star = Some((at, reach + 1));
                    (p, t) = (at + 1, reach + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, text, want) in [
            ("", "", true),
            ("*", "", true),
            ("sip:alice@h", "sip:alice@h", true),
            ("sip:alice@h", "sip:alice@hh", false),
            ("sip:*@h", "sip:alice@h", true),
            ("sip:*@h", "sip:alice@h.example", false),
            ("*alice*", "sip:alice@h", true),
            ("sip:a?ice@*", "sip:alice@h", true),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), want, "{pattern} over {text}");
        }
    }

    #[test]
    fn lists_what_the_filter_lets_through_with_the_edge_that_holds_it() {
        let watcher = |presentity: &str, watcher: &str| Watcher {
            subscription: "s".into(),
            package: "as-feature-event".to_owned(),
            presentity: presentity.into(),
            watcher: watcher.into(),
            call_id: "c".into(),
            contact: "<sip:p@h>".into(),
            transport: "udp".into(),
            user_agent: "phone/1".into(),
            expires_at: "2026-11-23T02:48:40.120Z".into(),
            versions: [("DoNotDisturb".to_owned(), 3)].into(),
            standing: None,
        };
        let (a, b) =
            ([watcher("sip:alice@h", "sip:alice@h"), watcher("sip:bob@h", "sip:carol@h")], [watcher("sip:alice@h", "sip:carol@h")]);
        let edges = [("edge-a", &a[..]), ("edge-b", &b[..])];
        let seen = |from: Option<&str>, to: Option<&str>| {
            let filter = Filter { from: from.map(str::to_owned), to: to.map(str::to_owned) };
            let list = listing(edges, &filter);
            list.as_array()
                .unwrap()
                .iter()
                .map(|entry| format!("{} {}", entry["pres_uri"], entry["edge_id"]).replace('"', ""))
                .collect::<Vec<_>>()
        };
        assert_eq!(seen(None, None).len(), 3);
        assert_eq!(seen(None, Some("sip:alice@*")), ["sip:alice@h edge-a", "sip:alice@h edge-b"]);
        assert_eq!(seen(Some("sip:carol@h"), Some("sip:bob@h")), ["sip:bob@h edge-a"]);
        let first = listing(edges, &Filter::default())[0].clone();
        assert_eq!(
            (&first["event"], &first["callid"], &first["versions"]["DoNotDisturb"]),
            (&json!("as-feature-event"), &json!("c"), &json!(3))
        );
        assert_eq!(presentity_of(&Filter { from: None, to: Some("sip:*@h".into()) }), None);
        let to = |to: &str| Filter { from: None, to: Some(to.to_owned()) };
        assert_eq!(domain_of(&to("sip:*@Example.com")).as_deref(), Some("example_com"));
        assert_eq!([domain_of(&to("*")), domain_of(&to("sip:a@*.example")), domain_of(&Filter::default())], [None, None, None]);
        assert_eq!(presentity_of(&Filter { from: None, to: Some("sip:a@h".into()) }).as_deref(), Some("sip:a@h"));
    }
}
