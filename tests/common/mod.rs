//! A real nats-server for one test: on a free port of loopback, with JetStream in a directory of its own.

#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "each test binary uses a part of it")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use dfks::bus::Bus;
use dfks::config::NatsConfig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

mod onlooker;

pub use onlooker::look_on;

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(10);

/// A nats-server of this test. Killed when dropped.
#[derive(Debug)]
pub struct Nats {
    dir: TempDir,
    child: Option<Child>,
    port: u16,
    name: String,
    program: PathBuf,
}

impl Nats {
    /// Starts a server of another program.
    pub fn of(program: &Path) -> Self {
        Self::running(program.to_owned(), "max_file_store: 8GB", "")
    }

    /// Starts a server that lets everyone do everything.
    pub fn start() -> Self {
        Self::with_config("")
    }

    /// Starts a server with more lines in its configuration file.
    pub fn with_config(more: &str) -> Self {
        Self::with_store("8GB", more)
    }

    /// Starts a server whose store has so much room, with more lines in its configuration file.
    pub fn with_store(room: &str, more: &str) -> Self {
        Self::with_jetstream(&format!("max_file_store: {room}"), more)
    }

    /// Starts a server of a JetStream domain, with more lines in its configuration file.
    pub fn in_domain(domain: &str, more: &str) -> Self {
        Self::with_jetstream(&format!("max_file_store: 8GB, domain: {domain}"), more)
    }

    fn with_jetstream(settings: &str, more: &str) -> Self {
        Self::running(server_binary(), settings, more)
    }

    fn running(program: PathBuf, settings: &str, more: &str) -> Self {
        log();
        let dir = TempDir::new().unwrap();
        let name = format!("test-{:x}", rand::random::<u64>());
        let store = dir.path().join("jetstream");
        let text = format!("server_name: {name}\njetstream {{ store_dir: \"{}\", {settings} }}\n{more}\n", store.display());
        fs::write(dir.path().join("nats.conf"), text).unwrap();
        let mut nats = Self { dir, child: None, port: 0, name, program };
        nats.restart();
        nats
    }

    /// `nats://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The port that it listens on; the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port that leaf nodes connect to.
    pub fn leaf_port(&self) -> u16 {
        // the ports file has none
        let log = fs::read_to_string(self.dir.path().join("nats.log")).unwrap();
        let port = log.lines().find_map(|line| line.split_once("leafnode connections on ")?.1.rsplit(':').next()?.parse().ok());
        port.expect("leafnodes { listen: … } in its configuration")
    }

    /// The server's process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.as_ref().expect("the server runs").id().cast_signed())
    }

    /// A directory that lives as long as the server does.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `[nats]` for this server.
    pub fn config(&self) -> NatsConfig {
        NatsConfig { url: self.url(), ..NatsConfig::default() }
    }

    /// Kills the server, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Kills the server, and takes away all that it has stored.
    pub fn wipe(&mut self) {
        self.kill();
        fs::remove_dir_all(self.dir.path().join("jetstream")).unwrap();
    }

    /// Starts the server again, on the same port and data.
    pub fn restart(&mut self) {
        self.kill();
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        let log = fs::File::create(self.dir.path().join("nats.log")).unwrap();
        let child = Command::new(&self.program)
            .args(["-a", "127.0.0.1", "-p", &port, "-c"])
            .arg(self.dir.path().join("nats.conf"))
            .arg("--ports_file_dir")
            .arg(self.dir.path())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let ports_file = ports_file_of(&self.program, self.dir.path(), &child);
        self.child = Some(child);
        self.port = wait_for("the server's port", || client_port(&ports_file));
        self.check_that_it_is_ours();
        look_on(self.port, "dfks");
    }

    /// Ends the server as its operator would, and waits until it has.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops the server's process without ending it: connections stay open, nothing answers.
    pub fn pause(&self) {
        kill(self.pid(), Signal::SIGSTOP).unwrap();
        let is_stopped = |thread: fs::DirEntry| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            // pid (name) state …
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        };
        let threads = format!("/proc/{}/task", self.pid());
        wait_for("all its threads stand still", || fs::read_dir(&threads).ok()?.flatten().all(is_stopped).then_some(()));
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(&self) {
        kill(self.pid(), Signal::SIGCONT).unwrap();
    }

    fn check_that_it_is_ours(&self) {
        let stream = wait_for("the server's greeting", || TcpStream::connect(("127.0.0.1", self.port)).ok());
        let mut greeting = String::new();
        BufReader::new(stream).read_line(&mut greeting).unwrap();
        assert!(greeting.contains(&self.name), "another server listens on port {}: {greeting}", self.port);
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Shows our log of a test that fails, or of any with `--nocapture`, as far as `RUST_LOG` asks for it.
pub fn log() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    // one of the tests in this process was first
    let _already_set = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

/// Where nats-server is: `NATS_SERVER_BIN`, else `.tools/bin` below the crate, else PATH.
pub fn server_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("NATS_SERVER_BIN") {
        return path.into();
    }
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/nats-server");
    if tool.exists() { tool } else { "nats-server".into() }
}

/// Tries until there is a value. Fails the test when there is none for 20 s.
pub fn wait_for<T>(what: &str, mut value: impl FnMut() -> Option<T>) -> T {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(value) = value() {
            return value;
        }
        assert!(waited < PATIENCE, "{what} did not come within {PATIENCE:?}");
        sleep(STEP);
        waited += STEP;
    }
}

/// Tries until it is so, without holding up the test's other tasks. Fails the test when it is not within 20 s.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let tried = async {
        while !is_so().await {
            tokio::time::sleep(STEP).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, tried).await.is_ok(), "not so within {PATIENCE:?}: {what}");
}

/// A client of a server, once it is connected.
pub async fn connect(config: &NatsConfig, name: &str) -> Bus {
    let bus = Bus::connect(config, name).await.unwrap();
    tokio::time::timeout(PATIENCE, bus.connected()).await.expect("connected");
    bus
}

/// Kills every nats-server whose data is below a directory: the ones that a killed `dfks` left behind.
pub fn end_servers_of(dir: &Path) {
    let dir = dir.as_os_str().as_encoded_bytes();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
        if arguments.split(|byte| *byte == 0).skip(1).any(|argument| argument.starts_with(dir)) {
            // it may have ended by itself
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// The file that a server started with `--ports_file_dir` writes when it is ready.
pub fn ports_file(dir: &Path, server: &Child) -> PathBuf {
    ports_file_of(&server_binary(), dir, server)
}

fn ports_file_of(program: &Path, dir: &Path, server: &Child) -> PathBuf {
    dir.join(format!("{}_{}.ports", program.file_name().unwrap().display(), server.id()))
}

/// The port of `{"nats":["nats://127.0.0.1:41234"], …}`.
fn client_port(ports_file: &Path) -> Option<u16> {
    let ports: serde_json::Value = serde_json::from_str(&fs::read_to_string(ports_file).ok()?).ok()?;
    ports.get("nats")?.get(0)?.as_str()?.rsplit(':').next()?.parse().ok()
}
