//! What really went over the wire, captured on loopback, in the eyes of tshark: its SIP dissector finds nothing wrong with
//! anything that we sent.
#![expect(clippy::panic, clippy::print_stderr, reason = "a test may panic, and says what it skips")]

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Answer, Phone, Product, Setup, Subscribe, set_dnd, set_forwarding};

/// A running capture of one server's ports.
struct Capture {
    child: Child,
    file: PathBuf,
}

impl Capture {
    /// Begins to capture; `None` where there is no tshark, or nobody lets us capture. In CI both have to be.
    fn start(ports: &[u16], folder: &Path) -> Option<Self> {
        let file = folder.join("wire.pcapng");
        let filter = ports.iter().map(|port| format!("port {port}")).collect::<Vec<_>>().join(" or ");
        let mut command = Command::new("tshark");
        command.args(["-i", "lo", "-n", "-B", "64", "-f", filter.as_str(), "-w"]).arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let started = command.stderr(Stdio::piped()).spawn().and_then(|mut child| {
            let mut lines = BufReader::new(child.stderr.take().ok_or(std::io::ErrorKind::BrokenPipe)?).lines();
            let captures = lines.by_ref().map_while(Result::ok).any(|line| line.contains("Capturing on"));
            if captures { Ok(child) } else { Err(child.kill().err().unwrap_or(std::io::ErrorKind::PermissionDenied.into())) }
        });
        match started {
            Ok(child) => Some(Self { child, file }),
            Err(error) if std::env::var_os("CI").is_some() => panic!("tshark has to capture in CI: {error}"),
            Err(error) => {
                eprintln!("skipped: tshark cannot capture here: {error}");
                None
            }
        }
    }

    /// Waits until packets get into the file: some time passes between what tshark says and what it does.
    fn is_under_way(&self, server: SocketAddr) {
        let (socket, length) = (UdpSocket::bind("127.0.0.1:0").unwrap(), || std::fs::metadata(&self.file).map_or(0, |file| file.len()));
        wait_for("the first packets", || {
            // a keep-alive: nobody answers it
            socket.send_to(b"\r\n\r\n", server).unwrap();
            (length() > 2000).then_some(())
        });
    }

    /// Ends it; what came before is in the file.
    fn stop(mut self) -> PathBuf {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT).unwrap();
        wait_for("the end of tshark", || self.child.try_wait().unwrap());
        self.file
    }
}

