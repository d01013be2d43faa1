use super::*;
use crate::feature::state::{FeatureState, Status};
use crate::feature::{csta, csta_write};

fn row() -> FeatureConfig {
    FeatureConfig {
        request_root: "SetCallWaiting".into(),
        event_root: "CallWaitingEvent".into(),
        status_request: "callWaitingOn".into(),
        status_event: "callWaitingOn".into(),
        ..FeatureConfig::default()
    }
}

fn with(name: &str, change: impl FnOnce(&mut FeatureConfig)) -> Result<FeatureTable, TableError> {
    let mut row = row();
    change(&mut row);
    FeatureTable::with_config(&BTreeMap::from([(name.to_owned(), row)]), &BTreeMap::new())
}

#[test]
fn rows_come_after_the_built_in_ones() {
    let table = with("CallWaiting", |row| {
        row.values =
            BTreeMap::from([("ringCount".into(), ("rings".into(), "ringsOut".into())), ("tone".into(), ("tone".into(), "tone".into()))]);
    })
    .unwrap();
    assert_eq!(table.names().last(), Some("CallWaiting"));
    let spec = table.find("CallWaiting").unwrap();
    assert!(spec.default_state().assigned);
    assert!(spec.check_value("ringCount", "101").is_err());
    assert!(spec.check_value("tone", "soft").is_ok());
}

#[test]
fn a_forwarding_type_of_ones_own_shares_the_root() {
    let table = with("CallForwardingNotReachable", |row| {
        row.request_root = "SetForwarding".into();
        row.event_root = "ForwardingEvent".into();
        row.type_element = "forwardingType".into();
        row.type_value = "forwardNotReachable".into();
        row.status_request = "activateForward".into();
        row.status_event = "forwardStatus".into();
    });
    assert!(table.is_ok(), "{table:?}");
}

#[test]
fn an_unusable_row_is_refused_with_its_key() {
    type Change = fn(&mut FeatureConfig);
    let cases: [(&str, Change, &str); 12] = [
        ("Call.Waiting", |_| {}, "features: invalid name 'Call.Waiting': expected a letter, then letters, digits, '-' or '_', at most 64"),
        ("DoNotDisturb", |_| {}, "features.DoNotDisturb: is built in, expected another name"),
        ("X", |row| row.request_root.clear(), "features.X.request_root: is missing, expected an XML element name"),
        (
            "X",
            |row| row.event_root = "a:b".into(),
            "features.X.event_root: invalid value 'a:b', expected an XML element name without a prefix",
        ),
        ("X", |row| row.type_element = "kind".into(), "features.X: expected both type_element and type_value, or neither"),
        ("X", |row| row.type_value = "kind".into(), "features.X: expected both type_element and type_value, or neither"),
        (
            "X",
            |row| (row.type_element, row.type_value) = ("kind".into(), "a\"b".into()),
            "features.X.type_value: invalid value 'a?b', expected at most 64 letters, digits and signs without quotes",
        ),
        (
            "X",
            |row| row.values = BTreeMap::from([("tone".into(), ("tone".into(), "callWaitingOn".into()))]),
            "features.X.values.tone: 'callWaitingOn' stands for something else in the same document, expected another name",
        ),
        (
            "X",
            |row| row.status_request = "device".into(),
            "features.X.status: 'device' stands for something else in the same document, expected another name",
        ),
        (
            "X",
            |row| row.request_root = "SetDoNotDisturb".into(),
            "features.X.request_root: 'SetDoNotDisturb' is taken by DoNotDisturb, expected another root, or another type_value of the same type_element",
        ),
        (
            "X",
            |row| row.event_root = "ForwardingEvent".into(),
            "features.X.event_root: 'ForwardingEvent' is taken by CallForwardingAlways, expected another root, or another type_value of the same type_element",
        ),
        (
            "X",
            |row| row.event_root = "AgentReadyEvent".into(),
            "features.X.event_root: 'AgentReadyEvent' is taken by AgentState, expected another root, or another type_value of the same type_element",
        ),
    ];
    for (name, change, want) in cases {
        assert_eq!(with(name, change).unwrap_err().to_string(), want);
    }
}

