//! Bodies that are taken or refused, one after the other in one dialog, and what is told then.

use crate::common::Nats;
use crate::harness::{Phone, Subscribe};
use crate::site::{Site, TRANSPORTS};

const ED3: &str = "http://www.ecma-international.org/standards/ecma-323/csta/ed3";

/// What the row shows, the body, and what the next NOTIFY shows; `Err`: refused, and what is shown all the same.
type Row = (&'static str, String, Result<&'static str, &'static str>);

fn dnd(inner: &str) -> String {
    format!("<SetDoNotDisturb xmlns=\"{ED3}\">{inner}</SetDoNotDisturb>")
}

fn forwarding(kind: &str, inner: &str) -> String {
    format!("<SetForwarding xmlns=\"{ED3}\"><device/><forwardingType>{kind}</forwardingType>{inner}</SetForwarding>")
}

fn agent(state: &str, more: &str) -> String {
    format!("<SetAgentState xmlns=\"{ED3}\"><device/><requestedAgentState>{state}</requestedAgentState>{more}</SetAgentState>")
}

/// The same switch, written in this way; each turns what the row before it has left.
fn on(body: String) -> (String, Result<&'static str, &'static str>) {
    (body, Ok("DoNotDisturb on"))
}

fn off(body: String) -> (String, Result<&'static str, &'static str>) {
    (body, Ok("DoNotDisturb off"))
}

fn spellings() -> Vec<Row> {
    const ON: &str = "<doNotDisturbOn>true</doNotDisturbOn>";
    const OFF: &str = "<doNotDisturbOn>false</doNotDisturbOn>";
    let rows = vec![
        ("SetDoNotDisturb", on(dnd(&format!("<device>1</device>{ON}")))),
        ("device missing", off(dnd(OFF))),
        ("device empty", on(dnd(&format!("<device/>{ON}")))),
        ("device is a URI, and last", off(dnd(&format!("{OFF}<device>sip:bob@example.com</device>")))),
        ("1", on(dnd("<doNotDisturbOn>1</doNotDisturbOn>"))),
        ("0 with blanks", off(dnd("<doNotDisturbOn> 0\t</doNotDisturbOn>"))),
        ("TRUE with line ends", on(dnd("<doNotDisturbOn>\r\n TRUE\n</doNotDisturbOn>"))),
        ("False", off(dnd("<doNotDisturbOn>False</doNotDisturbOn>"))),
        ("ISO-8859-1 declared", on(format!("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n{}", dnd(ON)))),
        ("UTF-8 declared", off(format!("<?xml version='1.0' encoding='utf-8' standalone='yes'?>\r\n{}", dnd(OFF)))),
        ("CR alone", on(format!("<?xml version=\"1.0\"?>\r{}\r", dnd(ON).replace("><", ">\r<")))),
        ("CR, LF and CRLF", off(format!("\n\r\n{}\r\r\n\n", dnd(&format!("\r\n\n{OFF}\r"))))),
        (
            "prefixed element names",
            on(format!("<c:SetDoNotDisturb xmlns:c=\"{ED3}\"><c:doNotDisturbOn>true</c:doNotDisturbOn></c:SetDoNotDisturb>")),
        ),
        ("namespace ed4", off(dnd(OFF).replace("ed3", "ed4"))),
        ("the historical misprint", on(dnd(ON).replace("ecma-international", "ecmainternational"))),
        ("no namespace", off(format!("<SetDoNotDisturb>{OFF}</SetDoNotDisturb>"))),
        ("CDATA", on(dnd("<doNotDisturbOn><![CDATA[true]]></doNotDisturbOn>"))),
        ("entities", off(dnd("<doNotDisturbOn>f&#97;lse</doNotDisturbOn>"))),
        ("comments and unknown elements", on(dnd(&format!("<!-- x --><vendor><y/></vendor>{ON}")))),
        ("the same again is confirmed", on(dnd(ON))),
    ];
    rows.into_iter().map(|(name, (body, want))| (name, body, want)).collect()
}

fn forwards() -> Vec<Row> {
    const ON: &str = "<activateForward>true</activateForward>";
    let cfb = |dn: &str| forwarding("forwardBusy", &format!("{ON}<forwardDN>{dn}</forwardDN>"));
    vec![
        (
            "forwardImmediate, empty ringCount",
            forwarding("forwardImmediate", &format!("{ON}<forwardDN>1234</forwardDN><ringCount/>")),
            Ok("CallForwardingAlways on forwardTo=1234"),
        ),
        (
            "ringCount on CallForwardingAlways is ignored",
            forwarding("forwardImmediate", "<activateForward>false</activateForward><ringCount>3</ringCount>"),
            Ok("CallForwardingAlways off forwardTo=1234"),
        ),
        ("forwardBusy, tel:", cfb("tel:+31201234567"), Ok("CallForwardingBusy on forwardTo=tel:+31201234567")),
        ("forwardDN is a URI", cfb("sip:bob@10.0.0.11"), Ok("CallForwardingBusy on forwardTo=sip:bob@10.0.0.11")),
        (
            "an empty forwardDN keeps the target",
            forwarding("forwardBusy", "<activateForward>false</activateForward><forwardDN/>"),
            Ok("CallForwardingBusy off forwardTo=sip:bob@10.0.0.11"),
        ),
        ("a missing forwardDN keeps the target", forwarding("forwardBusy", ON), Ok("CallForwardingBusy on forwardTo=sip:bob@10.0.0.11")),
        ("& and < in a target stay text", cfb("a&amp;b&lt;/forwardTo&gt;c"), Ok("CallForwardingBusy on forwardTo=a&b</forwardTo>c")),
        ("& in CDATA", cfb("<![CDATA[x&y]]>"), Ok("CallForwardingBusy on forwardTo=x&y")),
        (
            "forwardNoAns with a count",
            forwarding("forwardNoAns", &format!("<ringCount>3</ringCount>{ON}<forwardDN>5</forwardDN>")),
            Ok("CallForwardingNoAnswer on forwardTo=5 ringCount=3"),
        ),
        (
            "forwardNoAns, empty ringCount keeps it",
            forwarding("forwardNoAns", "<activateForward>0</activateForward><ringCount/>"),
            Ok("CallForwardingNoAnswer off forwardTo=5 ringCount=3"),
        ),
        (
            "ringCount over 100",
            forwarding("forwardNoAns", &format!("{ON}<ringCount>101</ringCount>")),
            Err("CallForwardingNoAnswer off forwardTo=5 ringCount=3"),
        ),
        ("a target of 513 characters", cfb(&"1".repeat(513)), Err("CallForwardingBusy on forwardTo=x&y")),
    ]
}

fn refused() -> Vec<Row> {
    const STAYS: Result<&str, &str> = Err("DoNotDisturb off");
    const ON: &str = "<doNotDisturbOn>true</doNotDisturbOn>";
    vec![
        ("DOCTYPE", format!("<!DOCTYPE x>{}", dnd(ON)), STAYS),
        ("entity declarations", format!("<!DOCTYPE x [<!ENTITY e \"true\">]>{}", dnd("<doNotDisturbOn>&e;</doNotDisturbOn>")), STAYS),
        ("an entity that nobody declared", dnd("<doNotDisturbOn>&e;</doNotDisturbOn>"), STAYS),
        ("over 8 KiB", dnd(&format!("{ON}<!--{}-->", "x".repeat(8192))), STAYS),
        ("depth over 8", dnd(&format!("{ON}{}{}", "<x>".repeat(8), "</x>".repeat(8))), STAYS),
        ("a root that nobody registered", format!("<SetHoteling xmlns=\"{ED3}\"/>"), STAYS),
        ("an event for a root", dnd(ON).replace("SetDoNotDisturb", "DoNotDisturbEvent"), STAYS),
        ("a missing status element", dnd("<device/>"), STAYS),
        ("an unreadable status element", dnd("<doNotDisturbOn>maybe</doNotDisturbOn>"), STAYS),
        ("an unknown forwardingType", forwarding("forwardDND", "<activateForward>true</activateForward>"), STAYS),
        ("no XML", "doNotDisturbOn=true".to_owned(), STAYS),
        ("two documents", format!("{0}{0}", dnd(ON)), STAYS),
    ]
}

fn agents() -> Vec<Row> {
    const REASON: &str = "<extensions><privateData><private><AgentNotReadyReasonValue xmlns=\"http://schema.broadsoft.com/CSTAPrivateData\">\
        7</AgentNotReadyReasonValue></private></privateData></extensions>";
    const PREFIXED: &str = "<extensions><privateData><private xmlns:pri=\"http://schema.broadsoft.com/CSTAPrivateData\">\
        <pri:AgentNotReadyReasonValue>8</pri:AgentNotReadyReasonValue></private></privateData></extensions>";
    vec![
        ("SetAgentState loggedOn", agent("loggedOn", "<agentID>1</agentID><password>x</password>"), Ok("AgentState LoggedOn")),
        ("ready", agent("ready", ""), Ok("AgentState Ready")),
        ("notReady with a reason", agent("notReady", REASON), Ok("AgentState NotReady reason=7")),
        ("notReady with a reason that has a prefix", agent("notReady", PREFIXED), Ok("AgentState NotReady reason=8")),
        ("workingAfterCall", agent("workingAfterCall", ""), Ok("AgentState WorkingAfterCall")),
        ("loggedOff", agent("loggedOff", ""), Ok("AgentState LoggedOff")),
        ("an unknown state", agent("asleep", ""), Err("AgentState LoggedOff")),
    ]
}

fn run(phone: &Phone, section: &str, presentity: &str, rows: &[Row]) {
    let mut dialog = phone.subscribe(presentity);
    dialog.shows(4);
    for (name, body, want) in rows {
        let name = format!("{section}: {name}");
        let response = dialog.send(&Subscribe { body: body.clone(), ..Subscribe::default() });
        let expected = if want.is_ok() { 200 } else { 400 };
        assert_eq!(response.status(), Some(expected), "{name}: {}", response.start);
        assert_eq!(response.header("warning").is_some(), want.is_err(), "{name}: a reason where it is refused");
        let (Ok(line) | Err(line)) = want;
        let notify = dialog.until(line);
        if want.is_ok() {
            assert_eq!(
                (notify.shows().as_slice(), notify.must("content-type")),
                ([(*line).to_owned()].as_slice(), "application/x-as-feature-event+xml"),
                "{name}: that feature alone"
            );
        }
    }
}

#[test]
fn bodies_are_taken_or_refused_alike_over_every_transport() {
    let nats = Nats::start();
    let site = Site::on(&nats);
    for transport in TRANSPORTS {
        let phone = site.phone(transport);
        run(&phone, "spellings", &format!("sip:spelling-{}@127.0.0.1", transport.0), &spellings());
        run(&phone, "refusals", &format!("sip:refused-{}@127.0.0.1", transport.0), &refused());
        run(&phone, "forwarding", &format!("sip:forward-{}@127.0.0.1", transport.0), &forwards());
        run(&phone, "agent states", &format!("sip:agent-{}@127.0.0.1", transport.0), &agents());
    }
}
