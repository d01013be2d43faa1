use super::*;

const ED3: &str = "http://www.ecma-international.org/standards/ecma-323/csta/ed3";

fn request(body: &[u8]) -> Result<FeatureChange, BodyError> {
    read_request(&FeatureTable::built_in(), body)
}

fn change(feature: &str, on: bool, pairs: &[(&str, &str)]) -> FeatureChange {
    let values = pairs.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect();
    FeatureChange { feature: feature.to_owned(), status: Status(on), values }
}

fn dnd(children: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<SetDoNotDisturb xmlns=\"{ED3}\">{children}</SetDoNotDisturb>")
}

/// A good body of so many bytes.
fn padded(body_bytes: usize) -> String {
    let body = dnd("<doNotDisturbOn>true</doNotDisturbOn>");
    format!("{body}{}", " ".repeat(body_bytes - body.len()))
}

fn forwarding(children: &str) -> String {
    format!("<SetForwarding xmlns=\"{ED3}\"><device/>{children}</SetForwarding>")
}

#[test]
fn reads_every_request_of_the_table() {
    for (body, want) in [
        (dnd("<device>alice</device><doNotDisturbOn>true</doNotDisturbOn>"), change("DoNotDisturb", true, &[])),
        (
            forwarding(
                "<forwardingType>forwardImmediate</forwardingType><activateForward>true</activateForward><forwardDN>1234</forwardDN>",
            ),
            change("CallForwardingAlways", true, &[("forwardTo", "1234")]),
        ),
        (
            forwarding(
                "<forwardingType>forwardBusy</forwardingType><activateForward>false</activateForward><forwardDN>tel:+31201234567</forwardDN>",
            ),
            change("CallForwardingBusy", false, &[("forwardTo", "tel:+31201234567")]),
        ),
        (
            forwarding(
                "<forwardingType>forwardNoAns</forwardingType><activateForward>true</activateForward><forwardDN>sip:bob@10.0.0.11</forwardDN><ringCount>3</ringCount>",
            ),
            change("CallForwardingNoAnswer", true, &[("forwardTo", "sip:bob@10.0.0.11"), ("ringCount", "3")]),
        ),
        (
            format!(
                "<SetAgentState xmlns=\"{ED3}\"><device/><requestedAgentState>notReady</requestedAgentState><agentID>7</agentID><password>secret</password>\
                 <extensions><privateData><private><AgentNotReadyReasonValue xmlns=\"http://schema.broadsoft.com/CSTAPrivateData\">lunch</AgentNotReadyReasonValue>\
                 </private></privateData></extensions></SetAgentState>"
            ),
            change("AgentState", true, &[("state", "notReady"), ("reason", "lunch")]),
        ),
        (
            format!(
                "<SetAgentState xmlns=\"{ED3}\"><requestedAgentState>notReady</requestedAgentState><extensions><privateData>\
                 <private xmlns:pri=\"http://schema.broadsoft.com/CSTAPrivateData\"><pri:AgentNotReadyReasonValue>lunch</pri:AgentNotReadyReasonValue>\
                 </private></privateData></extensions></SetAgentState>"
            ),
            change("AgentState", true, &[("state", "notReady"), ("reason", "lunch")]),
        ),
        (
            format!("<SetAgentState xmlns=\"{ED3}\"><requestedAgentState> loggedOff </requestedAgentState></SetAgentState>"),
            change("AgentState", false, &[("state", "loggedOff")]),
        ),
    ] {
        assert_eq!(request(body.as_bytes()).unwrap(), want, "{body}");
    }
}

#[test]
fn tolerates_children_in_any_order_and_any_device() {
    let want = change("DoNotDisturb", true, &[]);
    for body in [
        dnd("<doNotDisturbOn>true</doNotDisturbOn><device>alice</device>"),
        dnd("<doNotDisturbOn>true</doNotDisturbOn>"),
        dnd("<device/><doNotDisturbOn>true</doNotDisturbOn>"),
        dnd("<device></device><doNotDisturbOn>true</doNotDisturbOn>"),
        dnd("<device>31201234567</device><doNotDisturbOn>true</doNotDisturbOn>"),
        dnd("<device>sip:mallory@example.com</device><doNotDisturbOn>true</doNotDisturbOn>"),
        dnd("<device>1</device><other><doNotDisturbOn>false</doNotDisturbOn></other><doNotDisturbOn>true</doNotDisturbOn>"),
        dnd("<doNotDisturbOn>true</doNotDisturbOn><doNotDisturbOn>true</doNotDisturbOn>"),
    ] {
        assert_eq!(request(body.as_bytes()).unwrap(), want, "{body}");
    }
    let reversed = forwarding(
        "<ringCount>3</ringCount><forwardDN>1</forwardDN><activateForward>1</activateForward><forwardingType>forwardNoAns</forwardingType>",
    );
    assert_eq!(request(reversed.as_bytes()).unwrap(), change("CallForwardingNoAnswer", true, &[("forwardTo", "1"), ("ringCount", "3")]));
}

