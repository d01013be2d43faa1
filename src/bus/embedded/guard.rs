//! The process between us and the server: it ends the server when we are gone, however we went.
//!
//! ```text
//! dfks run ──spawns──▶ dfks guard ──spawns──▶ nats-server
//!     └─ holds a pipe ────▶ stdin: its end means that dfks stopped, crashed or was killed ─▶ SIGTERM, 10 s, SIGKILL
//! ```
//! It has no thread of a runtime and waits for no one but its child. The server's log goes through it: a server whose log has
//! no reader dies of its first line, before it has stopped well.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

/// For a graceful stop of the server, before it is killed.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Added to a signal's number where a signal ended the server, as shells do.
const SIGNAL_BASE: u8 = 128;

/// Runs `program` until it ends or our stdin does; the first line on stdout is its process id. Gives its exit code.
///
/// # Errors
///
/// What the system says when the program cannot be run.
pub(crate) fn run(program: &Path, arguments: &[OsString]) -> io::Result<u8> {
    // whoever stops a whole group of processes means us least: we go when our child has gone
    let mut blocked = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        blocked.add(signal);
    }
    blocked.thread_block()?;
    let mut child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed());
    // who is gone already is noticed below
    let _told = writeln!(io::stdout(), "{pid}").and_then(|()| io::stdout().flush());
    std::thread::spawn(move || end_with_parent(pid));
    forward_log(&mut child);
    child.wait().map(exit_code)
}

/// Waits until the other end of our stdin is closed, and ends the server.
fn end_with_parent(pid: Pid) {
    let mut ignored = [0; 64];
    loop {
        match io::stdin().read(&mut ignored) {
            Ok(0) => break,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
            Ok(_) | Err(_) => {}
        }
    }
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        // gone already is as good
        let _gone = kill(pid, signal);
        std::thread::sleep(STOP_TIMEOUT);
    }
}

/// Passes the server's log on until the server closes it, whether anybody reads it or not.
fn forward_log(child: &mut Child) {
    let Some(mut log) = child.stderr.take() else { return };
    let mut buffer = [0; 4096];
    loop {
        match log.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => {
                let _nobody_reads = io::stderr().write_all(buffer.get(..read).unwrap_or_default());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.unwrap_or_else(|| SIGNAL_BASE.saturating_add(status.signal().and_then(|signal| u8::try_from(signal).ok()).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_how_the_child_ended() {
        for (raw, want) in [(0, 0), (7 << 8, 7), (9, 137), (15, 143)] {
            assert_eq!(exit_code(ExitStatus::from_raw(raw)), want);
        }
    }
}
