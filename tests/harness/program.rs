//! A service in another language, as its own process on this NATS.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::common::Nats;

/// A running program that says `ready` once it listens. Killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Program {
    /// Starts a Python file, with the packages that `make tools` fetched.
    pub fn python(nats: &Nats, file: &str, args: &[&str]) -> Self {
        let mut command = Command::new("python3");
        let packages = format!("{}:{}", root(".tools/python"), std::env::var("PYTHONPATH").unwrap_or_default());
        command.arg(root(file)).args(args).env("PYTHONPATH", packages);
        Self::start(nats, command)
    }

    /// Starts a command, and waits until it is ready.
    pub fn start(nats: &Nats, mut command: Command) -> Self {
        command.env("NATS_URL", nats.url()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::sync_channel(10_000);
        thread::spawn(move || {
            let mut line = String::new();
            while stdout.read_line(&mut line).is_ok_and(|length| length > 0) && sender.send(line.trim_end().to_owned()).is_ok() {
                line.clear();
            }
        });
        let program = Self { child, lines };
        assert_eq!(program.line(), "ready", "{command:?}");
        program
    }

    /// The next line that it says.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(20)).expect("a line within 20 s: run `make tools`")
    }

    /// Tells it something.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // it may have ended by itself
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A file of the repository.
pub fn root(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file).to_str().unwrap().to_owned()
}
