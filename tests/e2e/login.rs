//! Client commands on a NATS that wants to know who they are: each login that `dfks run` has, by a configuration and by a context.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Product, Setup, command, dfks_in};

fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name).to_str().unwrap().to_owned()
}

/// One way to log in.
struct Way {
    name: &'static str,
    /// Of nats-server.
    server: String,
    /// `[nats]` of `dfks run`.
    keys: Vec<(&'static str, String)>,
    /// Of a context of the `nats` CLI.
    context: Value,
}

fn ways(dir: &Path) -> Vec<Way> {
    let put = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (password, token) = (put("password", "s3cr3t\n"), put("token", "t0k3n\n"));
    let (seed, creds) = (file("cli/login/user.nk"), file("cli/login/user.creds"));
    let public = fs::read_to_string(file("cli/login/user.pub")).unwrap();
    let creds_text = fs::read_to_string(&creds).unwrap();
    let mut lines = creds_text.lines().filter(|line| !line.starts_with('-') && !line.is_empty());
    let (jwt, jwt_seed) = (lines.next().unwrap(), lines.next().unwrap());
    let operator = fs::read_to_string(file("cli/login/operator.conf")).unwrap();
    let pem = |name: &str| file(&format!("bus/tls/{name}"));
    let (ca, certificate, key) = (pem("ca.pem"), pem("client.pem"), pem("client-key.pem"));
    let tls =
        format!("tls {{ ca_file: \"{ca}\", cert_file: \"{}\", key_file: \"{}\", verify: true }}", pem("server.pem"), pem("server-key.pem"));
    vec![
        Way {
            name: "user",
            server: "authorization { user: portal, password: s3cr3t }".into(),
            keys: vec![("nats.user", "portal".into()), ("nats.password_file", password)],
            context: json!({"user": "portal", "password": "s3cr3t"}),
        },
        Way {
            name: "token",
            server: "authorization { token: t0k3n }".into(),
            keys: vec![("nats.token_file", token)],
            context: json!({"token": "t0k3n"}),
        },
        Way {
            name: "nkey",
            server: format!("authorization {{ users: [{{ nkey: {} }}] }}", public.trim()),
            keys: vec![("nats.nkey_file", seed.clone())],
            context: json!({"nkey": seed}),
        },
        Way {
            name: "creds",
            server: operator.clone(),
            keys: vec![("nats.credentials_file", creds.clone())],
            context: json!({"creds": creds}),
        },
        Way {
            name: "jwt",
            server: operator,
            keys: vec![("nats.credentials_file", creds)],
            context: json!({"user_jwt": jwt, "user_seed": jwt_seed}),
        },
        Way {
            name: "certificate",
            server: tls,
            keys: vec![("nats.tls.ca", ca.clone()), ("nats.tls.certificate", certificate.clone()), ("nats.tls.key", key.clone())],
            context: json!({"ca": ca, "cert": certificate, "key": key}),
        },
    ]
}

/// Every client command, and with these arguments it gets through.
fn all_commands_get_through(arguments: &[&str], env: &[(&str, &str)], name: &str) {
    let mut events = command(&[&["events", "--count", "1", "--json"], arguments].concat());
    let mut events = events.envs(env.iter().copied()).stdout(Stdio::piped()).spawn().unwrap();
    let run = |args: &[&str]| {
        let ended = dfks_in(&[args, arguments].concat(), env);
        assert_eq!(ended.code, 0, "{name} {args:?} {arguments:?}: {}", ended.err);
        ended.out
    };
    let ended = wait_for("an event", || {
        run(&["set", ALICE, "DoNotDisturb", "on"]);
        events.try_wait().unwrap()
    });
    assert_eq!(ended.code(), Some(0), "{name} {arguments:?}");
    assert!(run(&["get", ALICE, "DoNotDisturb"]).contains("on"));
    assert!(run(&["watchers"]).contains("edge-a: 0 watchers"));
}

#[test]
fn every_login_is_good_for_every_command_by_configuration_and_by_context() {
    let dir = tempfile::tempdir().unwrap();
    let contexts = dir.path().join("config/nats/context");
    fs::create_dir_all(&contexts).unwrap();
    for Way { name, server, keys, mut context } in ways(dir.path()) {
        let nats = Nats::with_config(&server);
        let url = if name == "certificate" { nats.url().replace("nats://", "tls://") } else { nats.url() };
        let setup = Setup::on(&nats).with("nats.url", url.as_str());
        let product: Product = keys.into_iter().fold(setup, |setup, (key, value)| setup.with(key, value)).start();
        let config: PathBuf = product.dir().join("dfks.toml");
        all_commands_get_through(&["--config", config.to_str().unwrap()], &[], name);

        context["url"] = url.clone().into();
        fs::write(contexts.join(format!("{name}.json")), context.to_string()).unwrap();
        fs::write(dir.path().join("config/nats/context.txt"), format!("{name}\n")).unwrap();
        let home = dir.path().join("config");
        let nowhere = "nats://127.0.0.1:1";
        let env = [("XDG_CONFIG_HOME", home.to_str().unwrap()), ("NATS_URL", nowhere)];
        all_commands_get_through(&["--context", name], &env, name);
        // the selected one, and --nats over it
        let get = |args: &[&str]| dfks_in(&[&["get", ALICE], args].concat(), &env);
        assert_eq!(get(&["--context", ""]).code, 0, "{name}");
        let elsewhere = get(&["--context", name, "--nats", nowhere]);
        assert!(elsewhere.code == 69 && elsewhere.err.contains(nowhere), "{}", elsewhere.err);
        // a configuration over NATS_URL
        assert_eq!(get(&["--config", config.to_str().unwrap()]).code, 0, "{name}");
        assert_ne!(get(&["--nats", &url]).code, 0, "{name}: without a login nobody comes in");
    }
    let env = [("XDG_CONFIG_HOME", dir.path().to_str().unwrap())];
    for (context, want) in
        [("nope", "nope.json cannot be read: "), ("../nope", "expected the name of a context"), ("", "no context is selected")]
    {
        let ended = dfks_in(&["get", ALICE, "--context", context], &env);
        assert!(ended.code == 64 && ended.err.contains(want), "{context}: {}", ended.err);
    }
}
