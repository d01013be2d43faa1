//! One run of the nats-server child behind its guard, from its start to its end.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio_util::task::AbortOnDropHandle;

use crate::bus::embedded::conf::{self, Access, URL_FILE};
use crate::bus::embedded::error::EmbeddedError;
use crate::bus::embedded::guard::STOP_TIMEOUT;
use crate::runtime::tasks;

/// By how many per cent the server's memory may grow before it collects its garbage, where the environment does not say: Go's own 100
/// keeps twice of what it needs, and what it needs grows with the subscriptions. A memory limit (`GOMEMLIMIT`) is none that fits all:
/// near it the server does little else than collect.
const COLLECT_AT: &str = "GOGC";
const COLLECT_AT_PERCENT: &str = "40";
/// How many threads of the server run at the same time, where the environment does not say: half of the cores, the roles have the
/// rest. Its own default is all of them, and with each message it wakes one more that looks for work: a fifth of what a call costs on two cores.
const THREADS: &str = "GOMAXPROCS";
/// Timeout of the start: a large store is read first.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// Timeout of the guard's end, after it should have killed the server.
const GUARD_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout for the port of a server that has just ended to become free.
const PORT_PATIENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(10);

/// What the child is started with.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// The `dfks` program, which guards the server.
    pub(crate) guard: PathBuf,
    pub(crate) program: PathBuf,
    /// Absolute: identifies an orphan.
    pub(crate) data_dir: PathBuf,
    /// Port 0: any free one.
    pub(crate) listen: SocketAddr,
    /// `nats.domain`
    pub(super) domain: String,
    pub(super) access: Access,
}

/// A running child, behind its guard.
#[derive(Debug)]
pub(crate) struct Server {
    guard: Child,
    /// Closed, by us or by our end, it ends the server.
    lifeline: ChildStdin,
    pid: i32,
    pub(crate) port: u16,
    _log: AbortOnDropHandle<()>,
}

impl Launch {
    /// Starts the child and waits until it takes connections.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError`]; no child is left behind then.
    pub(crate) async fn start(&self) -> Result<Server, EmbeddedError> {
        let file = |source| EmbeddedError::DataDir { path: self.data_dir.clone(), source };
        self.check_port().await?;
        conf::write(&self.conf_file(), self.listen, &self.data_dir, &self.domain, &self.access).map_err(file)?;
        remove_ports_files(&self.data_dir).await.map_err(file)?;
        let unusable = |source| EmbeddedError::Spawn { program: self.guard.clone(), source };
        let mut guard = self.command().spawn().map_err(unusable)?;
        let (Some(lifeline), Some(stdout), Some(stderr)) = (guard.stdin.take(), guard.stdout.take(), guard.stderr.take()) else {
            return Err(unusable(std::io::Error::other("it has no pipes")));
        };
        let complaint = Complaint::default();
        let log = tasks::spawn_owned(forward(stderr, complaint.clone()));
        let Some(pid) = read_pid(stdout).await else { return Err(ended(&mut guard, &complaint).await) };
        tokio::fs::write(self.pid_file(), pid.to_string()).await.map_err(file)?;
        let port = self.ready(&mut guard, pid, &complaint).await?;
        Ok(Server { guard, lifeline, pid, port, _log: log })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.guard);
        command.arg0("dfks").args(["guard", "--"]).arg(&self.program).arg("-c").arg(self.conf_file());
        command.arg("--ports_file_dir").arg(&self.data_dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if std::env::var_os(COLLECT_AT).is_none() {
            command.env(COLLECT_AT, COLLECT_AT_PERCENT);
        }
        if std::env::var_os(THREADS).is_none() {
            let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
            command.env(THREADS, cores.div_euclid(2).max(1).to_string());
        }
        // the terminal's Ctrl-C is for us: the server goes last
        command.process_group(0);
        command
    }

