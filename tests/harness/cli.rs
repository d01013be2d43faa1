//! The client commands of `dfks`, as a person runs them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::Nats;

/// A command that has ended.
#[derive(Debug)]
pub struct Done {
    /// Its exit code.
    pub code: i32,
    /// Its stdout.
    pub out: String,
    /// Its stderr.
    pub err: String,
}

impl Done {
    fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().expect("ended by itself"), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Its stdout, of a command that has to succeed.
    pub fn ok(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }
}

/// A command that nothing in the environment of this test configures.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dfks"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("DFKS") || name_text.starts_with("NATS_") && name != "NATS_SERVER_BIN" {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command that does not reach NATS.
pub fn dfks(args: &[&str]) -> Done {
    dfks_in(args, &[])
}

/// Runs a command with more in its environment.
pub fn dfks_in(args: &[&str], env: &[(&str, &str)]) -> Done {
    Done::of(command(args).envs(env.iter().copied()))
}

/// Runs a command in this folder.
pub fn dfks_at_folder(folder: &Path, args: &[&str]) -> Done {
    Done::of(command(args).current_dir(folder))
}

/// Runs a command on this NATS.
pub fn dfks_with(nats: &Nats, args: &[&str]) -> Done {
    dfks_at(&nats.url(), args)
}

/// Runs a command on the NATS with this URL.
pub fn dfks_at(url: &str, args: &[&str]) -> Done {
    dfks(&[args, &["--nats", url]].concat())
}

/// A command that goes on until it is told to stop. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
}

/// Starts a command that goes on.
pub fn started(args: &[&str]) -> Running {
    let mut child = command(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = mpsc::sync_channel(10_000);
    thread::spawn(move || {
        let mut line = String::new();
        while stdout.read_line(&mut line).is_ok_and(|length| length > 0) {
            if sender.send(line.trim_end().to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    Running { child, lines }
}

impl Running {
    /// The lines up to and with the first one that has this text.
    pub fn until(&self, text: &str) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(Duration::from_secs(10)) else { panic!("no '{text}' after {seen:#?}") };
            let is_found = line.contains(text);
            seen.push(line);
            if is_found {
                return seen;
            }
        }
    }

    /// Presses Ctrl-C and waits; the exit code, and the lines that were still to come.
    pub fn stop(mut self) -> (i32, Vec<String>) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT).unwrap();
        self.ended_by_itself()
    }

    /// Waits for its end; the exit code, and the lines that were still to come.
    pub fn ended(mut self) -> (i32, Vec<String>) {
        self.ended_by_itself()
    }

    fn ended_by_itself(&mut self) -> (i32, Vec<String>) {
        let lines: Vec<_> = std::iter::from_fn(|| self.lines.recv_timeout(Duration::from_secs(20)).ok()).collect();
        (crate::common::wait_for("the end of the command", || self.child.try_wait().unwrap()).code().unwrap(), lines)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // it may have ended by itself
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
