//! `dfks run` and the client commands on a NATS that wants to know who they are, or has little room, and what becomes of the embedded one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::run::Running;
use crate::common;
use crate::harness::{dfks, dfks_in};

/// The first retries come within this; each would have been a line.
const WATCHED: Duration = Duration::from_secs(3);

fn put(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn pem(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bus/tls").join(name).to_str().unwrap().to_owned()
}

fn pid(data: &Path) -> i32 {
    common::wait_for("the server's pid", || fs::read_to_string(data.join("nats-server.pid")).ok()?.parse().ok())
}

fn is_running(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// What a run says at warn or above within [`WATCHED`].
fn complaints(env: &[(&str, &str)]) -> Vec<String> {
    let dfks_run = Running::start(env, &["--role", "worker", "--role", "mi"]);
    std::thread::sleep(WATCHED);
    dfks_run.signal(Signal::SIGTERM);
    let (code, said) = dfks_run.end();
    assert_eq!(code, Some(0), "{said}");
    said.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).map(str::to_owned).collect()
}

#[test]
fn a_server_that_does_not_take_us_is_said_once_with_its_reason() {
    let password = common::Nats::with_config("authorization { user: bridge, password: s3cr3t }");
    let (ca, cert, key) = (pem("ca.pem"), pem("server.pem"), pem("server-key.pem"));
    let tls = common::Nats::with_config(&format!("tls {{ ca_file: \"{ca}\", cert_file: \"{cert}\", key_file: \"{key}\", verify: true }}"));
    let dir = tempfile::tempdir().unwrap();
    let wrong = put(dir.path(), "password", "wrong");
    let at = |nats: &common::Nats| format!("127.0.0.1:{}", nats.port());
    let (by_password, by_tls, nobody) = (at(&password), at(&tls), "127.0.0.1:1".to_owned());
    for (server, scheme, env, reason) in [
        (&by_password, "nats", &[("DFKS__NATS__USER", "bridge"), ("DFKS__NATS__PASSWORD_FILE", &wrong)][..], "it refuses our credentials"),
        (&by_password, "nats", &[], "it refuses our credentials"),
        (&by_tls, "tls", &[("DFKS__NATS__TLS__CA", &ca)], "it wants a client certificate: nats.tls.certificate and nats.tls.key"),
        (&by_tls, "tls", &[], "its certificate is not trusted (UnknownIssuer): nats.tls.ca names its authority"),
        (&nobody, "nats", &[], "Connection refused (os error 111)"),
    ] {
        let url = format!("{scheme}://{server}");
        let said = complaints(&[env, &[("DFKS__NATS__URL", &url)]].concat());
        let words = [format!("server=\"{server}\""), "client=\"dfks-worker+mi\"".to_owned(), format!("error=\"{reason}\"")];
        assert!(said.len() == 1 && words.iter().all(|word| said[0].contains(word)), "{reason}, of the connection of both roles: {said:#?}");
    }
}

#[test]
fn a_client_says_what_the_server_wants_and_has_every_login_of_a_configuration() {
    let (ca, cert, key) = (pem("ca.pem"), pem("server.pem"), pem("server-key.pem"));
    let nats = common::Nats::with_config(&format!("tls {{ ca_file: \"{ca}\", cert_file: \"{cert}\", key_file: \"{key}\", verify: true }}"));
    let url = format!("tls://127.0.0.1:{}", nats.port());
    let dir = tempfile::tempdir().unwrap();
    let config = |name: &str, more: &str| put(dir.path(), name, &format!("[nats]\nurl = \"{url}\"\ntls.ca = \"{ca}\"\n{more}"));
    let get = |args: &[&str]| dfks(&[&["get", "sip:alice@h"], args].concat());
    let ended = get(&["--config", &config("without.toml", "")]);
    let want = format!(
        "dfks: no TLS with the NATS server at {url}: it wants a client certificate: nats.tls.certificate and nats.tls.key, in the file that --config names\n"
    );
    assert_eq!((ended.code, ended.err.as_str()), (1, want.as_str()));
    let (certificate, key) = (pem("client.pem"), pem("client-key.pem"));
    let with = config("with.toml", &format!("tls.certificate = \"{certificate}\"\ntls.key = \"{key}\"\nprefix = \"lab\""));
    let ended = get(&["--config", &with]);
    assert!(ended.code == 69 && ended.err.contains(&format!("no worker listens on lab.get at {url}")), "{}", ended.err);

    // what cannot be used is named as it was given
    let (empty, none) = (put(dir.path(), "empty.creds", "nothing"), dir.path().join("nope").to_str().unwrap().to_owned());
    for (args, code, want) in [
        (&["--creds", &none][..], 64, format!("dfks: --creds = \"{none}\": expected a file that can be read: ")),
        (&["--creds", &empty], 64, format!("dfks: {empty} of --creds holds no user JWT with its seed")),
        (&["--nats", "http://h"], 64, "dfks: --nats = \"http://h\": expected nats://HOST:PORT".to_owned()),
        (&["--config", &none], 78, format!("dfks: configuration file '{none}' cannot be read: ")),
    ] {
        let ended = get(args);
        assert_eq!((ended.code, ended.out.as_str(), ended.err.lines().count()), (code, "", 1), "{args:?} {}", ended.err);
        assert!(ended.err.starts_with(&want), "{args:?} {}", ended.err);
    }
}

/// Data and configuration of an embedded server.
struct Home {
    dir: tempfile::TempDir,
    server: PathBuf,
}

impl Home {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), server: common::server_binary() }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Starts `dfks run` that listens there, with more in `[nats]`; its configuration too.
    fn start(&self, listen: &str, more: &str) -> (Running, String) {
        let data = self.data();
        let config = put(self.dir.path(), "dfks.toml", &format!("[nats]\ndata_dir = \"data\"\nembedded_listen = \"{listen}\"\n{more}\n"));
        let env = [
            ("DFKS__NATS__DATA_DIR", data.to_str().unwrap()),
            ("DFKS__NATS__EMBEDDED_LISTEN", listen),
            ("NATS_SERVER_BIN", self.server.to_str().unwrap()),
        ];
        (Running::start(&env, &["--config", &config]), config)
    }
}