#[test]
fn a_value_that_is_missing_or_empty_is_left_out() {
    for (kind, feature) in
        [("forwardImmediate", "CallForwardingAlways"), ("forwardBusy", "CallForwardingBusy"), ("forwardNoAns", "CallForwardingNoAnswer")]
    {
        for values in ["", "<forwardDN/>", "<forwardDN></forwardDN><ringCount></ringCount>", "<forwardDN> \r\n </forwardDN><ringCount/>"] {
            let body = forwarding(&format!("<forwardingType>{kind}</forwardingType><activateForward>true</activateForward>{values}"));
            assert_eq!(request(body.as_bytes()).unwrap(), change(feature, true, &[]), "{body}");
        }
    }
    let agent = "<SetAgentState><requestedAgentState>ready</requestedAgentState><extensions><privateData><private>\
                 <AgentNotReadyReasonValue/></private></privateData></extensions></SetAgentState>";
    assert_eq!(request(agent.as_bytes()).unwrap(), change("AgentState", true, &[("state", "ready")]));
}

#[test]
fn a_ring_count_where_none_belongs_is_dropped_whatever_it_says() {
    for kind in ["forwardImmediate", "forwardBusy"] {
        for ring_count in ["3", "", "abc", "1000"] {
            let body = forwarding(&format!(
                "<forwardingType>{kind}</forwardingType><activateForward>true</activateForward><ringCount>{ring_count}</ringCount>"
            ));
            assert_eq!(request(body.as_bytes()).unwrap().values, Values::new(), "{body}");
        }
    }
}

#[test]
fn tolerates_booleans_in_any_case_with_blanks_around() {
    for (text, want) in [
        ("true", Some(true)),
        ("false", Some(false)),
        ("1", Some(true)),
        ("0", Some(false)),
        ("TRUE", Some(true)),
        ("False", Some(false)),
        (" \r\n\ttRuE\n ", Some(true)),
        ("<![CDATA[true]]>", Some(true)),
        ("&#49;", Some(true)),
        ("yes", None),
        ("on", None),
        ("2", None),
        ("01", None),
        ("", None),
        ("true false", None),
    ] {
        let got = request(dnd(&format!("<doNotDisturbOn>{text}</doNotDisturbOn>")).as_bytes());
        assert_eq!(got.as_ref().ok().map(|change| change.status.is_on()), want, "{text:?}");
        if let Err(error) = got {
            assert_eq!((error.reason(), error.feature()), ("unreadable_status", Some("DoNotDisturb")), "{text:?}");
        }
    }
}

#[test]
fn tolerates_encodings_line_ends_prefixes_and_namespaces() {
    let want = change("CallForwardingAlways", true, &[("forwardTo", "sip:é@h")]);
    let latin1 = |declaration: &str| {
        let mut body = declaration.as_bytes().to_vec();
        body.extend_from_slice(b"<SetForwarding><forwardingType>forwardImmediate</forwardingType><activateForward>true</activateForward><forwardDN>sip:\xe9@h</forwardDN></SetForwarding>");
        body
    };
    let plain = |open: &str, prefix: &str, close: &str| {
        format!(
            "{open}\r<{prefix}forwardingType>\rforwardImmediate\r\n</{prefix}forwardingType>\n<{prefix}activateForward>true\n</{prefix}activateForward>\r\n\
             <{prefix}forwardDN>sip:é@h</{prefix}forwardDN>{close}"
        )
        .into_bytes()
    };
    for (name, body) in [
        ("ISO-8859-1 declared", latin1("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>")),
        ("ISO-8859-1 undeclared", latin1("")),
        ("ISO-8859-1 declared UTF-8", latin1("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n")),
        ("UTF-8 declared", plain("<?xml version=\"1.0\" encoding=\"UTF-8\"?><SetForwarding>", "", "</SetForwarding>")),
        ("UTF-8 declared ISO-8859-1", plain("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><SetForwarding>", "", "</SetForwarding>")),
        ("byte order mark", plain("\u{feff}<?xml version=\"1.0\"?><SetForwarding>", "", "</SetForwarding>")),
        ("blank before the declaration", plain("\r\n<?xml version=\"1.0\"?><SetForwarding>", "", "</SetForwarding>\r\n\r\n")),
        ("no namespace", plain("<SetForwarding>", "", "</SetForwarding>")),
        ("ed3", plain(&format!("<SetForwarding xmlns='{ED3}'>"), "", "</SetForwarding>")),
        ("ed4", plain(&format!("<SetForwarding xmlns='{}'>", ED3.replace("ed3", "ed4")), "", "</SetForwarding>")),
        ("misprint", plain(&format!("<SetForwarding xmlns='{}'>", ED3.replacen('-', "", 1)), "", "</SetForwarding>")),
        ("prefix", plain(&format!("<c:SetForwarding xmlns:c='{ED3}'>"), "c:", "</c:SetForwarding>")),
        ("prefix on the root alone", plain(&format!("<c:SetForwarding xmlns:c='{ED3}'>"), "", "</c:SetForwarding>")),
        ("prefix undeclared", plain("<c:SetForwarding>", "c:", "</c:SetForwarding>")),
    ] {
        assert_eq!(request(&body).map_err(|error| error.to_string()), Ok(want.clone()), "{name}");
    }
}

