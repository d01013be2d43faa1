//! The commands on a terminal: a pseudo-terminal whose other end the test holds.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::Pid;

use crate::common;
use crate::harness::{self, ALICE, dfks_in};
use crate::run::Running;

/// Written to a terminal after its command has ended.
const END: &str = "\u{4}end\u{4}";

/// A command on a terminal. Killed when dropped.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
    /// The command's end, to see its settings.
    device: File,
    before: Termios,
}

impl Terminal {
    fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut command = harness::command(args);
        command.env("TERM", "xterm").env_remove("NO_COLOR").envs(env.iter().copied()).stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().unwrap();
        drop(command);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, written) = (File::from(pty.master.try_clone().unwrap()), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                written.lock().unwrap().extend(buffer.iter().take(length));
            }
        });
        Self { child, keyboard: pty.master.into(), screen, device: pty.slave.into(), before }
    }

    fn all(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    /// What was drawn last, without its colours.
    fn picture(&self) -> String {
        let all = self.all();
        let last = all.rsplit("\x1b[J").next().unwrap_or_default();
        let mut parts = last.split("\x1b[");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| text + part.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest))
    }

    /// Waits until the picture has this.
    fn shows(&self, text: &str) {
        common::wait_for(&format!("'{text}'"), || self.picture().contains(text).then_some(()));
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn settings(&self) -> Termios {
        tcgetattr(self.device.as_fd()).unwrap()
    }

    fn is_raw(&self) -> bool {
        !self.settings().local_flags.contains(LocalFlags::ICANON)
    }

    /// Its exit code; the terminal is as it was before, and its cursor is there.
    fn ended(mut self) -> (Option<i32>, String) {
        let status = common::wait_for("the end of the command", || self.child.try_wait().unwrap());
        assert_eq!(self.settings(), self.before, "the terminal is not as it was");
        // What the command wrote is on the screen once that is which comes after it.
        self.device.write_all(END.as_bytes()).unwrap();
        let all = common::wait_for("all that it wrote", || Some(self.all().strip_suffix(END)?.to_owned()));
        assert!(all.rfind("\x1b[?25h") >= all.rfind("\x1b[?25l"), "the cursor is not there: {all:?}");
        (status.code(), all)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// A system, and a phone on a terminal there.
fn phone(env: &[(&str, &str)], more: &[&str]) -> (common::Nats, Running, Terminal) {
    let nats = common::Nats::start();
    let mut system = Running::start(&[("DFKS__NATS__URL", &nats.url())], &[]);
    let udp = system.sip("udp");
    let phone = Terminal::start(&[&["phone", ALICE, "--server", &udp], more].concat(), env);
    phone.shows("a ○ CallForwardingAlways    off");
    phone.shows("n ○ CallForwardingNoAnswer  off");
    (nats, system, phone)
}

#[test]
fn keys_press_the_keys_of_a_phone_and_its_lamps_show_it() {
    let (nats, _system, mut phone) = phone(&[], &[]);
    let url = nats.url();
    let client = |args: &[&str]| dfks_in(args, &[("NATS_URL", &url)]);
    phone.shows("d ○ DoNotDisturb            off");
    assert!(phone.is_raw());
    assert!(phone.all().contains("\x1b[?25l"), "the cursor is hidden");
    phone.types("d");
    phone.shows("d ● DoNotDisturb            on ");
    assert!(client(&["get", ALICE, "DoNotDisturb"]).out.contains("DoNotDisturb            on  (version 1"));
    phone.types("d");
    phone.shows("d ○ DoNotDisturb            off");
    // a forward asks where to
    phone.types("a");
    phone.shows("CallForwardingAlways to: _");
    phone.types("bobb\x7f\r");
    phone.shows("a ● CallForwardingAlways    on   forwardTo=sip:bob@127.0.0.1");
    phone.types("a");
    phone.shows("a ○ CallForwardingAlways    off");
    // it knows where to by now
    phone.types("a");
    phone.shows("a ● CallForwardingAlways    on   forwardTo=sip:bob@127.0.0.1");
    // someone else's change
    let set = client(&["set", ALICE, "CallForwardingNoAnswer", "on", "--value", "ringCount=4", "--value", "forwardTo=sip:carol@h"]);
    assert_eq!(set.code, 0, "{}", set.err);
    phone.shows("n ● CallForwardingNoAnswer  on   forwardTo=sip:carol@h ringCount=4");
    assert!(phone.all().contains("\x1b[32m"), "lamps have colours");
    phone.types("q");
    let (code, all) = phone.ended();
    assert_eq!(code, Some(0), "{all}");
    assert!(all.contains("not subscribed"), "{all}");
    assert_eq!(client(&["watchers", ALICE]).out.lines().count(), 1, "nobody watches any more");
}

#[test]
fn ctrl_c_and_a_signal_leave_the_terminal_as_it_was() {
    let (_nats, mut system, mut first) = phone(&[("NO_COLOR", "1")], &["--forward-to", "bob"]);
    first.types("b");
    first.shows("b ● CallForwardingBusy      on   forwardTo=sip:bob@127.0.0.1");
    let second = Terminal::start(&["phone", ALICE, "--server", &system.sip("udp")], &[]);
    second.shows("b ● CallForwardingBusy      on ");
    first.types("\x03");
    let (code, all) = first.ended();
    assert_eq!(code, Some(0), "{all}");
    assert!(!all.contains("\x1b[32m") && !all.contains("\x1b[1m"), "no colours: {all:?}");
    kill(Pid::from_raw(second.child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let (code, all) = second.ended();
    assert_eq!(code, Some(0), "{all}");
}

#[test]
fn a_phone_that_nobody_answers_gives_the_terminal_back() {
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let phone = Terminal::start(&["phone", ALICE, "--server", &nobody], &[]);
    let (code, all) = phone.ended();
    assert_eq!(code, Some(69), "{all}");
    assert!(all.contains("dfks: "), "{all}");
}

#[test]
fn events_have_colours_on_a_terminal_that_wants_them() {
    let nats = common::Nats::start();
    let url = nats.url();
    let mut system = Running::start(&[("DFKS__NATS__URL", &url)], &[]);
    system.at("  NATS");
    for (env, is_coloured) in [(&[][..], true), (&[("NO_COLOR", "1")], false), (&[("TERM", "dumb")], false)] {
        let args = ["events", "--nats", &url, "--count", "1", "--presentity", ALICE, "--feature", "donotdisturb"];
        let mut events = Terminal::start(&args, env);
        // until the follower is there
        common::wait_for("an event", || {
            dfks_in(&["set", ALICE, "CallForwardingBusy", "off"], &[("NATS_URL", &url)]);
            dfks_in(&["set", ALICE, "DoNotDisturb", "on"], &[("NATS_URL", &url)]);
            events.child.try_wait().unwrap()
        });
        let (code, all) = events.ended();
        assert_eq!(code, Some(0), "{all}");
        assert!(all.contains("DoNotDisturb") && !all.contains("CallForwardingBusy"), "{all}");
        assert_eq!(all.contains("\x1b["), is_coloured, "{env:?}: {all:?}");
    }
}

#[test]
fn a_long_wait_is_told_on_a_terminal_and_taken_away() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("nats://{free}");
    let waiting = Terminal::start(&["get", ALICE, "--nats", &url], &[]);
    let (code, all) = waiting.ended();
    assert_eq!(code, Some(69));
    assert!(all.contains(&format!("connecting to {url} …\r\x1b[Kdfks: no NATS server answered at {url}")), "{all:?}");
}
