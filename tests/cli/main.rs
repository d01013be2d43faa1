//! The `dfks` binary: what it prints and how it ends.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may panic, and looks at the clock itself"
)]

use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use dfks::config::Config;
use harness::{dfks, dfks_in};

#[path = "../common/mod.rs"]
mod common;
#[path = "../harness/mod.rs"]
mod harness;
mod nats;
mod phones;
mod route;
mod run;
mod terminal;

#[test]
fn usage_errors_are_64_and_help_is_0() {
    for args in [
        &[][..],
        &["frob"],
        &["set", "sip:alice@h"],
        &["set", "sip:alice@h", "DoNotDisturb", "maybe"],
        &["set", "sip:alice@h", "CallForwardingBusy", "on", "--value", "forwardTo"],
        &["get", "sip:alice@h", "--timeout", "0"],
        &["get", "sip:alice@h", "--nats", "http://h"],
        &["run", "--role", "proxy"],
        &["phone", "sip:alice@h"],
        &["phone", "alice", "--server", "127.0.0.1:5060"],
        &["phone", "sip:alice@h", "--server", "127.0.0.1"],
        &["phone", "sip:alice@h", "--server", "127.0.0.1:5060", "--press", "DoNotDisturb"],
        &["phone", "sip:alice@h", "--server", "127.0.0.1:5060", "--for", "-1"],
        &["events", "--kind", "weather"],
        &["events", "--count", "0"],
        &["events", "--presentity", "alice"],
        &["completions"],
        &["completions", "perl"],
    ] {
        let ended = dfks(args);
        assert_eq!((ended.code, ended.out.as_str()), (64, ""), "{args:?} {}", ended.err);
        assert!(!ended.err.is_empty(), "{args:?}");
    }
    let version = dfks(&["--version"]);
    assert_eq!((version.code, version.out.as_str()), (0, concat!("dfks ", env!("CARGO_PKG_VERSION"), "\n")));
    for command in ["run", "check", "set", "get", "watchers", "events", "phone", "schemas", "completions", "man"] {
        let help = dfks(&[command, "--help"]);
        assert_eq!(help.code, 0, "{command}");
        assert!(help.out.contains("Example") && help.out.contains(&format!("dfks {command}")), "{command}: {}", help.out);
    }
}