#[test]
fn two_rows_with_one_root_clash() {
    let rows = BTreeMap::from([("A".to_owned(), row()), ("B".to_owned(), row())]);
    let error = FeatureTable::with_config(&rows, &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().starts_with("features.B.request_root: 'SetCallWaiting' is taken by A"), "{error}");
}

#[test]
fn a_row_has_namespaces_prefixes_and_paths_of_its_own() {
    const CSTA: &str = "http://www.ecma-international.org/standards/ecma-323/csta/ed3";
    let reason = "extensions/privateData/private/Reason";
    let code = "extensions/privateData/private/Code";
    let values = BTreeMap::from([
        ("code".to_owned(), (code.to_owned(), code.to_owned())),
        ("note".to_owned(), ("note".to_owned(), "note".to_owned())),
        ("reason".to_owned(), (reason.to_owned(), reason.to_owned())),
    ]);
    let written = |change: fn(&mut FeatureConfig)| {
        let table = with("CallWaiting", |row| {
            row.values = values.clone();
            change(row);
        })
        .unwrap();
        let set = [("code", "7"), ("note", "a<b"), ("reason", "lunch")].map(|(field, value)| (field.to_owned(), value.to_owned()));
        let state = FeatureState { status: Status::ON, values: set.clone().into(), ..FeatureState::new("CallWaiting") };
        let (mut event, mut request) = (Vec::new(), Vec::new());
        csta_write::write_event(&table, "alice", &state, &mut event).unwrap();
        let shown = csta::read_event(&table, &event).unwrap();
        assert_eq!((shown.device.as_str(), shown.status, shown.values), ("alice", Status::ON, set.clone().into()));
        csta_write::write_request(&table, "alice", "CallWaiting", Status::ON, &state.values, &mut request).unwrap();
        assert_eq!(csta::read_request(&table, &request).unwrap().values, set.into());
        String::from_utf8(event).unwrap().strip_prefix("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>").unwrap().to_owned()
    };
    assert_eq!(
        written(|_| {}),
        format!(
            "<CallWaitingEvent xmlns=\"{CSTA}\"><device>alice</device><callWaitingOn>true</callWaitingOn><extensions><privateData><private>\
             <Code>7</Code><Reason>lunch</Reason></private></privateData></extensions><note>a&lt;b</note></CallWaitingEvent>"
        )
    );
    assert_eq!(
        written(|row| (row.value_namespace, row.value_prefix) = ("urn:pri".into(), "pri".into())),
        format!(
            "<CallWaitingEvent xmlns=\"{CSTA}\"><device>alice</device><callWaitingOn>true</callWaitingOn><extensions><privateData>\
             <private xmlns:pri=\"urn:pri\"><pri:Code>7</pri:Code><pri:Reason>lunch</pri:Reason></private></privateData></extensions>\
             <note>a&lt;b</note></CallWaitingEvent>"
        )
    );
    assert_eq!(
        written(|row| (row.namespace, row.prefix, row.value_namespace) = ("urn:v".into(), "v".into(), "urn:pri".into())),
        "<v:CallWaitingEvent xmlns:v=\"urn:v\"><v:device>alice</v:device><v:callWaitingOn>true</v:callWaitingOn><v:extensions>\
         <v:privateData><v:private><Code xmlns=\"urn:pri\">7</Code><Reason xmlns=\"urn:pri\">lunch</Reason></v:private></v:privateData>\
         </v:extensions><v:note>a&lt;b</v:note></v:CallWaitingEvent>"
    );
}

