//! Who else may be on a bus: somebody who looks on (`nats sub 'dfks.>'`, `nats sub '>'`), and a stream that records what is asked.
//!
//! `DFKS_TEST_ONLOOKER=1` puts one of each kind of onlooker on every server that a test starts, `DFKS_TEST_AUDIT=1` a stream
//! over everything that we do not store ourselves, but for `dfks.set`: whoever asks with a plain NATS client takes the first word for
//! the answer. Nothing may change by them. A server that asks for a login has none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

/// How often a server is asked to make the stream, and how long after each time: JetStream begins a moment after its server.
const ATTEMPTS: usize = 200;
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Puts on the server at this port, just started, whoever the environment asks for. `prefix`: `nats.prefix` of whom they watch.
pub fn look_on(port: u16, prefix: &str) {
    if is_asked_for("DFKS_TEST_ONLOOKER")
        && let Some(mut onlooker) = Connection::open(port)
    {
        onlooker.send(&format!("SUB {prefix}.> 1\r\nSUB > 2\r\nPING\r\n"));
        if onlooker.until_pong() {
            // Ends with the server.
            std::thread::spawn(move || onlooker.run());
        }
    }
    if is_asked_for("DFKS_TEST_AUDIT")
        && let Some(mut maker) = Connection::open(port)
    {
        maker.make_audit_stream(prefix);
    }
}

fn is_asked_for(mode: &str) -> bool {
    std::env::var_os(mode).is_some_and(|value| !value.is_empty() && value != "0")
}

/// A client of NATS that knows nothing of ours.
struct Connection {
    lines: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Connection {
    fn open(port: u16) -> Option<Self> {
        let writer = TcpStream::connect(("127.0.0.1", port)).ok()?;
        let mut connection = Self { lines: BufReader::new(writer.try_clone().ok()?), writer };
        let info = connection.line()?;
        let info: Value = serde_json::from_str(info.strip_prefix("INFO ")?).ok()?;
        let is = |key: &str| info.get(key).is_some_and(|is| *is == true);
        if is("auth_required") || is("tls_required") {
            return None;
        }
        connection.send("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true,\"name\":\"onlooker\"}\r\n");
        Some(connection)
    }

    fn send(&mut self, text: &str) {
        // a server that is gone needs nobody
        let _gone = self.writer.write_all(text.as_bytes());
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.lines.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
    }

    /// The next message: its subject and payload. Answers the server meanwhile.
    fn message(&mut self) -> Option<(String, Vec<u8>)> {
        loop {
            let line = self.line()?;
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["PING"] => self.send("PONG\r\n"),
                ["MSG" | "HMSG", subject, .., bytes] => {
                    let mut payload = vec![0; bytes.parse::<usize>().ok()? + 2];
                    self.lines.read_exact(&mut payload).ok()?;
                    return Some(((*subject).to_owned(), payload));
                }
                ["-ERR", ..] => return None,
                _ => {}
            }
        }
    }

    /// Whether the server has taken what was sent.
    fn until_pong(&mut self) -> bool {
        loop {
            match self.line().as_deref() {
                Some("PONG") => return true,
                Some("PING") => self.send("PONG\r\n"),
                Some(line) if !line.starts_with("-ERR") => {}
                _ => return false,
            }
        }
    }

    fn run(&mut self) {
        while self.message().is_some() {}
    }

    /// Makes the stream, and waits until it is there. Where the server has no JetStream there is none.
    fn make_audit_stream(&mut self, prefix: &str) {
        let under = |subject: &str| format!("{prefix}.{subject}");
        let subjects =
            ["responder.>", "get", "get.*", "route.set", "watchers", "edge.>", "resync", "end", "why", "responders", "responders.>"];
        let subjects: Vec<String> = subjects.into_iter().map(under).collect();
        let name = format!("AUDIT_{prefix}");
        let config = json!({
            "name": name, "subjects": subjects, "retention": "limits", "discard": "old", "storage": "memory", "max_bytes": 16_777_216,
            "max_age": 0, "max_msgs": -1, "max_consumers": -1, "num_replicas": 1,
        })
        .to_string();
        let inbox = "_INBOX.audit";
        self.send(&format!("SUB {inbox} 1\r\n"));
        for _ in 0..ATTEMPTS {
            self.send(&format!("PUB $JS.API.STREAM.CREATE.{name} {inbox} {}\r\n{config}\r\n", config.len()));
            let Some((_, payload)) = self.message() else { return };
            // No JSON: nobody listens there yet.
            if serde_json::from_slice::<Value>(&payload).is_ok() {
                return;
            }
            std::thread::sleep(AGAIN_AFTER);
        }
    }
}
