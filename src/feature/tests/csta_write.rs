use proptest::prelude::*;

use super::*;
use crate::feature::body::{BodyEvent, FeatureChange};
use crate::feature::csta::{read_event, read_request};
use crate::feature::xml_write::is_xml_character;

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect()
}

fn event(feature: &str, on: bool, pairs: &[(&str, &str)]) -> String {
    let state = FeatureState { status: Status(on), values: values(pairs), ..FeatureState::new(feature) };
    let mut out = Vec::new();
    write_event(&FeatureTable::built_in(), "alice", &state, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn document(root: &str, children: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><{root} xmlns=\"http://www.ecma-international.org/standards/ecma-323/csta/ed3\">\
         <device>alice</device>{children}</{root}>"
    )
}

#[test]
fn events_have_the_shape_of_the_reference() {
    let forward = |kind: &str, on: bool, rest: &str| {
        document("ForwardingEvent", &format!("<forwardingType>{kind}</forwardingType><forwardStatus>{on}</forwardStatus>{rest}"))
    };
    let both = [("ringCount", "3"), ("forwardTo", "sip:bob@10.0.0.11")];
    let to = "<forwardTo>sip:bob@10.0.0.11</forwardTo>";
    let reason = "<extensions><privateData><private xmlns:pri=\"http://schema.broadsoft.com/CSTAPrivateData\"><pri:AgentNotReadyReasonValue>lunch\
                  </pri:AgentNotReadyReasonValue></private></privateData></extensions>";
    for (feature, on, pairs, want) in [
        ("DoNotDisturb", true, &[][..], document("DoNotDisturbEvent", "<doNotDisturbOn>true</doNotDisturbOn>")),
        ("DoNotDisturb", false, &[], document("DoNotDisturbEvent", "<doNotDisturbOn>false</doNotDisturbOn>")),
        ("CallForwardingAlways", false, &[], forward("forwardImmediate", false, "")),
        ("CallForwardingAlways", true, &both, forward("forwardImmediate", true, to)),
        ("CallForwardingBusy", true, &both, forward("forwardBusy", true, to)),
        ("CallForwardingNoAnswer", true, &both, forward("forwardNoAns", true, &format!("{to}<ringCount>3</ringCount>"))),
        ("CallForwardingNoAnswer", true, &[("forwardTo", ""), ("ringCount", "")], forward("forwardNoAns", true, "")),
        ("AgentState", false, &[], document("AgentLoggedOffEvent", "")),
        ("AgentState", true, &[], document("AgentLoggedOnEvent", "")),
        ("AgentState", true, &[("state", "loggedOn")], document("AgentLoggedOnEvent", "")),
        ("AgentState", true, &[("state", "ready")], document("AgentReadyEvent", "")),
        ("AgentState", true, &[("state", "notReady"), ("reason", "lunch")], document("AgentNotReadyEvent", reason)),
        ("AgentState", true, &[("state", "workingAfterCall")], document("AgentWorkingAfterCallEvent", "")),
        ("AgentState", false, &[("state", "loggedOff"), ("reason", "")], document("AgentLoggedOffEvent", "")),
    ] {
        assert_eq!(event(feature, on, pairs), want);
    }
}

#[test]
fn text_is_escaped_in_ascii_and_rid_of_what_xml_does_not_allow() {
    for (value, want) in [
        ("a&b<c>d\"'", "a&amp;b&lt;c&gt;d\"'"),
        ("]]><x/>", "]]&gt;&lt;x/&gt;"),
        ("é€😀", "&#233;&#8364;&#128512;"),
        ("a\u{0}\u{1}\u{8}\u{b}\u{1f}\u{fffe}\u{ffff}b", "ab"),
        ("a\t\r\n\u{7f}\u{85}b", "a&#9;&#13;&#10;&#127;&#133;b"),
    ] {
        let body = event("CallForwardingBusy", true, &[("forwardTo", value)]);
        assert!(body.contains(&format!("<forwardTo>{want}</forwardTo>")), "{body}");
    }
}

#[test]
fn an_unknown_feature_is_refused_and_nothing_is_written() {
    let mut out = b"before".to_vec();
    let table = FeatureTable::built_in();
    assert!(write_event(&table, "alice", &FeatureState::new("Foo"), &mut out).is_err());
    assert!(write_request(&table, "alice", "Foo", Status::ON, &Values::new(), &mut out).is_err());
    assert_eq!(out, b"before");
}

#[test]
fn requests_have_the_shape_that_phones_send() {
    let mut out = Vec::new();
    let pairs = values(&[("forwardTo", "1234"), ("ringCount", "3")]);
    write_request(&FeatureTable::built_in(), "alice", "CallForwardingNoAnswer", Status::ON, &pairs, &mut out).unwrap();
    let want = "<forwardingType>forwardNoAns</forwardingType><activateForward>true</activateForward><forwardDN>1234</forwardDN><ringCount>3</ringCount>";
    assert_eq!(String::from_utf8(out).unwrap(), document("SetForwarding", want));
}

/// What a reader makes of a text: XML's blanks around it and characters that XML forbids are gone.
fn as_read(value: &str) -> String {
    let allowed: String = value.chars().filter(|character| is_xml_character(*character)).collect();
    allowed.trim_matches([' ', '\t', '\r', '\n']).to_owned()
}

/// Texts as nasty as the table lets in: markup, entities, blanks, noncharacters, astral planes.
fn nasty() -> impl Strategy<Value = String> {
    "([<>&;'\"\\]\\[!#x0-9a-z@:/ -]|&amp;|<!\\[CDATA\\[|\\]\\]>|é|€|😀|\u{a0}|\u{fffe}|\u{d7ff}){0,30}"
}

fn any_values(feature: &'static str) -> impl Strategy<Value = Values> {
    (nasty(), 0..=100u8, 0..5usize).prop_map(move |(text, ring_count, state)| match feature {
        "DoNotDisturb" => Values::new(),
        "CallForwardingNoAnswer" => values(&[("forwardTo", &text), ("ringCount", &ring_count.to_string())]),
        "AgentState" => values(&[("state", crate::feature::rule::AGENT_STATES[state]), ("reason", &text)]),
        _ => values(&[("forwardTo", &text)]),
    })
}

fn any_state() -> impl Strategy<Value = (&'static str, bool, Values)> {
    let feature =
        prop::sample::select(vec!["DoNotDisturb", "CallForwardingAlways", "CallForwardingBusy", "CallForwardingNoAnswer", "AgentState"]);
    (feature, any::<bool>()).prop_flat_map(|(feature, on)| any_values(feature).prop_map(move |values| (feature, on, values))).prop_map(
        |(feature, on, values)| {
            let on = values.get("state").map_or(on, |state| state != "loggedOff");
            (feature, on, values)
        },
    )
}

fn read_back(values: &Values) -> Values {
    values.iter().map(|(field, value)| (field.clone(), as_read(value))).filter(|(_, value)| !value.is_empty()).collect()
}

proptest! {
    #[test]
    fn what_is_told_is_what_is_read((feature, on, values) in any_state(), user in "[a-zé<&>']{0,8}") {
        let table = FeatureTable::built_in();
        let state = FeatureState { status: Status(on), values: values.clone(), ..FeatureState::new(feature) };
        let mut out = Vec::new();
        write_event(&table, &user, &state, &mut out).unwrap();
        prop_assert!(out.is_ascii());
        let want = BodyEvent { device: user, feature: feature.to_owned(), status: Status(on), values: read_back(&values) };
        prop_assert_eq!(read_event(&table, &out).unwrap(), want);
    }

    #[test]
    fn what_a_phone_asks_for_is_what_is_read((feature, on, values) in any_state()) {
        let table = FeatureTable::built_in();
        let mut out = Vec::new();
        write_request(&table, "alice", feature, Status(on), &values, &mut out).unwrap();
        let want = FeatureChange { feature: feature.to_owned(), status: Status(on), values: read_back(&values) };
        prop_assert_eq!(read_request(&table, &out).unwrap(), want);
    }
}

#[test]
fn the_response_to_a_change_is_an_empty_element_named_for_it() {
    let table = FeatureTable::built_in();
    for (feature, want) in [
        ("DoNotDisturb", Some("SetDoNotDisturbResponse")),
        ("CallForwardingAlways", Some("SetForwardingResponse")),
        ("CallForwardingBusy", Some("SetForwardingResponse")),
        ("CallForwardingNoAnswer", Some("SetForwardingResponse")),
        ("AgentState", None),
        ("Foo", None),
    ] {
        let want = want.map(|root| {
            format!("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><{root} xmlns=\"http://www.ecma-international.org/standards/ecma-323/csta/ed3\"/>")
        });
        assert_eq!(response(&table, feature).map(|document| String::from_utf8(document).unwrap()), want, "{feature}");
    }
}
