//! Kamailio with a file of `examples/kamailio`, on ports of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::common::wait_for;
use crate::harness::{Authority, Product, root};

/// A module of each Debian package that the configuration needs.
const MODULES: [&str; 4] = ["tm.so", "http_client.so", "jansson.so", "tls.so"];
/// How long its end may take before it is killed.
const END: Duration = Duration::from_secs(10);

/// A running Kamailio. Ended when dropped, with all of its processes.
#[derive(Debug)]
pub(super) struct Kamailio {
    child: Child,
    dir: TempDir,
    /// Where phones reach it over UDP and TCP.
    pub(super) address: SocketAddr,
    /// Where they reach it over TLS.
    pub(super) tls: SocketAddr,
}

/// The program, where it and its modules are installed.
pub(super) fn program() -> Option<PathBuf> {
    let program = ["/usr/sbin/kamailio", "/usr/local/sbin/kamailio"].map(PathBuf::from).into_iter().find(|path| path.exists());
    let mut folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path().join("kamailio/modules"));
    let is_whole = folders.any(|folder| MODULES.iter().all(|module| folder.join(module).exists()));
    if program.is_none() || !is_whole {
        eprintln!("skipped: Kamailio is not there (Debian: kamailio kamailio-utils-modules kamailio-extra-modules kamailio-tls-modules)");
        return None;
    }
    program
}

impl Kamailio {
    /// Starts a file of `examples/kamailio` beside a `dfks` that has an edge and HTTP; `defines`: settings in place of those of the file.
    pub(super) fn start(program: &Path, file: &str, product: &Product, authority: &Authority, defines: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let (certificate, key) = authority.write(dir.path());
        let (address, tls) = (free(), free());
        let defines = defines.iter().map(|define| (*define).to_owned()).chain([
            format!("LISTEN=udp:{address}"),
            format!("LISTEN_TCP=tcp:{address}"),
            format!("EDGE=\"sip:127.0.0.1:{}\"", product.udp().port()),
            format!("EDGE_TCP=\"sip:127.0.0.1:{};transport=tcp\"", product.tcp().port()),
            format!("DFKS=\"http://{}\"", product.mi()),
            "WITH_TLS".to_owned(),
            format!("LISTEN_TLS=tls:{tls}"),
            format!("CERTIFICATE=\"{}\"", certificate.display()),
            format!("KEY=\"{}\"", key.display()),
        ]);
        let mut command = Command::new(program);
        command.args(["-f", &root(&format!("examples/kamailio/{file}")), "-DD", "-E", "-Y"]).arg(dir.path());
        command.args(defines.flat_map(|define| ["-A".to_owned(), define]));
        // its processes are a group of their own, so that none outlives the test
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(dir.path().join("log")).unwrap());
        let mut kamailio = Self { child: command.spawn().unwrap(), dir, address, tls };
        kamailio.wait_until_ready();
        kamailio
    }

    /// Waits until it answers: a request that may go no further, so that it is itself who does.
    fn wait_until_ready(&mut self) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let own = socket.local_addr().unwrap();
        let ask = format!(
            "OPTIONS sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKready\r\nMax-Forwards: 0\r\nFrom: <sip:{own}>;tag=a\r\n\
             To: <sip:{to}>\r\nCall-ID: ready@{own}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
            to = self.address
        );
        wait_for("Kamailio to be ready", || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "Kamailio ended with {ended:?}:\n{}", self.log());
            // nobody may listen yet
            drop(socket.send_to(ask.as_bytes(), self.address));
            let mut answer = [0; 2048];
            socket.recv(&mut answer).ok().filter(|_| answer.starts_with(b"SIP/2.0 483"))
        });
    }

    /// What it logged.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of Kamailio:\n{}", self.log());
        }
        let pid = Pid::from_raw(self.child.id().cast_signed());
        // the first process ends the others
        let asked = kill(pid, Signal::SIGTERM);
        let mut waited = Duration::ZERO;
        while asked.is_ok() && waited < END && self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            std::thread::sleep(Duration::from_millis(20));
            waited += Duration::from_millis(20);
        }
        // a group without anybody is none
        killpg(pid, Signal::SIGKILL).unwrap_or_default();
        drop(self.child.wait());
    }
}

/// A port that is free for UDP and for TCP.
fn free() -> SocketAddr {
    wait_for("a free port", || {
        let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        TcpListener::bind(address).ok().map(|_free| address)
    })
}