#[test]
fn tolerates_targets_of_every_kind_and_escaping() {
    for (text, want) in [
        ("1234", "1234"),
        ("+31201234567", "+31201234567"),
        ("tel:+31-20-1234567", "tel:+31-20-1234567"),
        ("sip:bob@example.com;user=phone", "sip:bob@example.com;user=phone"),
        ("*72", "*72"),
        ("sip:a&amp;b@h?x=&lt;y&gt;", "sip:a&b@h?x=<y>"),
        ("<![CDATA[sip:a&b@h]]>", "sip:a&b@h"),
        ("sip:a<![CDATA[&]]>b&#64;h&#x3f;", "sip:a&b@h?"),
    ] {
        let body = forwarding(&format!(
            "<forwardingType>forwardBusy</forwardingType><activateForward>true</activateForward><forwardDN>{text}</forwardDN>"
        ));
        assert_eq!(request(body.as_bytes()).unwrap().values.get("forwardTo").map(String::as_str), Some(want), "{text}");
    }
}

#[test]
fn refuses_with_a_reason_and_the_feature_that_was_meant() {
    let long = padded(8 * 1024 + 1);
    let deep = dnd(&format!("<doNotDisturbOn>true</doNotDisturbOn>{}{}", "<x>".repeat(8), "</x>".repeat(8)));
    let cfna = |rest: &str| forwarding(&format!("<forwardingType>forwardNoAns</forwardingType>{rest}"));
    let too_long = cfna(&format!("<activateForward>true</activateForward><forwardDN>{}</forwardDN>", "1".repeat(513)));
    let types = "expected forwardImmediate, forwardBusy, forwardNoAns";
    for (body, reason, feature, text) in [
        (long, "body_too_long", None, "the body has 8193 bytes: expected at most 8192".to_owned()),
        (deep, "too_deep", Some("DoNotDisturb"), "elements nest deeper than 8".into()),
        (format!("<!DOCTYPE x>{}", dnd("")), "doctype", None, "a DOCTYPE is not allowed".into()),
        (
            "<!DOCTYPE x [<!ENTITY e 'true'>]><SetDoNotDisturb><doNotDisturbOn>&e;</doNotDisturbOn></SetDoNotDisturb>".into(),
            "doctype",
            None,
            "a DOCTYPE is not allowed".into(),
        ),
        (dnd("<doNotDisturbOn>&e;</doNotDisturbOn>"), "malformed", Some("DoNotDisturb"), "unknown entity 'e'".into()),
        (dnd("<doNotDisturbOn>true"), "malformed", Some("DoNotDisturb"), "not well-formed XML".into()),
        (String::new(), "malformed", None, "expected one XML document with one root element".into()),
        ("<SetFoo/>".into(), "unknown_root", None, "unknown root element 'SetFoo'".into()),
        ("<DoNotDisturbEvent/>".into(), "unknown_root", None, "unknown root element 'DoNotDisturbEvent'".into()),
        (
            "<SetDoNotDisturb xmlns='urn:x'><doNotDisturbOn>true</doNotDisturbOn></SetDoNotDisturb>".into(),
            "unknown_root",
            None,
            "unknown root element 'SetDoNotDisturb' in a namespace that is not that of CSTA".into(),
        ),
        (dnd(""), "no_status", Some("DoNotDisturb"), "doNotDisturbOn is missing".into()),
        (
            dnd("<doNotDisturbOn>\"maybe\"</doNotDisturbOn>"),
            "unreadable_status",
            Some("DoNotDisturb"),
            "unreadable doNotDisturbOn '?maybe?': expected true or false".into(),
        ),
        (
            dnd("<doNotDisturbOn>true</doNotDisturbOn><doNotDisturbOn>false</doNotDisturbOn>"),
            "ambiguous",
            Some("DoNotDisturb"),
            "doNotDisturbOn is given twice, with two values".into(),
        ),
        (forwarding("<activateForward>true</activateForward>"), "unknown_type", None, format!("forwardingType is missing: {types}")),
        (
            forwarding("<forwardingType/><activateForward>true</activateForward>"),
            "unknown_type",
            None,
            format!("forwardingType is missing: {types}"),
        ),
        (
            forwarding("<forwardingType>forwardDND</forwardingType><activateForward>true</activateForward>"),
            "unknown_type",
            None,
            format!("unknown forwardingType 'forwardDND': {types}"),
        ),
        (cfna(""), "no_status", Some("CallForwardingNoAnswer"), "activateForward is missing".into()),
        (
            cfna("<activateForward>true</activateForward><ringCount>101</ringCount>"),
            "ring_count",
            Some("CallForwardingNoAnswer"),
            "invalid ringCount '101': expected a whole number from 0 to 100".into(),
        ),
        (too_long, "too_long", Some("CallForwardingNoAnswer"), "forwardTo has 513 characters: expected at most 512".into()),
        (
            cfna("<activateForward>true</activateForward><forwardDN>a&#10;b</forwardDN>"),
            "control_character",
            Some("CallForwardingNoAnswer"),
            "forwardTo has the control character U+000A: expected none".into(),
        ),
        (
            cfna("<activateForward>true</activateForward><forwardDN>a\u{ffff}b</forwardDN>"),
            "control_character",
            Some("CallForwardingNoAnswer"),
            "forwardTo has the control character U+FFFF: expected none".into(),
        ),
        ("<SetAgentState/>".into(), "no_status", Some("AgentState"), "requestedAgentState is missing".into()),
        (
            "<SetAgentState><requestedAgentState>gone</requestedAgentState></SetAgentState>".into(),
            "unreadable_status",
            Some("AgentState"),
            "unreadable requestedAgentState 'gone': expected loggedOff, loggedOn, ready, notReady, workingAfterCall".into(),
        ),
    ] {
        let error = request(body.as_bytes()).unwrap_err();
        assert_eq!((error.reason(), error.feature(), error.to_string()), (reason, feature, text));
        assert_eq!(error.unknown_root().is_some(), reason == "unknown_root");
        assert!(!error.to_string().contains(['"', '\\', '\r', '\n']), "{error}");
    }
}