#[test]
fn a_path_says_where_a_value_is_and_nowhere_else() {
    let table = with("CallWaiting", |row| row.values = BTreeMap::from([("tone".into(), ("a/b/tone".into(), "tone".into()))])).unwrap();
    let tone = |inside: &str| {
        let body = format!("<SetCallWaiting><callWaitingOn>1</callWaitingOn>{inside}</SetCallWaiting>");
        csta::read_request(&table, body.as_bytes()).map(|change| change.values.get("tone").cloned()).map_err(|error| error.reason())
    };
    for (inside, want) in [
        ("<a><b><tone>soft</tone></b></a>", Ok(Some("soft".to_owned()))),
        ("<p:a xmlns:p='urn:x'><p:b><p:c/><p:tone> soft </p:tone></p:b></p:a>", Ok(Some("soft".to_owned()))),
        ("<tone>soft</tone>", Ok(None)),
        ("<a><tone>soft</tone></a>", Ok(None)),
        ("<b><a><tone>soft</tone></a></b>", Ok(None)),
        ("<a><b/></a><c><b><tone>soft</tone></b></c>", Ok(None)),
        ("<a><b><tone>soft</tone></b></a><a><b><tone>loud</tone></b></a>", Err("ambiguous")),
    ] {
        assert_eq!(tone(inside), want, "{inside}");
    }
}

#[test]
fn names_that_make_no_document_are_refused() {
    fn values(path: &str) -> BTreeMap<String, (String, String)> {
        BTreeMap::from([("tone".into(), (path.into(), path.into()))])
    }
    type Change = fn(&mut FeatureConfig);
    let cases: [(Change, &str); 8] = [
        (
            |row| row.namespace = "urn:a b".into(),
            "features.X.namespace: invalid value 'urn:a b', expected a URI of at most 256 characters without quotes and blanks",
        ),
        (|row| row.prefix = "v".into(), "features.X.prefix: 'v' has no namespace that it stands for"),
        (
            |row| (row.value_namespace, row.value_prefix) = ("urn:p".into(), "xmlP".into()),
            "features.X.value_prefix: 'xmlP' is kept for XML, expected another prefix",
        ),
        (
            |row| {
                (row.namespace, row.prefix, row.value_namespace, row.value_prefix) =
                    ("urn:a".into(), "v".into(), "urn:b".into(), "v".into());
            },
            "features.X.value_prefix: 'v' stands for another namespace already",
        ),
        (|row| row.values = values("a//b"), "features.X.values.tone: invalid value 'a//b', expected an XML element name without a prefix"),
        (
            |row| row.values = values("a/b/c/d/e/f/g/h"),
            "features.X.values.tone: invalid value 'a/b/c/d/e/f/g/h', expected an XML element name without a prefix",
        ),
        (
            |row| row.values = values("device/tone"),
            "features.X.values.tone: 'device/tone' stands for something else in the same document, expected another name",
        ),
        (
            |row| row.values = values("callWaitingOn/tone"),
            "features.X.values.tone: 'callWaitingOn/tone' stands for something else in the same document, expected another name",
        ),
    ];
    for (change, want) in cases {
        assert_eq!(with("X", change).unwrap_err().to_string(), want);
    }
}

#[test]
fn a_raw_feature_is_its_document() {
    let raw = |row: &mut FeatureConfig| *row = FeatureConfig { kind: FeatureKind::Raw, ..FeatureConfig::default() };
    let table = with("Whiteboard", raw).unwrap();
    let spec = table.find("Whiteboard").unwrap();
    assert!(!spec.default_state().assigned);
    let document = "<?xml version=\"1.0\"?>\n<w:board xmlns:w='urn:w' a=\"1\"><w:line>a &amp; é</w:line>\t</w:board>";
    let state =
        |document: &str| FeatureState { values: [("document".to_owned(), document.to_owned())].into(), ..FeatureState::new("Whiteboard") };
    for text in [document, ""] {
        let mut out = Vec::new();
        spec.check_values(&state(text).values).unwrap();
        table.package_of("Whiteboard").write_event(&table, "alice", &state(text), &mut out).unwrap();
        assert_eq!(out, text.as_bytes(), "as it is");
    }
    let long = format!("<a>{}</a>", "x".repeat(8 * 1024));
    for (bad, want) in [
        ("<a>", "invalid document: expected one XML document with one root element"),
        ("<a/><b/>", "invalid document: expected one XML document with one root element"),
        ("<!DOCTYPE a><a/>", "invalid document: a DOCTYPE is not allowed"),
        ("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a/>", "invalid document: it says that it is ISO-8859-1, and is sent in UTF-8"),
        ("<a>\u{1}</a>", "invalid document: it has the character U+0001"),
        (&long, "invalid document: it has 8199 bytes, expected at most 8192"),
    ] {
        let error = spec.check_value("document", bad).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.field().as_str()), (want, "values.document"));
    }
    let asked = AS_FEATURE_EVENT.write_request(&table, "alice", ("Whiteboard", Status::ON), &state(document).values, &mut Vec::new());
    assert_eq!(asked.unwrap_err().reason(), "raw");
    let error = with("Whiteboard", |row| row.kind = FeatureKind::Raw).unwrap_err();
    assert_eq!(error.to_string(), "features.Whiteboard: kind = \"raw\" takes no other column but package, its document is sent as it is");
}