#[test]
fn an_embedded_server_that_is_not_on_loopback_has_credentials_and_we_use_them() {
    let home = Home::new();
    put(home.dir.path(), "secret", "pa\"ss\\w$rd");
    for (login, in_url) in [("user = \"ops\"\npassword_file = \"secret\"", "ops:wrong@"), ("token_file = \"secret\"", "wrong@")] {
        let (mut dfks_run, config) = home.start("0.0.0.0:0", login);
        let nats = dfks_run.at("  NATS");
        let url = nats.split(' ').next().unwrap();
        assert!(url.starts_with("nats://127.0.0.1:") && !nats.contains("w$rd"), "{nats}");
        let get = |args: &[&str]| dfks(&[&["get", "sip:alice@h", "DoNotDisturb"], args].concat());
        let ended = get(&["--config", &config]);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{login}");
        for url in [url.to_owned(), url.replace("nats://", &format!("nats://{in_url}"))] {
            let ended = get(&["--nats", &url]);
            assert!(ended.code == 1 && ended.err.contains("refuses these credentials"), "{url}: {}", ended.err);
        }
        let conf = home.data().join("nats-server.conf");
        assert_eq!(conf.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let server = fs::read(format!("/proc/{}/cmdline", pid(&home.data()))).unwrap();
        assert!(!String::from_utf8_lossy(&server).contains("w$rd"));
        dfks_run.signal(Signal::SIGTERM);
        let (code, said) = dfks_run.end();
        assert!(code == Some(0) && !said.contains("w$rd"), "{said}");
        assert!(said.lines().filter(|line| line.contains(" WARN ")).all(|line| line.contains("authentication error")), "{said}");
    }
    let (refused, _) = home.start("0.0.0.0:0", "");
    let (code, said) = refused.end();
    assert_eq!((code, said.lines().count()), (Some(78), 1), "{said}");
    assert!(said.starts_with("dfks: nats.embedded_listen = \"0.0.0.0:0\": refused: not a loopback address"), "{said}");
}

/// ```text
/// dfks run ─▶ kill -9 ─▶ its nats-server stops ─▶ dfks run: the same port, the same data
/// ```
#[test]
fn a_killed_run_takes_its_server_with_it_and_the_next_has_port_and_data() {
    let home = Home::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("nats://{free}");
    for version in 1..=3 {
        let (mut dfks_run, config) = home.start(&free.to_string(), "");
        assert!(dfks_run.at("  NATS").starts_with(&url));
        let set = dfks(&["set", "sip:alice@127.0.0.1", "DoNotDisturb", "on", "--config", &config]);
        assert!(set.out.contains(&format!("(version {version}, store)")), "{} {}", set.out, set.err);
        let server = pid(&home.data());
        dfks_run.signal(Signal::SIGKILL);
        assert_eq!(dfks_run.end().0, None);
        // of three times once at the moment of the next start
        if version != 2 {
            common::wait_for("the server is gone", || (!is_running(server)).then_some(()));
        }
    }
}

#[test]
fn a_store_that_is_too_small_is_said_at_once_with_key_and_remedy() {
    let nats = common::Nats::with_config("accounts { A: { jetstream: { max_mem: 1MB, max_file: 4MB }, users: [{user: a, password: a}] } }");
    let url = format!("nats://a:a@127.0.0.1:{}", nats.port());
    let started = Instant::now();
    let (code, said) = Running::start(&[("DFKS__NATS__URL", &url)], &[]).end();
    let last = said.lines().last().unwrap();
    assert!(code == Some(1) && last.contains("nats.max_bytes") && last.contains("max_file_store"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(10), "{said}");
}

#[test]
fn an_account_of_100_mib_is_enough() {
    let nats =
        common::Nats::with_config("accounts { A: { jetstream: { max_mem: 1MB, max_file: 100MB }, users: [{user: a, password: a}] } }");
    let url = format!("nats://a:a@127.0.0.1:{}", nats.port());
    let mut dfks_run = Running::start(&[("DFKS__NATS__URL", &url)], &[]);
    dfks_run.at("  NATS");
    let set = dfks_in(&["set", "sip:alice@127.0.0.1", "DoNotDisturb", "on"], &[("NATS_URL", &url)]);
    assert_eq!((set.code, set.err.as_str()), (0, ""));
}