#[test]
fn a_body_up_to_the_limits_is_read() {
    assert!(request(padded(8 * 1024).as_bytes()).is_ok());
    let deep = format!("<doNotDisturbOn>true</doNotDisturbOn>{}{}", "<x>".repeat(7), "</x>".repeat(7));
    assert!(request(dnd(&deep).as_bytes()).is_ok());
}

#[test]
fn a_configured_root_may_be_in_any_namespace() {
    let row = crate::feature::FeatureConfig {
        request_root: "SetHold".into(),
        event_root: "HoldEvent".into(),
        status_request: "on".into(),
        status_event: "isOn".into(),
        values: [("music".to_owned(), ("tune".to_owned(), "tuneName".to_owned()))].into(),
        ..Default::default()
    };
    let table = FeatureTable::with_config(&[("Hold".to_owned(), row)].into(), &std::collections::BTreeMap::new()).unwrap();
    let body = "<SetHold xmlns='urn:vendor'><on>1</on><tune>jazz</tune></SetHold>";
    assert_eq!(read_request(&table, body.as_bytes()).unwrap(), change("Hold", true, &[("music", "jazz")]));
}

#[test]
fn namespaces_of_csta_are_known_in_all_their_spellings() {
    for (namespace, want) in [
        ("http://www.ecma-international.org/standards/ecma-323/csta/ed3", true),
        ("http://www.ecma-international.org/standards/ecma-323/csta/ed4", true),
        ("http://www.ecmainternational.org/standards/ecma-323/csta/ed3", true),
        ("urn:x", false),
        ("http://www.ecma-international.org/other", false),
        ("", false),
    ] {
        assert_eq!(is_csta(namespace), want, "{namespace}");
    }
}