#[test]
fn check_prints_the_effective_configuration() {
    let ended = dfks(&["check"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let mut defaults = Config::default();
    defaults.nats.data_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("dfks-data");
    assert_eq!(toml::from_str::<Config>(&ended.out).unwrap(), defaults);
    assert!(!ended.out.contains('#'), "nothing differs from the defaults: {}", ended.out);
    let env = [("DFKS__NATS__URL", "nats://dfks:s3cret@10.0.0.5:4222"), ("DFKS__SIP__EDGE_ID", "007"), ("DFKS__MI__HTTP", "")];
    let ended = dfks_in(&["check"], &env);
    assert!(ended.out.contains("url = \"nats://***@10.0.0.5:4222\"") && !ended.out.contains("s3cret"), "{}", ended.out);
    assert!(ended.out.contains("edge_id = \"007\"") && ended.out.contains("http = \"\""), "{}", ended.out);
}

#[test]
fn what_check_prints_means_the_same_wherever_it_is_saved() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let put = |dir: &Path, name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    std::fs::create_dir(dir.path().join("etc")).unwrap();
    put(dir.path(), "etc/routes.rhai", "fn dfks_set(dfks) {}");
    put(dir.path(), "etc/secret", "s");
    for data_dir in ["", "data_dir = \"./data\"\n", "data_dir = \"/var/lib/dfks\"\n"] {
        put(
            dir.path(),
            "etc/dfks.toml",
            &format!("[nats]\n{data_dir}token_file = \"secret\"\n[routes]\nscript = \"routes.rhai\"\n[[profile]]\nuser_agent = \"Acme\"\n"),
        );
        let check = |config: &str, dir: &Path| {
            let ended = harness::dfks_at_folder(dir, &["check", "--config", config]);
            assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{data_dir}");
            ended.out
        };
        let printed = check("etc/dfks.toml", dir.path());
        for (key, file) in [("token_file", "etc/secret"), ("script", "etc/routes.rhai")] {
            let line = format!("{key} = \"{}\"  # default: \"\"", dir.path().join(file).display());
            assert!(printed.lines().any(|found| found == line), "{line} in\n{printed}");
        }
        put(elsewhere.path(), "saved.toml", &printed);
        let again = check("saved.toml", elsewhere.path());
        let plain =
            |text: &str| text.lines().map(|line| line.split("  # default").next().unwrap_or_default().to_owned()).collect::<Vec<_>>();
        assert_eq!(plain(&again), plain(&printed));
        let (first, second) = (toml::from_str::<Config>(&printed).unwrap(), toml::from_str::<Config>(&again).unwrap());
        assert_eq!(first, second);
        assert!(first.nats.data_dir.is_absolute());
    }
}

#[test]
fn check_and_run_warn_of_what_was_hardly_meant() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("routes.rhai");
    let env = [("DFKS__ROUTES__SCRIPT", script.to_str().unwrap()), ("DFKS__NATS__URL", "nats://127.0.0.1:1")];
    for (text, want) in [
        ("", &["it has neither dfks_get nor dfks_set"][..]),
        ("fn dfks_sett(dfks) { deny(\"x\"); }", &["fn dfks_sett is no route, is it meant to be the set route dfks_set?", "neither"]),
        ("fn dfks_get(dfks) {} fn dfksset(dfks) {}", &["fn dfksset is no route"]),
    ] {
        std::fs::write(&script, text).unwrap();
        let ended = dfks_in(&["check"], &env);
        assert_eq!((ended.code, ended.err.lines().count()), (0, want.len()), "{}", ended.err);
        for (line, want) in ended.err.lines().zip(want) {
            assert!(line.starts_with("dfks: warning: routes.script ") && line.contains(want), "{line}");
        }
        toml::from_str::<Config>(&ended.out).unwrap();
        let mut dfks_run = run::Running::start(&env, &["--role", "edge"]);
        for want in want {
            assert!(dfks_run.line("WARN").contains(want));
        }
    }
}

#[test]
fn every_example_configuration_passes_check() {
    let mut checked = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/config")).unwrap() {
        let path = entry.unwrap().path();
        let ended = dfks(&["check", "--config", path.to_str().unwrap()]);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", path.display());
        checked += 1;
    }
    assert!(checked >= 3);
}

#[test]
fn a_bad_configuration_is_78_and_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    put("broken.rhai", "fn dfks_set(dfks) {\n  let x = ;\n}");
    put("other.rhai", "fn billing_sett(dfks) {}");
    let nats = ("DFKS__NATS__URL", "nats://127.0.0.1:1");
    for (text, env, want) in [
        ("[sip]\nudp_limit = 1", nats, "sip.udp_limit = 1: unknown key, expected advertise, "),
        ("[nats]\ntimeout_ms = \"x\"", nats, "nats.timeout_ms = \"x\": expected a whole number"),
        ("", ("DFKS__LOG__LEVEL", "loud"), "log.level = \"loud\": expected error, warn, "),
        ("", ("DFKS__SIP__LISTEN", "udp:0.0.0.0:5060"), "sip.listen[0] = \"udp:0.0.0.0:5060\": refused: not a loopback address"),
        ("[trace]\notlp = \"grpc://h\"", nats, "trace.otlp = \"grpc://h\": expected http://HOST:PORT of an OTLP collector"),
        ("[routes]\nscript = \"nowhere.rhai\"", nats, "expected a file that can be read"),
        ("[routes]\nscript = \"broken.rhai\"", nats, "broken.rhai, line 2: "),
        (
            "[routes]\nscript = \"other.rhai\"\nset_route = \"billing_set\"",
            nats,
            "routes.set_route = \"billing_set\": expected a function of ",
        ),
        ("[nats.max_bytes]\nevents = 5", nats, "nats.max_bytes.events = 5: expected 0 for as much as there is, or a whole number"),
        (
            "[nats]\nembedded_listen = \"[::]:4222\"",
            ("DFKS__NATS__URL", ""),
            "nats.embedded_listen = \"[::]:4222\": refused: not a loopback address",
        ),
    ] {
        let config = put("dfks.toml", text);
        for command in ["check", "run"] {
            let ended = dfks_in(&[command, "--config", &config], &[env]);
            assert_eq!((ended.code, ended.out.as_str(), ended.err.lines().count()), (78, "", 1), "{command} {text}: {}", ended.err);
            assert!(ended.err.starts_with("dfks: ") && ended.err.contains(want), "{command} {text}: {}", ended.err);
        }
    }
    let ended = dfks(&["check", "--config", "/nonexistent.toml"]);
    assert_eq!((ended.code, ended.err.lines().count()), (78, 1));
}