    /// Stops the server of an earlier run that was killed before it could do so itself.
    pub(crate) async fn stop_orphan(&self) {
        let Ok(text) = tokio::fs::read_to_string(self.pid_file()).await else { return };
        let Some(pid) = text.trim().parse().ok().filter(|pid| *pid > 1) else { return };
        if !self.is_ours(pid).await {
            return;
        }
        tracing::warn!(pid, "stopping the nats-server of an earlier run that was killed");
        for (signal, patience) in [(Signal::SIGTERM, STOP_TIMEOUT), (Signal::SIGKILL, STOP_TIMEOUT)] {
            // already gone is fine
            let _gone = kill(Pid::from_raw(pid), signal);
            let gone = async {
                while self.is_ours(pid).await {
                    tokio::time::sleep(POLL).await;
                }
            };
            if tokio::time::timeout(patience, gone).await.is_ok() {
                return;
            }
        }
    }

    /// Whether a process is a server with our configuration file: a pid alone may be anyone's by now.
    async fn is_ours(&self, pid: i32) -> bool {
        let Ok(arguments) = tokio::fs::read(format!("/proc/{pid}/cmdline")).await else { return false };
        let conf = self.conf_file();
        arguments.split(|byte| *byte == 0).any(|argument| argument == conf.as_os_str().as_encoded_bytes())
    }

    /// Forgets the child, after it was stopped.
    pub(crate) async fn forget(&self) {
        for file in [self.pid_file(), self.url_file()] {
            // a missing file is fine
            let _gone = tokio::fs::remove_file(file).await;
        }
    }

    pub(crate) fn url_file(&self) -> PathBuf {
        self.data_dir.join(URL_FILE)
    }

    fn conf_file(&self) -> PathBuf {
        self.data_dir.join("nats-server.conf")
    }

    fn pid_file(&self) -> PathBuf {
        self.data_dir.join("nats-server.pid")
    }

    /// Whether the port is free, or becomes so shortly: a server that was killed has no arguments any more in `/proc` a while
    /// before the system has closed its sockets.
    async fn check_port(&self) -> Result<(), EmbeddedError> {
        let bound = async {
            loop {
                match tokio::net::TcpListener::bind(self.listen).await {
                    Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => tokio::time::sleep(POLL).await,
                    other => return other.map(drop),
                }
            }
        };
        let taken = || std::io::ErrorKind::AddrInUse.into();
        let tried = tokio::time::timeout(PORT_PATIENCE, bound).await.unwrap_or_else(|_| Err(taken()));
        tried.map_err(|source| EmbeddedError::Listen { listen: self.listen, source })
    }

