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

/// The commands of a page: lines of its shell blocks, and what stands between backticks.
fn commands_of(page: &str) -> Vec<String> {
    let (mut found, mut is_shell) = (Vec::new(), false);
    for line in page.lines() {
        if let Some(language) = line.strip_prefix("```") {
            is_shell = language == "sh";
        } else if is_shell {
            found.push(line.split(['|', '#', '>']).next().unwrap_or_default().to_owned());
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found.retain(|command| command.starts_with("dfks ") && command.split(' ').nth(1).is_some_and(|word| !word.contains('…')));
    found
}

#[test]
fn the_commands_of_the_runbooks_are_ones_that_there_are() {
    let fill = [
        ("PRESENTITY", "sip:alice@example.com"),
        ("FEATURE", "DoNotDisturb"),
        ("SUBSCRIPTION", "0c7d4bd54b5f90fb3d3b5eb9"),
        ("SUBJECT", "dfks.responder.set.example_com.DoNotDisturb"),
        ("SEQ", "7"),
        ("ROLE", "mi"),
    ];
    let mut wrong = Vec::new();
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/runbooks")).unwrap() {
        let path = file.unwrap().path();
        let commands = commands_of(&std::fs::read_to_string(&path).unwrap());
        assert!(!commands.is_empty(), "{}", path.display());
        for command in commands {
            let filled = fill.iter().fold(command.clone(), |text, (from, to)| text.replace(from, to));
            // the name of a command alone says which one is meant
            let is_name = filled.split_whitespace().count() == 2;
            if let Err(error) = Cli::try_parse_from(filled.split_whitespace())
                && !(is_name && error.kind() == clap::error::ErrorKind::MissingRequiredArgument)
                && error.kind() != clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            {
                wrong.push(format!("{}: {command}: {}", path.display(), error.kind()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
