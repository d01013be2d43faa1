use super::*;

#[test]
fn names_are_those_of_the_contract() {
    let subjects = Subjects::new("dfks");
    let alice = Presentity::parse("sip:alice@10.0.0.11").unwrap();
    assert_eq!(subjects.responder_get(&alice, "DoNotDisturb"), "dfks.responder.get.10_0_0_11.DoNotDisturb");
    assert_eq!(subjects.responder_auth(&alice), "dfks.responder.auth.10_0_0_11");
    assert_eq!(subjects.event_feature(&alice, "DoNotDisturb"), "dfks.event.feature.10_0_0_11.DoNotDisturb");
    assert_eq!(subjects.stream("NOTIFY"), "DFKS_NOTIFY");
    assert_eq!(subjects.notify("edge-0.lab"), "dfks.notify.edge-0=2Elab");
    assert_eq!(subjects.edge_of_notify("dfks.notify.edge-0=2Elab").as_deref(), Some("edge-0.lab"));
    for foreign in ["dfks.notify.a=2", "dfks.notify.a=zz", "x.notify.a", "dfks.watchers"] {
        assert_eq!(subjects.edge_of_notify(foreign), None, "{foreign}");
    }
    for (subject, want) in [
        ("dfks.command.set", Ok(None)),
        ("dfks.command.set.a_example", Ok(Some("a_example"))),
        ("dfks.command.set.a.b", Err(UnknownSubject)),
        ("dfks.command.sets", Err(UnknownSubject)),
        ("x.command.set", Err(UnknownSubject)),
    ] {
        assert_eq!(subjects.domain_of_command(subject), want, "{subject}");
    }
    for (subject, want) in [("_INBOX.a.b", false), ("$KV.dfks-features.x", true), ("dfks.command.set", true), ("dfksx.a", false)] {
        assert_eq!(subjects.is_no_inbox(subject), want, "{subject}");
    }
    assert_eq!((subjects.set_of(&alice), subjects.get_of_any_domain()), ("dfks.set.10_0_0_11".into(), "dfks.get.*".into()));
    assert_eq!(subjects.subscription_of_key(&subjects.subscription_key("ab")), Some("ab"));
    assert_eq!(presentity_key(&alice), "sip=3Aalice=4010=2E0=2E0=2E11");
    assert_eq!(presentity_of_key(&presentity_key(&alice)), Some(alice));
    assert_eq!(presentity_of_key("elsewhere"), None);
    let other = Subjects::new("x");
    assert_eq!(
        (other.stream("DEAD"), other.feature_bucket(), other.worker_service()),
        ("X_DEAD".into(), "x-features".into(), "x-worker".into())
    );
}