    async fn ready(&self, guard: &mut Child, pid: i32, complaint: &Complaint) -> Result<u16, EmbeddedError> {
        let ready = async {
            loop {
                if let Some(port) = read_port(&self.data_dir, pid).await {
                    return Ok(port);
                }
                if let Ok(Some(_)) = guard.try_wait() {
                    return Err(ended(guard, complaint).await);
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(START_TIMEOUT, ready).await.unwrap_or(Err(EmbeddedError::NotReady(START_TIMEOUT)))
    }
}

impl Server {
    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> Option<ExitStatus> {
        self.guard.wait().await.ok()
    }

    /// Stops it: gracefully, and by force when that takes too long.
    pub(crate) async fn stop(self) {
        let Self { mut guard, lifeline, pid, .. } = self;
        drop(lifeline);
        if tokio::time::timeout(STOP_TIMEOUT + GUARD_TIMEOUT, guard.wait()).await.is_err() {
            tracing::warn!("nats-server does not stop, killing it");
            // gone already is as good
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
            if let Err(error) = guard.kill().await {
                tracing::warn!(%error, "the guard of nats-server cannot be killed");
            }
        }
    }
}

/// The server's process id, which the guard tells first.
async fn read_pid(stdout: ChildStdout) -> Option<i32> {
    let mut lines = BufReader::new(stdout).lines();
    let line = tokio::time::timeout(START_TIMEOUT, lines.next_line()).await.ok()?.ok()??;
    line.trim().parse().ok()
}

/// What a server that did not start has said.
async fn ended(guard: &mut Child, complaint: &Complaint) -> EmbeddedError {
    match tokio::time::timeout(START_TIMEOUT, guard.wait()).await {
        Ok(Ok(status)) => {
            // its last words may still be on their way
            tokio::time::sleep(POLL).await;
            EmbeddedError::Ended { status, complaint: complaint.get() }
        }
        Ok(Err(_)) | Err(_) => EmbeddedError::NotReady(START_TIMEOUT),
    }
}

/// The last line above information in the server's log.
#[derive(Debug, Clone, Default)]
struct Complaint(Arc<Mutex<String>>);

impl Complaint {
    fn set(&self, text: &str) {
        text.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Takes the server's log into ours.
async fn forward(stderr: ChildStderr, complaint: Complaint) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let (is_complaint, text) = level(&line);
        // its file is ours alone, and the password is as plain in the file that we were given
        if is_complaint && !text.starts_with("Plaintext passwords detected") {
            complaint.set(text);
            tracing::warn!(text, "nats-server");
        } else {
            tracing::debug!(text, "nats-server");
        }
    }
}

/// `[pid] 2026/11/23 03:35:03.479003 [INF] text`, or a bare line when it fails early.
fn level(line: &str) -> (bool, &str) {
    for (tag, is_complaint) in [(" [WRN] ", true), (" [ERR] ", true), (" [FTL] ", true), (" [INF] ", false), (" [DBG] ", false)] {
        if let Some((_when, text)) = line.split_once(tag) {
            return (is_complaint, text);
        }
    }
    (true, line)
}

/// The port in the file that the server writes when it is ready: `<program>_<pid>.ports`.
async fn read_port(dir: &Path, pid: i32) -> Option<u16> {
    let suffix = format!("_{pid}.ports");
    let mut entries = tokio::fs::read_dir(dir).await.ok()?;
    while let Some(entry) = entries.next_entry().await.ok()? {
        if entry.file_name().to_string_lossy().ends_with(&suffix) {
            return parse_ports(&tokio::fs::read(entry.path()).await.ok()?);
        }
    }
    None
}

/// `{"nats":["nats://127.0.0.1:41234"], …}`
fn parse_ports(text: &[u8]) -> Option<u16> {
    let ports: serde_json::Value = serde_json::from_slice(text).ok()?;
    ports.get("nats")?.get(0)?.as_str()?.rsplit(':').next()?.parse().ok()
}

/// Removes what a killed server left: its pid may be given to the next one.
async fn remove_ports_files(dir: &Path) -> std::io::Result<()> {
    let mut entries = tokio::fs::read_dir(dir).await?;
    while let Some(entry) = entries.next_entry().await? {
        if entry.path().extension().is_some_and(|extension| extension == "ports") {
            tokio::fs::remove_file(entry.path()).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_complaints_from_the_rest_of_the_log() {
        for (line, want) in [
            ("[7] 2026/11/23 03:35:03.479003 [INF] Server is ready", (false, "Server is ready")),
            ("[7] 2026/11/23 03:35:03.479003 [WRN] slow", (true, "slow")),
            ("[7] 2026/11/23 03:35:03.479003 [FTL] no [INF] here", (true, "no [INF] here")),
            ("nats-server: bad config", (true, "nats-server: bad config")),
        ] {
            assert_eq!(level(line), want, "{line}");
        }
    }

    #[test]
    fn reads_the_port() {
        assert_eq!(parse_ports(br#"{"nats":["nats://127.0.0.1:41234","nats://[::1]:41234"]}"#), Some(41234));
        assert_eq!(parse_ports(br#"{"nats":["#), None);
    }
}