#[test]
fn nobody_there_is_69() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("nats://{free}");
    let started = Instant::now();
    for args in [&["get", "sip:alice@h"][..], &["set", "sip:alice@h", "DoNotDisturb", "on"], &["watchers"], &["events"]] {
        let ended = dfks_in(args, &[("NATS_URL", &url)]);
        assert_eq!((ended.code, ended.out.as_str()), (69, ""), "{args:?}");
        let want = format!("dfks: no NATS server answered at {url}: check that it runs there, or name another with --nats or NATS_URL\n");
        assert_eq!(ended.err, want);
    }
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for transport in ["udp", "tcp"] {
        let ended = dfks(&["phone", "sip:alice@h", "--server", &nobody, "--transport", transport]);
        assert_eq!((ended.code, ended.out.as_str()), (69, ""), "{transport}: {}", ended.err);
    }
    // someone is there and says nothing
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let ended = dfks(&["phone", "sip:alice@h", "--server", &silent.local_addr().unwrap().to_string(), "--for", "0.5"]);
    assert_eq!((ended.code, ended.err.as_str()), (69, "dfks: no answer to SUBSCRIBE\n"));
    assert!(started.elapsed() < Duration::from_mins(1));

    let nats = common::Nats::start();
    let url = nats.url();
    for (args, whom, role) in [
        (&["get", "sip:alice@h"][..], "no worker listens on dfks.get", "worker"),
        (&["set", "sip:alice@h", "DoNotDisturb", "on"], "no mi bridge listens on dfks.set", "mi"),
        (&["watchers"], "no edge listens on dfks.watchers", "edge"),
    ] {
        let ended = dfks_in(args, &[("NATS_URL", &url)]);
        let check = format!("check that 'dfks run --role {role}' runs on this NATS with nats.prefix \"dfks\"");
        assert_eq!((ended.code, ended.err), (69, format!("dfks: {whom} at {url}: {check}\n")), "{args:?}");
        // a program gets the same as one object
        let ended = dfks_in(&[args, &["--json"]].concat(), &[("NATS_URL", &url)]);
        let told: serde_json::Value = serde_json::from_str(&ended.err).unwrap();
        assert_eq!((ended.code, ended.out.as_str(), &told["error"]["exit_code"]), (69, "", &69.into()), "{args:?}");
        assert!(told["error"]["description"].as_str().unwrap().starts_with(whom), "{told}");
    }
    let ended = dfks_in(&["get", "sip:alice@h", "--prefix", "lab"], &[("NATS_URL", &url)]);
    assert!(ended.err.contains("no worker listens on lab.get at ") && ended.err.contains("nats.prefix \"lab\""), "{}", ended.err);
}

