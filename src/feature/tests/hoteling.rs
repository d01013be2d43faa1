use super::*;
use proptest::prelude::*;

const NS: &str = r#"xmlns="http://schema.broadsoft.com/hoteling""#;

fn request(body: &str) -> Result<FeatureChange, BodyError> {
    read_request(&FeatureTable::built_in(), body.as_bytes())
}

fn values(pairs: &[(&str, &str)]) -> Values {
    pairs.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect()
}

fn state(on: bool, pairs: &[(&str, &str)]) -> FeatureState {
    FeatureState { status: Status(on), values: values(pairs), ..FeatureState::new(FEATURE) }
}

fn event(state: &FeatureState) -> String {
    let mut out = Vec::new();
    write_event(&FeatureTable::built_in(), "alice", state, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_guest_comes_and_leaves() {
    for (name, body, on, want) in [
        ("comes", format!("<SetHoteling {NS}><guestAddress>2001</guestAddress></SetHoteling>"), true, vec![("guestAddress", "2001")]),
        ("leaves", format!("<SetHoteling {NS}><guestAddress/></SetHoteling>"), false, vec![]),
        ("leaves, blanks", format!("<SetHoteling {NS}><guestAddress> \r\n</guestAddress></SetHoteling>"), false, vec![]),
        (
            "prefix",
            "<h:SetHoteling xmlns:h=\"http://schema.broadsoft.com/hoteling\"><h:guestAddress>a</h:guestAddress></h:SetHoteling>".into(),
            true,
            vec![("guestAddress", "a")],
        ),
        ("no namespace", "<SetHoteling><guestAddress>a &amp; b</guestAddress></SetHoteling>".into(), true, vec![("guestAddress", "a & b")]),
        (
            "more than is known",
            format!("<SetHoteling {NS}><guestAddress>a</guestAddress><nonce>n</nonce><other><response>r</response></other></SetHoteling>"),
            true,
            vec![("guestAddress", "a")],
        ),
        (
            "with a proof",
            format!(
                "<SetHoteling {NS}><guestAddress>a</guestAddress><authenticationData><nonce>n</nonce><algorithm>MD5</algorithm>\
                 <response>e1</response></authenticationData></SetHoteling>"
            ),
            true,
            vec![("guestAddress", "a"), ("nonce", "n"), ("algorithm", "MD5"), ("response", "e1")],
        ),
        (
            "with expires",
            format!("<SetHoteling {NS}><guestAddress>a</guestAddress><expires>60</expires></SetHoteling>"),
            true,
            vec![("guestAddress", "a"), ("expires", "60")],
        ),
    ] {
        let change = request(&body).unwrap();
        assert_eq!((change.feature.as_str(), change.status.is_on(), change.values), (FEATURE, on, values(&want)), "{name}");
    }
}

#[test]
fn what_is_no_request_is_refused_with_the_reason() {
    let long = format!("<SetHoteling {NS}><guestAddress>{}</guestAddress></SetHoteling>", "a".repeat(513));
    for (body, reason) in [
        (format!("<SetHoteling {NS}/>"), "no_status"),
        (format!("<HotelingEvent {NS}><guestAddress/></HotelingEvent>"), "unknown_root"),
        (
            "<SetHoteling xmlns=\"http://www.ecma-international.org/standards/ecma-323/csta/ed3\"><guestAddress/></SetHoteling>".into(),
            "unknown_root",
        ),
        (format!("<SetHoteling {NS}><guestAddress>a</guestAddress><guestAddress>b</guestAddress></SetHoteling>"), "ambiguous"),
        (format!("<SetHoteling {NS}><guestAddress>a</guestAddress><expires>soon</expires></SetHoteling>"), "seconds"),
        (
            format!(
                "<SetHoteling {NS}><guestAddress>a</guestAddress><authenticationData><response>1</response><response>2</response>\
                 </authenticationData></SetHoteling>"
            ),
            "ambiguous",
        ),
        (format!("<SetHoteling {NS}><guestAddress>a"), "malformed"),
        (String::new(), "malformed"),
        (long, "too_long"),
        ("<!DOCTYPE a><SetHoteling/>".into(), "doctype"),
    ] {
        let error = request(&body).unwrap_err();
        assert_eq!((error.reason(), error.feature()), (reason, Some(FEATURE)), "{body}");
        assert!(!error.to_string().contains(['"', '\\', '\r', '\n']), "{error}");
    }
}

#[test]
fn the_event_has_the_guest_and_its_time_or_an_empty_guest() {
    const HEAD: &str = r#"<?xml version="1.0" encoding="ISO-8859-1"?><HotelingEvent xmlns="http://schema.broadsoft.com/hoteling">"#;
    for (state, want) in [
        (state(false, &[]), "<guestAddress/>"),
        (state(false, &[("guestAddress", "2001"), ("expires", "60")]), "<guestAddress/>"),
        (state(false, &[("nonce", "n&1")]), "<guestAddress/><authenticationData><nonce>n&amp;1</nonce></authenticationData>"),
        (
            state(true, &[("guestAddress", "2001"), ("expires", "60"), ("nonce", "n")]),
            "<guestAddress>2001</guestAddress><expires>60</expires>",
        ),
        (state(true, &[("guestAddress", "2001"), ("expires", "60")]), "<guestAddress>2001</guestAddress><expires>60</expires>"),
        (state(true, &[("guestAddress", "a&<b")]), "<guestAddress>a&amp;&lt;b</guestAddress><expires>43200</expires>"),
    ] {
        assert_eq!(event(&state), format!("{HEAD}{want}</HotelingEvent>"));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(on: bool, guest in "[!-~é€]{1,40}", expires in proptest::option::of(0_u32..)) {
        let table = FeatureTable::built_in();
        let mut pairs = values(&[("guestAddress", &guest)]);
        if let Some(expires) = expires {
            pairs.insert("expires".to_owned(), expires.to_string());
        }
        let state = FeatureState { status: Status(on), values: pairs.clone(), ..FeatureState::new(FEATURE) };
        let shown = read_event(&table, event(&state).as_bytes()).unwrap();
        prop_assert_eq!(shown.status.is_on(), on);
        if on {
            pairs.entry("expires".to_owned()).or_insert_with(|| DEFAULT_EXPIRES_SECONDS.to_string());
            prop_assert_eq!(&shown.values, &pairs);
        } else {
            prop_assert!(shown.values.is_empty());
        }
        let mut out = Vec::new();
        write_request(&table, "alice", FEATURE, Status(on), &state.values, &mut out).unwrap();
        let change = read_request(&table, &out).unwrap();
        prop_assert_eq!((change.status.is_on(), change.values.get("guestAddress").cloned()), (on, on.then_some(guest)));
    }
    #[test]
    fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read_request(&FeatureTable::built_in(), &body).is_err_and(|error| error.feature() == Some(FEATURE)));
    }
}
