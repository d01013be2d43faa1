//! What the command line takes.

use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn reads_key_presses() {
    for (text, want) in [
        ("DoNotDisturb=on", Some(("DoNotDisturb", true, vec![]))),
        ("DoNotDisturb=off", Some(("DoNotDisturb", false, vec![]))),
        ("CallForwardingBusy=1,forwardTo=sip:b@h;a=b", Some(("CallForwardingBusy", true, vec![("forwardTo", "sip:b@h;a=b")]))),
        ("F=on,forwardTo=a,b,ringCount=4", Some(("F", true, vec![("forwardTo", "a,b"), ("ringCount", "4")]))),
        ("F=on,forwardTo=", Some(("F", true, vec![("forwardTo", "")]))),
        ("DoNotDisturb", None),
        ("DoNotDisturb=maybe", None),
        ("=on", None),
        ("F=on,x", None),
        ("", None),
    ] {
        let want = want.map(|(feature, is_on, values)| Press {
            feature: feature.to_owned(),
            is_on,
            values: values.into_iter().map(|(field, value)| (field.to_owned(), value.to_owned())).collect(),
        });
        assert_eq!(press(text).ok(), want, "{text}");
    }
}

#[test]
fn reads_fields_and_seconds() {
    assert_eq!(field("forwardTo=sip:b@h;x=y"), Ok(("forwardTo".to_owned(), "sip:b@h;x=y".to_owned())));
    assert_eq!(field("forwardTo="), Ok(("forwardTo".to_owned(), String::new())));
    assert!(field("forwardTo").is_err() && field("=x").is_err());
    assert_eq!(seconds("0.5"), Ok(0.5));
    assert!(seconds("-1").is_err() && seconds("NaN").is_err() && seconds("inf").is_err() && seconds("x").is_err());
}

#[test]
fn features_are_named_short_or_in_any_case() {
    for (written, name) in [
        ("DND", "DoNotDisturb"),
        ("dnd", "DoNotDisturb"),
        ("cfa", "CallForwardingAlways"),
        ("CFB", "CallForwardingBusy"),
        ("CfNa", "CallForwardingNoAnswer"),
        ("donotdisturb", "DoNotDisturb"),
        ("Voicemail", "Voicemail"),
    ] {
        let cli = Cli::try_parse_from(["dfks", "set", "sip:alice@h", written, "on"]).unwrap();
        let Command::Set(args) = cli.command else { panic!("set") };
        assert_eq!(args.feature.as_deref(), Some(name));
        let cli = Cli::try_parse_from(["dfks", "get", "sip:alice@h", written]).unwrap();
        let Command::Get(args) = cli.command else { panic!("get") };
        assert_eq!(args.features, [name]);
    }
}