#[test]
fn writes_schemas_completions_and_a_man_page() {
    let dir = tempfile::tempdir().unwrap();
    let ended = dfks(&["schemas", "--out", dir.path().to_str().unwrap()]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let schemas = dfks::bus::schema::all();
    for (name, schema) in &schemas {
        let written = std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(&serde_json::from_str::<serde_json::Value>(&written).unwrap(), schema, "{name}");
        assert!(written.ends_with("}\n"), "{name}");
    }
    let asyncapi = std::fs::read_to_string(dir.path().join("asyncapi.yaml")).unwrap();
    assert_eq!(asyncapi, dfks::bus::asyncapi::to_yaml().unwrap());
    let openapi = std::fs::read_to_string(dir.path().join("openapi.yaml")).unwrap();
    assert_eq!(openapi, dfks::mi::openapi::to_yaml().unwrap());
    assert_eq!(ended.out.lines().count(), schemas.len() + 2);
    assert_eq!(dfks(&["schemas"]).out.lines().count(), schemas.len());
    let bash = dfks(&["completions", "bash"]);
    assert!(bash.code == 0 && bash.out.contains("complete -F _dfks"), "{}", bash.out);
    let man = dfks(&["man"]);
    assert!(man.code == 0 && man.out.contains(".TH dfks 1"), "{}", man.out);
    let page = dfks(&["man", "dead", "replay"]);
    assert!(page.code == 0 && page.out.contains(".TH dfks-dead-replay 1") && page.out.contains("yes"), "{}", page.out);
    assert_eq!(dfks(&["man", "fly"]).code, 64);
}

#[test]
fn a_reader_that_has_gone_ends_a_command_quietly() {
    let mut command = harness::command(&["schemas"]);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap().as_str()), (Some(141), ""));
}

#[test]
fn a_usage_line_has_what_was_typed_and_nothing_of_the_environment() {
    let with = [("DFKS_CONFIG", "/etc/dfks.toml"), ("DFKS__NATS__PREFIX", "x"), ("NATS_URL", "nats://h")];
    let usage = dfks_in(&["get"], &with).err;
    assert!(usage.contains("Usage: dfks get <PRESENTITY> [FEATURES]...\n"), "{usage}");
    let typed = dfks_in(&["get", "--config", "a.toml"], &with).err;
    assert!(typed.contains("Usage: dfks get --config <FILE> <PRESENTITY>"), "{typed}");
}

#[test]
fn what_nats_does_not_permit_is_told_as_such() {
    let users = "{user: guest, password: secret, permissions: {publish: \"_INBOX.>\", subscribe: \"_INBOX_cli.>\"}}";
    let nats = common::Nats::with_config(&format!("authorization {{ users: [{users}] }}"));
    let (at, guest) = (format!("127.0.0.1:{}", nats.port()), format!("nats://guest:secret@127.0.0.1:{}", nats.port()));
    for (args, what) in [
        (&["get", "sip:alice@h"][..], "publish to dfks.get"),
        (&["set", "sip:alice@h", "DoNotDisturb", "on"], "publish to dfks.set"),
        (&["watchers"], "publish to dfks.watchers"),
        (&["events"], "subscribe to dfks.event.>: name a domain with --domain"),
    ] {
        let ended = dfks_in(args, &[("NATS_URL", &guest)]);
        let want = format!("dfks: not permitted: the NATS server at nats://***@{at} does not let this user {what}\n");
        assert_eq!((ended.code, ended.out.as_str(), ended.err), (1, "", want), "{args:?}");
    }
    let ended = dfks_in(&["events", "--domain", "a.example"], &[("NATS_URL", &guest)]);
    assert!(ended.code == 1 && ended.err.contains("subscribe to dfks.event.*.a_example"), "{}", ended.err);
    for url in [format!("nats://{at}"), format!("nats://guest:wrong@{at}")] {
        let ended = dfks_in(&["get", "sip:alice@h"], &[("NATS_URL", &url)]);
        assert!(ended.code == 1 && ended.err.contains("refuses these credentials") && !ended.err.contains("wrong"), "{}", ended.err);
    }
}
