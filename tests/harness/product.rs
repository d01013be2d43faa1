//! `dfks run` as a child process, on free ports of loopback.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{Nats, end_servers_of, look_on, wait_for};

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Setup {
    config: BTreeMap<String, String>,
    roles: Vec<&'static str>,
    script: Option<String>,
}

impl Setup {
    /// All roles on this NATS.
    pub fn on(nats: &Nats) -> Self {
        Self::anywhere().with("nats.url", nats.url())
    }

    /// All roles, with the NATS server that they bring along.
    pub fn embedded() -> Self {
        // beside the configuration file
        Self::anywhere().with("nats.embedded_listen", "127.0.0.1:0").with("nats.data_dir", "data")
    }

    fn anywhere() -> Self {
        Self { config: BTreeMap::new(), roles: Vec::new(), script: None }
            .with("sip.listen", vec!["udp:127.0.0.1:0", "tcp:127.0.0.1:0"])
            .with("sip.edge_id", "edge-a")
            .with("http.listen", "127.0.0.1:0")
            .with("mi.http", "")
            .with("log.format", "json")
    }

    /// Sets a key of the configuration: `nats.timeout_ms`.
    pub fn with(mut self, key: &str, value: impl Into<toml::Value>) -> Self {
        self.config.insert(key.to_owned(), value.into().to_string());
        self
    }

    /// Runs this role, and those named before, in place of all.
    pub fn role(mut self, role: &'static str) -> Self {
        self.roles.push(role);
        self
    }

    /// Sets `routes.script` to a file with this text.
    pub fn script(mut self, text: &str) -> Self {
        self.script = Some(text.to_owned());
        self
    }

    /// Starts it, and waits until it is ready.
    pub fn start(self) -> Product {
        let dir = TempDir::new().unwrap();
        let setup = match &self.script {
            Some(text) => {
                let path = dir.path().join("routes.rhai");
                fs::write(&path, text).unwrap();
                self.with("routes.script", path.to_str().unwrap())
            }
            None => self,
        };
        let mut product = Product { setup, dir, child: None, starts: 0, sip: BTreeMap::new(), http: None, mi: None, nats: String::new() };
        product.restart();
        product
    }
}

/// A running `dfks`. Killed when dropped, and its embedded NATS with it.
#[derive(Debug)]
pub struct Product {
    setup: Setup,
    dir: TempDir,
    child: Option<Child>,
    starts: u32,
    /// Where it takes SIP, by transport.
    sip: BTreeMap<String, SocketAddr>,
    http: Option<SocketAddr>,
    mi: Option<SocketAddr>,
    nats: String,
}

impl Product {
    /// All roles on this NATS, everything else at its default.
    pub fn start(nats: &Nats) -> Self {
        Setup::on(nats).start()
    }

    /// Where it takes SIP over UDP.
    pub fn udp(&self) -> SocketAddr {
        self.at("udp")
    }

    /// Where it takes SIP over TCP.
    pub fn tcp(&self) -> SocketAddr {
        self.at("tcp")
    }

    /// Where it takes SIP over this transport: `tls`.
    pub fn at(&self, transport: &str) -> SocketAddr {
        *self.sip.get(transport).unwrap_or_else(|| panic!("an edge with {transport}"))
    }

    /// Where it serves metrics and the console.
    pub fn http(&self) -> SocketAddr {
        self.http.expect("http.listen")
    }

    /// Where it takes MI over HTTP.
    pub fn mi(&self) -> SocketAddr {
        self.mi.expect("mi.http")
    }

    /// The URL of its NATS.
    pub fn nats(&self) -> &str {
        &self.nats
    }

    /// Starts it again after [`kill`](Self::kill) or [`stop`](Self::stop), on the ports that it had.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let listening: Vec<_> = self.sip.iter().map(|(name, addr)| format!("{name}:{addr}")).collect();
        if !listening.is_empty() {
            self.setup.config.insert("sip.listen".to_owned(), toml::Value::from(listening).to_string());
        }
        let lines: Vec<_> = self.setup.config.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let config = self.dir.path().join("dfks.toml");
        fs::write(&config, lines.join("\n")).unwrap();
        self.starts += 1;
        let mut command = Command::new(env!("CARGO_BIN_EXE_dfks"));
        command.arg("run").arg("--config").arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(self.log_file()).unwrap());
        for role in &self.setup.roles {
            command.args(["--role", role]);
        }
        self.child = Some(command.spawn().unwrap());
        let running = wait_for("dfks to run", || {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("dfks ended with {status}:\n{}", self.log());
            }
            self.log_lines().into_iter().find(|line| line["message"] == "running")
        });
        for listener in running["sip"].as_str().unwrap().split(',').filter(|listener| !listener.is_empty()) {
            let (transport, addr) = listener.split_once(':').unwrap();
            self.sip.insert(transport.to_owned(), addr.parse().unwrap());
        }
        running["nats"].as_str().unwrap().clone_into(&mut self.nats);
        let mi = running["mi"].as_str().unwrap().strip_prefix("http://");
        self.mi = mi.map(|url| url.strip_suffix("/mi").unwrap().parse().unwrap());
        self.http = Some(running["http"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap());
        wait_for("dfks to be ready", || (self.get("/readyz").0 == 200).then_some(()));
        self.have_looked_on();
    }

    /// A server of a test has its onlookers since it started; one that this brought along, or of another prefix, has them now.
    fn have_looked_on(&self) {
        let prefix = self.setup.config.get("nats.prefix").map_or("dfks", |prefix| prefix.trim_matches('"'));
        let is_brought_along = !self.setup.config.contains_key("nats.url");
        if let Some(port) = self.nats.rsplit(':').next().and_then(|port| port.parse().ok())
            && (is_brought_along || prefix != "dfks")
        {
            look_on(port, prefix);
        }
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Has its process stand still.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Has its process go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().expect("it runs").id();
        kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        wait_for("the end of dfks", || child.try_wait().unwrap())
    }

    /// Stops it, which has to go well.
    pub fn stop(&mut self) {
        self.terminate();
        let ended = self.ended();
        assert_eq!(ended.code(), Some(0), "{}", self.log());
    }

    /// What it logged since its last start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap()
    }

    /// The lines of the log that are complete.
    pub fn log_lines(&self) -> Vec<Value> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join(format!("log-{}.json", self.starts))
    }

    /// `GET`: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http.expect("it ran")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: dfks\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let body = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { unchunked(body) } else { body.to_owned() };
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }

    /// The value of a series: `dfks_notify_in_flight`, `dfks_edge_dropped_total{reason="ack"}`.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let text = self.get("/metrics").1;
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of dfks:\n{}", fs::read_to_string(self.log_file()).unwrap_or_default());
        }
        self.kill();
        end_servers_of(self.dir.path());
    }
}

/// A body in chunks. Source: RFC 9112 §7.1.
fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return body;
        }
        body.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
}
