//! `dfks run`, and the commands that meet it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::common::{self, end_servers_of};
use crate::harness::{command, dfks, dfks_in};

/// How long a process may take for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A `dfks run` of this test, on ports of its own. Killed when dropped, and its embedded NATS with it.
pub(super) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
    data: PathBuf,
    _dir: Option<TempDir>,
}

impl Running {
    /// With data of its own.
    pub(super) fn start(env: &[(&str, &str)], args: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        Self::spawn(dir.path().join("data"), Some(dir), env, args)
    }

    /// With data that others may have as well.
    fn start_on(data: &Path, env: &[(&str, &str)]) -> Self {
        Self::spawn(data.to_owned(), None, env, &[])
    }

    fn spawn(data: PathBuf, dir: Option<TempDir>, env: &[(&str, &str)], args: &[&str]) -> Self {
        let mut child = command(&[&["run"], args].concat())
            .env("DFKS__NATS__DATA_DIR", &data)
            .env("DFKS__NATS__EMBEDDED_LISTEN", "127.0.0.1:0")
            .env("DFKS__SIP__LISTEN", "udp:127.0.0.1:0,tcp:127.0.0.1:0")
            .env("DFKS__HTTP__LISTEN", "127.0.0.1:0")
            .env("DFKS__MI__HTTP", "127.0.0.1:0")
            .envs(env.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::sync_channel(100_000);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, seen: Vec::new(), data, _dir: dir }
    }

    /// What follows `label` in the banner.
    pub(super) fn at(&mut self, label: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.seen.iter().find_map(|line| line.strip_prefix(label)) {
                return found.trim().to_owned();
            }
            let wait = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(wait) else { panic!("no '{label}' in\n{}", self.seen.join("\n")) };
            self.seen.push(line);
        }
    }

    /// The next line that has `text`.
    pub(super) fn line(&mut self, text: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else { panic!("no '{text}' in\n{}", self.seen.join("\n")) };
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(super) fn sip(&mut self, transport: &str) -> String {
        let listening = self.at("  SIP ");
        let prefix = format!("{transport}:");
        listening.split(", ").find_map(|listener| listener.strip_prefix(&prefix)).unwrap().to_owned()
    }

    fn http(&mut self, path: &str) -> String {
        let base = self.at("  HTTP");
        let addr = base.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
        let mut stream = TcpStream::connect(addr).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// The exit code, and everything that it said.
    pub(super) fn end(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "still runs:\n{}", self.seen.join("\n"));
            std::thread::sleep(Duration::from_millis(10));
        }
        let code = self.child.wait().unwrap().code();
        self.seen.extend(self.lines.iter());
        (code, std::mem::take(&mut self.seen).join("\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _gone = self.child.kill();
            let _gone = self.child.wait();
            end_servers_of(&self.data);
        }
    }
}