/// The capture's packets that pass a display filter, each as the fields that are asked for.
fn read(file: &Path, product: &Product, filter: &str, fields: &[&str]) -> Vec<String> {
    let decode = [format!("udp.port=={},sip", product.udp().port()), format!("tcp.port=={},sip", product.tcp().port())];
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-n", "-2", "-d", &decode[0], "-d", &decode[1], "-Y", filter, "-T", "fields"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// ```text
/// UDP, TCP: subscribe, every key on and off, a forward with odd characters, refusals of each kind, a phone with odd names, a NOTIFY
/// that is sent again, OPTIONS, unsubscribe
/// ```
#[test]
fn tshark_finds_nothing_wrong_with_what_we_send() {
    let nats = Nats::start();
    let product = Setup::on(&nats).with("sip.initial_notify", "multipart").start();
    let Some(capture) = Capture::start(&[product.udp().port(), product.tcp().port()], product.dir()) else { return };
    capture.is_under_way(product.udp());
    for phone in [Phone::udp(product.udp()), Phone::tcp(product.tcp())] {
        everything(&phone);
    }
    // what is captured is written with some delay
    let ours = format!("sip && (udp.srcport == {} || tcp.srcport == {})", product.udp().port(), product.tcp().port());
    std::thread::sleep(Duration::from_secs(1));
    let file = capture.stop();
    let seen = read(&file, &product, &ours, &["sip.Status-Code", "sip.Method"]);
    for status in ["200", "400", "405", "406", "415", "420", "423", "481", "489"] {
        assert!(
            seen.iter().filter(|line| line.split('\t').next().unwrap().split(',').any(|code| code == status)).count() >= 2,
            "{status} over both: {seen:?}"
        );
    }
    assert!(seen.iter().filter(|line| line.contains("NOTIFY")).count() >= 20, "{seen:?}");
    let wrong = read(
        &file,
        &product,
        &format!("({ours}) && (_ws.malformed || _ws.expert.severity >= 0x600000)"),
        &["frame.number", "_ws.expert.message", "sip.Request-Line", "sip.Status-Line"],
    );
    assert_eq!(wrong, Vec::<String>::new());
}

/// One phone through everything that we answer.
fn everything(phone: &Phone) {
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    for on in [true, false] {
        dialog.press(set_dnd(on));
        dialog.notify();
        for kind in ["forwardImmediate", "forwardBusy", "forwardNoAns"] {
            dialog.press(set_forwarding(
                kind,
                on,
                "<forwardDN>sip:b&amp;&lt;ob&gt;@10.0.0.11;x=&quot;\u{e9}&quot;</forwardDN><ringCount>3</ringCount>",
            ));
            dialog.notify();
        }
    }
    let mut first = true;
    phone.answers(move |_| if std::mem::take(&mut first) { Answer::Silence } else { Answer::Status(200, "") });
    dialog.press(set_dnd(true));
    let again = dialog.notify();
    wait_for("a retransmission, where the transport needs it", || {
        (phone.copies(&again) > 1 || !again.must("via").contains("/UDP")).then_some(())
    });
    phone.answers(|_| Answer::Status(200, ""));
    if again.must("via").contains("/UDP") {
        dialog.unsubscribe();
        dialog.notify();
    }
    refusals(phone);
}

/// Requests that are refused, and OPTIONS.
fn refusals(phone: &Phone) {
    let odd = "From: \"Al \\\"ice\\\" <x>\" <sip:alice@[2001:db8::1]>;tag=f\r\nTo: <sip:alice@127.0.0.1>\r\n";
    let plain = "From: <sip:alice@127.0.0.1>;tag=f\r\nTo: <sip:alice@127.0.0.1>\r\n";
    let cases = [
        ("OPTIONS", odd, "", "", 200),
        ("PUBLISH", odd, "Event: as-feature-event\r\n", "", 405),
        ("SUBSCRIBE", odd, "Event: presence\r\n", "", 489),
        ("SUBSCRIBE", plain, "Event: as-feature-event\r\nExpires: 5\r\n", "", 423),
        ("SUBSCRIBE", plain, "Event: as-feature-event\r\nRequire: eventlist, gruu\r\n", "", 420),
        ("SUBSCRIBE", plain, "Event: as-feature-event\r\nAccept: application/pidf+xml\r\n", "", 406),
        ("SUBSCRIBE", plain, "Event: as-feature-event\r\nContent-Type: text/plain\r\n", "hello", 415),
        ("SUBSCRIBE", plain, "Event: as-feature-event\r\nContent-Type: application/x-as-feature-event+xml\r\n", "<a", 400),
        (
            "SUBSCRIBE",
            "From: <sip:alice@127.0.0.1>;tag=f\r\nTo: <sip:alice@127.0.0.1>;tag=gone\r\n",
            "Event: as-feature-event\r\n",
            "",
            481,
        ),
    ];
    for (method, who, more, body, status) in cases {
        let (text, branch) = phone.request(method, who, more, body);
        phone.send(text.as_bytes());
        assert_eq!(phone.responses(&branch, 1)[0].status(), Some(status), "{text}");
    }
    // and one that is accepted, of a phone with an odd name and Contact
    let mut dialog = phone.dialog("sip:%22odd%22@127.0.0.1");
    let done = dialog.send(&Subscribe { more: "Subject: \u{e9}\r\n", ..Subscribe::default() });
    assert_eq!(done.status(), Some(200));
    dialog.notify();
    dialog.unsubscribe();
    dialog.notify();
}