#[test]
fn a_package_of_ones_own_has_raw_features() {
    let raw = |package: &str| FeatureConfig { kind: FeatureKind::Raw, package: package.into(), ..FeatureConfig::default() };
    let package = |event: &str, content_type: &str| PackageConfig { event: event.into(), content_type: content_type.into() };
    let table = |feature: FeatureConfig, row: PackageConfig| {
        FeatureTable::with_config(&BTreeMap::from([("Board".to_owned(), feature)]), &BTreeMap::from([("acme".to_owned(), row)]))
    };
    let good = || package("x-acme.board", "application/x-acme+xml");
    let made = table(raw("acme"), good()).unwrap();
    let board = made.package("X-Acme.Board").unwrap();
    assert_eq!((made.package_of("Board"), made.package_of("DoNotDisturb")), (board, &AS_FEATURE_EVENT));
    assert_eq!(made.allow_events(), "as-feature-event, x-broadworks-hoteling, x-acme.board");
    let state = FeatureState { values: [("document".to_owned(), "<a/>".to_owned())].into(), ..FeatureState::new("Board") };
    for package in made.packages() {
        assert_eq!(package.write_event(&made, "alice", &state, &mut Vec::new()).is_ok(), *package == board, "{}", package.name);
    }
    assert_eq!(board.read_event(&made, b"<a/>").unwrap().feature, "Board");

    let event = "expected the name of an event package: at most 64 letters, digits and -!%*_+`'~";
    let media = "expected a media type without parameters, no multipart";
    for (feature, row, want) in [
        (raw("acme"), package("", "a/b"), format!("packages.acme.event: invalid value '', {event}")),
        (raw("acme"), package("x board", "a/b"), format!("packages.acme.event: invalid value 'x board', {event}")),
        (raw("acme"), package("x..y", "a/b"), format!("packages.acme.event: invalid value 'x..y', {event}")),
        (
            raw("acme"),
            package("As-Feature-Event", "a/b"),
            "packages.acme.event: invalid value 'As-Feature-Event', expected the name of no other package".to_owned(),
        ),
        (raw("acme"), package("x-acme", "xml"), format!("packages.acme.content_type: invalid value 'xml', {media}")),
        (raw("acme"), package("x-acme", "a/b; c=d"), format!("packages.acme.content_type: invalid value 'a/b; c=d', {media}")),
        (
            raw("acme"),
            package("x-acme", "multipart/mixed"),
            format!("packages.acme.content_type: invalid value 'multipart/mixed', {media}"),
        ),
        (
            raw(""),
            good(),
            "packages.acme: has no feature, expected a [features.NAME] with kind = \"raw\" and package = \"acme\"".to_owned(),
        ),
        (raw("acne"), good(), "features.Board.package: invalid value 'acne', expected acme, as-feature-event".to_owned()),
        (
            FeatureConfig { package: "acme".into(), ..row() },
            good(),
            "features.Board.package: invalid value 'acme', expected kind = \"raw\" in one of [packages]".to_owned(),
        ),
    ] {
        assert_eq!(table(feature, row).unwrap_err().to_string(), want);
    }
}