#[test]
fn a_phone_and_a_command_meet_over_the_bus() {
    let nats = common::Nats::start();
    let url = nats.url();
    let client = |args: &[&str]| dfks_in(args, &[("NATS_URL", &url)]);
    let mut dfks_run = Running::start(&[("DFKS__NATS__URL", &url), ("DFKS__SIP__EDGE_ID", "edge-1")], &[]);
    let (udp, tcp) = (dfks_run.sip("udp"), dfks_run.sip("tcp"));
    assert!(dfks_run.http("/readyz").starts_with("HTTP/1.1 200"));

    let set = client(&[
        "set",
        "sip:alice@127.0.0.1",
        "CallForwardingNoAnswer",
        "on",
        "--value",
        "ringCount=4",
        "--value",
        "forwardTo=sip:bob@10.0.0.11",
    ]);
    let want = "sip:alice@127.0.0.1\n  CallForwardingNoAnswer  on   forwardTo=sip:bob@10.0.0.11 ringCount=4  (version 1, store)\n  0 phones are notified\n  cause ";
    assert!(set.code == 0 && set.out.starts_with(want), "{}{}", set.out, set.err);

    let phone = |server: &str, transport: &str, more: &[&str]| {
        let args = [&["phone", "sip:alice@127.0.0.1", "--server", server, "--transport", transport], more].concat();
        dfks(&args)
    };
    let pressed = phone(&udp, "udp", &["--press", "DoNotDisturb=on", "--press", "CallForwardingBusy=on,forwardTo=sip:carol@h"]);
    assert_eq!((pressed.code, pressed.err.as_str()), (0, ""), "{}", pressed.out);
    for line in [
        "DoNotDisturb=on confirmed",
        "CallForwardingBusy=on confirmed",
        "unsubscribed",
        "  CallForwardingNoAnswer  on   forwardTo=sip:bob@10.0.0.11 ringCount=4",
    ] {
        assert!(pressed.out.contains(line), "{line} in\n{}", pressed.out);
    }
    let fetched = phone(&tcp, "tcp", &["--expires", "0", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(fetched.out.lines().nth(1).unwrap()).unwrap();
    assert_eq!(shown["features"].as_array().unwrap().len(), 4, "{}", fetched.out);
    assert_eq!((&shown["features"][0]["feature"], &shown["features"][0]["status"]), (&"DoNotDisturb".into(), &1.into()));

    let got = client(&["get", "sip:alice@127.0.0.1", "DoNotDisturb", "CallForwardingBusy", "--json"]);
    let got: serde_json::Value = serde_json::from_str(&got.out).unwrap();
    assert_eq!((&got["features"][0]["status"], &got["features"][1]["values"]["forwardTo"]), (&1.into(), &"sip:carol@h".into()));

    let refused = client(&["get", "sip:alice@127.0.0.1", "Foo"]);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.err.starts_with("dfks: unknown feature 'Foo': expected DoNotDisturb, "), "{}", refused.err);
    let refused = phone(&udp, "udp", &["--expires", "5"]);
    assert_eq!((refused.code, refused.err.as_str()), (1, "dfks: SUBSCRIBE refused: 423 Interval Too Brief (Min-Expires: 60)\n"));
    let refused = phone(&udp, "udp", &["--press", "Foo=on"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("unknown feature 'Foo'"), "{}", refused.err);

    dfks_run.signal(Signal::SIGTERM);
    let (code, said) = dfks_run.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains(" WARN ") && !said.contains(" ERROR "), "{said}");
    let log: Vec<_> = said.lines().filter(|line| line.contains("Z  ")).collect();
    assert!(log.iter().any(|line| line.ends_with("stopped")) && !log.iter().any(|line| line.contains("alice")), "{said}");
}

#[test]
fn a_phone_that_stays_is_listed_told_and_leaves_on_a_signal() {
    let nats = common::Nats::start();
    let url = nats.url();
    let mut dfks_run = Running::start(&[("DFKS__NATS__URL", &url), ("DFKS__SIP__EDGE_ID", "edge-1")], &[]);
    let udp = dfks_run.sip("udp");
    let mut phone = command(&["phone", "sip:alice@127.0.0.1", "--server", &udp, "--watcher", "sip:desk@127.0.0.1"]);
    let mut phone = phone.stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(phone.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(shown.any(|line| line.contains("CallForwardingNoAnswer")));

    let listed = dfks_in(&["watchers", "sip:alice@127.0.0.1"], &[("NATS_URL", &url)]);
    assert!(
        listed.out.starts_with("edge-1: 1 watcher\n  sip:alice@127.0.0.1 watched by sip:desk@127.0.0.1 over udp, until "),
        "{}",
        listed.out
    );
    let set = dfks_in(&["set", "sip:alice@127.0.0.1", "DoNotDisturb", "on"], &[("NATS_URL", &url)]);
    assert!(set.out.contains("\n  1 phone is notified\n  cause "), "{} {}", set.out, set.err);
    assert!(shown.any(|line| line == "  DoNotDisturb            on"));

    kill(Pid::from_raw(phone.id().cast_signed()), Signal::SIGINT).unwrap();
    let rest: Vec<String> = shown.collect();
    assert!(rest.iter().any(|line| line.ends_with("unsubscribed")), "{rest:?}");
    assert_eq!(phone.wait().unwrap().code(), Some(0));
    dfks_run.signal(Signal::SIGINT);
    assert_eq!(dfks_run.end().0, Some(0));
}

#[test]
fn events_are_followed_until_a_signal() {
    let nats = common::Nats::start();
    let url = nats.url();
    let mut dfks_run = Running::start(&[("DFKS__NATS__URL", &url)], &[]);
    dfks_run.at("  NATS");
    let mut events = command(&["events", "--json"]).env("NATS_URL", &url).stdout(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = mpsc::sync_channel(1000);
    let stdout = BufReader::new(events.stdout.take().unwrap());
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    // until the follower is connected
    let event = common::wait_for("an event", || {
        dfks_in(&["set", "sip:alice@127.0.0.1", "DoNotDisturb", "on"], &[("NATS_URL", &url)]);
        lines.recv_timeout(Duration::from_millis(200)).ok()
    });
    let event: serde_json::Value = serde_json::from_str(&event).unwrap();
    assert_eq!((&event["type"], &event["feature"]), (&"io.dfks.event.v1.feature".into(), &"DoNotDisturb".into()));
    kill(Pid::from_raw(events.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(events.wait().unwrap().code(), Some(0));
}

#[test]
fn a_run_that_cannot_reach_nats_still_stops_at_once_and_is_not_ready() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("nats://{free}");
    let dfks_run = Running::start(&[("DFKS__NATS__URL", &url), ("DFKS__HTTP__LISTEN", &http.to_string())], &[]);
    let answer = common::wait_for("an answer", || {
        let mut stream = TcpStream::connect(http).ok()?;
        write!(stream, "GET /readyz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.contains("worker nats: not connected").then_some(answer)
    });
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let started = Instant::now();
    dfks_run.signal(Signal::SIGTERM);
    assert_eq!(dfks_run.end().0, Some(0));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn an_embedded_server_is_started_and_its_data_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = common::server_binary();
    let env = [("NATS_SERVER_BIN", server.to_str().unwrap())];
    for (version, want) in [(1, "(version 1, store)"), (2, "(version 2, store)")] {
        let mut dfks_run = Running::start_on(&data, &env);
        let nats = dfks_run.at("  NATS");
        let url = nats.strip_suffix(&format!(" (embedded, data in {})", data.display())).unwrap_or_else(|| panic!("{nats}"));
        assert_eq!(std::fs::read_to_string(data.join("nats.url")).unwrap().trim(), url);
        let set = dfks_in(&["set", "sip:alice@127.0.0.1", "DoNotDisturb", "on"], &[("NATS_URL", url)]);
        assert!(set.out.contains(want), "run {version}: {} {}", set.out, set.err);

        let second = Running::start_on(&data, &env).end();
        assert_eq!(second.0, Some(78), "{}", second.1);
        assert!(second.1.contains("is in use by another dfks"), "{}", second.1);
        dfks_run.signal(Signal::SIGTERM);
        let (code, said) = dfks_run.end();
        assert_eq!(code, Some(0), "{said}");
        assert!(!said.contains(" WARN "), "{said}");
    }
    let missing = Running::start(&[("NATS_SERVER_BIN", "/nonexistent/nats-server")], &[]).end();
    assert_eq!(missing.0, Some(78), "{}", missing.1);
    assert!(missing.1.contains("NATS_SERVER_BIN names /nonexistent/nats-server"), "{}", missing.1);
}

#[test]
fn a_port_that_is_taken_is_said() {
    let nats = common::Nats::start();
    let taken = (UdpSocket::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (udp, tcp) = (format!("udp:{}", taken.0.local_addr().unwrap()), taken.1.local_addr().unwrap().to_string());
    let url = nats.url();
    for (nats_url, key, listen, said_as) in [
        (url.as_str(), "DFKS__SIP__LISTEN", &udp, format!("sip.listen: {udp}")),
        (&url, "DFKS__HTTP__LISTEN", &tcp, format!("http.listen = \"{tcp}\"")),
        (&url, "DFKS__MI__HTTP", &tcp, format!("mi.http = \"{tcp}\"")),
        ("", "DFKS__NATS__EMBEDDED_LISTEN", &tcp, format!("nats.embedded_listen {tcp}")),
    ] {
        let server = common::server_binary();
        let env = [("DFKS__NATS__URL", nats_url), ("NATS_SERVER_BIN", server.to_str().unwrap()), (key, listen)];
        let (code, said) = Running::start(&env, &[]).end();
        assert_eq!(code, Some(1), "{key}: {said}");
        let last = said.lines().last().unwrap().to_ascii_lowercase();
        assert!(last.contains(&said_as) && last.contains("in use"), "{key}: {said}");
    }
}

/// ```text
/// start … NATS child, streams, roles … /readyz 200 ──▶ `dfks get` is answered
/// ```
#[test]
fn it_is_ready_only_when_it_answers() {
    let dir = tempfile::tempdir().unwrap();
    let server = common::server_binary();
    let data = dir.path().join("data");
    let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = http.to_string();
    let env = [("NATS_SERVER_BIN", server.to_str().unwrap()), ("DFKS__HTTP__LISTEN", listen.as_str())];
    let dfks_run = Running::start_on(&data, &env);
    let is_ready = || {
        let mut stream = TcpStream::connect(http).ok()?;
        write!(stream, "GET /readyz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    };
    let deadline = Instant::now() + PATIENCE;
    while is_ready().is_none() {
        assert!(Instant::now() < deadline, "not ready");
        std::thread::yield_now();
    }
    let url = std::fs::read_to_string(data.join("nats.url")).unwrap();
    let got = dfks_in(&["get", "sip:alice@127.0.0.1"], &[("NATS_URL", url.trim())]);
    assert_eq!((got.code, got.err.as_str()), (0, ""));
    dfks_run.signal(Signal::SIGTERM);
    assert_eq!(dfks_run.end().0, Some(0));
}

#[test]
fn no_level_and_no_filter_brings_the_nats_password_into_the_log() {
    let nats = common::Nats::with_config("authorization { user: bridge, password: s3cr3t }");
    let at = format!("127.0.0.1:{}", nats.port());
    let file = nats.dir().join("password");
    std::fs::write(&file, "s3cr3t").unwrap();
    let (in_url, plain) = (format!("nats://bridge:s3cr3t@{at}"), format!("nats://{at}"));
    let by_file =
        [("DFKS__NATS__URL", plain.as_str()), ("DFKS__NATS__USER", "bridge"), ("DFKS__NATS__PASSWORD_FILE", file.to_str().unwrap())];
    for env in [&[("DFKS__NATS__URL", in_url.as_str())][..], &by_file] {
        for level in ["debug", "trace", "async_nats::connector=trace,async_nats=trace,info"] {
            let mut dfks_run = Running::start(&[env, &[("DFKS__LOG__LEVEL", level)]].concat(), &["--role", "worker"]);
            dfks_run.at("  NATS");
            dfks_run.signal(Signal::SIGTERM);
            let (code, said) = dfks_run.end();
            assert_eq!(code, Some(0), "{level}: {said}");
            assert!(!said.contains("s3cr3t"), "{level}: {said}");
            assert_eq!(said.contains(" async_nats"), level.contains("async_nats"), "{level}: {said}");
        }
    }
}
