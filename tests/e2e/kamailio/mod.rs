//! A real proxy beside dfks: Kamailio with the configuration of `examples/kamailio`. sipp makes the calls.
//!
//! ```text
//! sipp ──INVITE──▶ Kamailio ──GET /v1/features──▶ dfks          phone ⇄ SUBSCRIBE, NOTIFY ⇄ Kamailio ⇄ edge
//!                      └──INVITE──▶ callee: answers, is busy, rings
//! ```

mod callee;
mod front;
mod proxy;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::ALICE;
use crate::common::Nats;
use crate::harness::{Authority, Product, Running, Setup, dfks_with, root, started};
use callee::{Callee, Manner};
use proxy::Kamailio;

/// How a call ends for whoever makes it.
const ANSWERED: u16 = 200;
const ALWAYS: &str = "CallForwardingAlways";
const BUSY: &str = "CallForwardingBusy";
const NO_ANSWER: &str = "CallForwardingNoAnswer";

/// dfks, and Kamailio before it.
struct House {
    kamailio: Kamailio,
    product: Product,
    nats: Nats,
    authority: Authority,
}

impl House {
    /// With the proxy that routes calls. Nothing, where Kamailio or sipp is not installed. `defines`: settings of the configuration.
    fn open(defines: &[&str]) -> Option<Self> {
        Self::with("kamailio.cfg", defines)
    }

    fn with(file: &str, defines: &[&str]) -> Option<Self> {
        Self::beside(file, defines, |setup| setup)
    }

    /// `configured`: what dfks has beside the rest.
    fn beside(file: &str, defines: &[&str], configured: impl FnOnce(Setup) -> Setup) -> Option<Self> {
        let program = proxy::program()?;
        if Command::new("sipp").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            eprintln!("skipped: sipp is not there (Debian: sip-tester)");
            return None;
        }
        let nats = Nats::start();
        let product = configured(Setup::on(&nats).with("mi.http", "127.0.0.1:0")).start();
        let authority = Authority::new();
        let kamailio = Kamailio::start(&program, file, &product, &authority, defines);
        Some(Self { kamailio, product, nats, authority })
    }

    fn callee(&self, user: &str, manner: Manner) -> Callee {
        Callee::register(user, self.kamailio.address, manner)
    }

    /// Sets a feature of a user, with its target.
    fn set(&self, user: &str, feature: &str, values: &[&str]) {
        let presentity = format!("sip:{user}@127.0.0.1");
        let mut args = vec!["set", presentity.as_str(), feature, "on"];
        args.extend(values.iter().flat_map(|value| ["--value", value]));
        dfks_with(&self.nats, &args).ok();
    }

    fn clear(&self, user: &str, feature: &str) {
        dfks_with(&self.nats, &["set", &format!("sip:{user}@127.0.0.1"), feature, "off"]).ok();
    }

    /// Starts a call of sipp that wants this end.
    fn calling(&self, user: &str, end: u16) -> Call {
        let dir = tempfile::tempdir().unwrap();
        let name = if end == ANSWERED { "answered" } else { "rejected" };
        let scenario = std::fs::read_to_string(root(&format!("tests/e2e/sipp/{name}.xml"))).unwrap();
        let scenario = scenario.replace("<recv response=\"486\"/>", &format!("<recv response=\"{end}\"/>"));
        std::fs::write(dir.path().join("call.xml"), scenario).unwrap();
        let mut command = Command::new("sipp");
        command.arg(self.kamailio.address.to_string()).args(["-sf", "call.xml", "-s", user, "-i", "127.0.0.1", "-t", "u1", "-m", "1"]);
        command.args(["-timeout", "40", "-timeout_error", "-nostdin", "-trace_err", "-error_file", "errors.log"]);
        command.current_dir(dir.path()).env("TERM", "dumb").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Call { child: command.spawn().unwrap(), dir, started_at: Instant::now() }
    }

    /// Makes a call that ends so, and says how long it took.
    fn call(&self, user: &str, end: u16) -> Duration {
        self.calling(user, end).ends()
    }

    /// A phone of alice over this transport, at the proxy.
    fn phone(&self, transport: &str, more: &[&str]) -> Running {
        let address = if transport == "tls" { self.kamailio.tls } else { self.kamailio.address }.to_string();
        let ca = self.product.dir().join("ca.pem");
        std::fs::write(&ca, self.authority.pem()).unwrap();
        let mut args = vec!["phone", ALICE, "--server", &address, "--transport", transport];
        if transport == "tls" {
            args.extend(["--ca", path(&ca)]);
        }
        started(&[&args, more].concat())
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A call that goes on.
struct Call {
    child: Child,
    dir: tempfile::TempDir,
    started_at: Instant,
}

impl Call {
    /// Waits for the end that was wanted, and says how long it took.
    fn ends(mut self) -> Duration {
        let status = self.child.wait().unwrap();
        let errors = std::fs::read_to_string(self.dir.path().join("errors.log")).unwrap_or_default();
        assert_eq!(status.code(), Some(0), "{errors}");
        self.started_at.elapsed()
    }
}

#[test]
fn a_call_does_what_the_key_says() {
    let Some(house) = House::open(&[]) else { return };
    let alice = house.callee("alice", Manner::Answers);
    house.call("alice", ANSWERED);
    alice.called();

    // the key of a phone behind the proxy, and a lamp on another
    let lamp = house.phone("udp", &[]);
    lamp.until("CallForwardingNoAnswer");
    let key = house.phone("tcp", &["--press", "DoNotDisturb=on"]);
    key.until("DoNotDisturb=on confirmed");
    lamp.until("DoNotDisturb            on");
    house.call("alice", 486);
    house.call("alice", 486);
    assert!(alice.is_quiet(), "no call reaches a phone that does not want to be disturbed");
    assert_eq!(key.ended().0, 0);

    house.clear("alice", "DoNotDisturb");
    lamp.until("DoNotDisturb            off");
    house.call("alice", ANSWERED);
    alice.called();
    // a user without a phone, and one of another domain
    house.call("nobody", 480);
}

#[test]
fn forwards_lead_where_they_say() {
    let Some(house) = House::open(&[]) else { return };
    let (alice, bob) = (house.callee("alice", Manner::Answers), house.callee("bob", Manner::Answers));

    house.set("alice", ALWAYS, &["forwardTo=bob"]);
    house.call("alice", ANSWERED);
    bob.called();
    house.set("alice", ALWAYS, &["forwardTo=sip:bob@127.0.0.1"]);
    house.call("alice", ANSWERED);
    assert_eq!(bob.called().must("diversion"), "<sip:alice@127.0.0.1>;reason=unconditional;counter=1");
    // before Do Not Disturb
    house.set("alice", "DoNotDisturb", &[]);
    house.call("alice", ANSWERED);
    bob.called();
    house.clear("alice", ALWAYS);
    house.call("alice", 486);
    assert!(alice.is_quiet() && bob.is_quiet());

    // whoever is not to be disturbed is busy
    house.set("alice", BUSY, &["forwardTo=sip:bob@127.0.0.1"]);
    house.call("alice", ANSWERED);
    bob.called();
    house.clear("alice", "DoNotDisturb");
    house.call("alice", ANSWERED);
    alice.called();
    alice.now(Manner::IsBusy);
    house.call("alice", ANSWERED);
    alice.called();
    assert!(bob.called().must("diversion").contains("user-busy"));
    house.clear("alice", BUSY);
    house.call("alice", 486);
    alice.called();

    // a ring is six seconds
    house.set("alice", NO_ANSWER, &["forwardTo=sip:bob@127.0.0.1", "ringCount=1"]);
    alice.now(Manner::Rings);
    let took = house.call("alice", ANSWERED);
    assert!((5.5..8.0).contains(&took.as_secs_f64()), "one ring took {took:?}");
    alice.called();
    assert!(bob.called().must("diversion").contains("no-answer"));
    house.set("alice", NO_ANSWER, &["forwardTo=sip:bob@127.0.0.1", "ringCount=0"]);
    house.call("alice", ANSWERED);
    bob.called();
    assert!(alice.is_quiet(), "no ring at all");
}

#[test]
fn what_is_changed_while_it_rings_counts() {
    let Some(house) = House::open(&["RING_SECONDS=1", "RING_LIMIT_SECONDS=3"]) else { return };
    let (alice, bob) = (house.callee("alice", Manner::Rings), house.callee("bob", Manner::Answers));
    let carol = house.callee("carol", Manner::Answers);

    house.set("alice", NO_ANSWER, &["forwardTo=sip:bob@127.0.0.1", "ringCount=3"]);
    let call = house.calling("alice", ANSWERED);
    alice.called();
    house.set("alice", NO_ANSWER, &["forwardTo=sip:carol@127.0.0.1"]);
    call.ends();
    carol.called();

    let call = house.calling("alice", 480);
    alice.called();
    house.clear("alice", NO_ANSWER);
    call.ends();

    // rings until the limit: nothing was set when it began
    let call = house.calling("alice", 486);
    alice.called();
    house.set("alice", "DoNotDisturb", &[]);
    call.ends();
    house.clear("alice", "DoNotDisturb");
    let call = house.calling("alice", ANSWERED);
    alice.called();
    house.set("alice", NO_ANSWER, &["forwardTo=sip:carol@127.0.0.1"]);
    call.ends();
    carol.called();
    assert!(bob.is_quiet());
}

#[test]
fn forwards_go_on_in_turn_but_not_for_ever() {
    let Some(house) = House::open(&[]) else { return };
    let carol = house.callee("carol", Manner::Answers);
    house.set("alice", ALWAYS, &["forwardTo=sip:bob@127.0.0.1"]);
    house.set("bob", BUSY, &["forwardTo=sip:carol@127.0.0.1"]);
    house.set("bob", "DoNotDisturb", &[]);
    house.call("alice", ANSWERED);
    let diversions = carol.called().headers.iter().filter(|(name, _)| name == "diversion").count();
    assert_eq!(diversions, 2, "each forward is named");

    house.set("bob", ALWAYS, &["forwardTo=sip:alice@127.0.0.1"]);
    let took = house.call("alice", 482);
    assert!(took < Duration::from_secs(3), "{took:?}");
    house.set("alice", ALWAYS, &["forwardTo=sip:alice@127.0.0.1"]);
    house.call("alice", 482);
    // text that is no address: the phone rings as if it were off
    house.set("carol", ALWAYS, &["forwardTo=the desk of bob"]);
    house.call("carol", ANSWERED);
    carol.called();
}

#[test]
fn calls_go_through_while_dfks_is_away() {
    let Some(mut house) = House::open(&[]) else { return };
    let alice = house.callee("alice", Manner::Answers);
    house.set("alice", "DoNotDisturb", &[]);
    house.call("alice", 486);

    // it stands still: one call waits for it, those after that do not
    house.product.pause();
    let took = house.call("alice", ANSWERED);
    alice.called();
    assert!(took < Duration::from_secs(3), "{took:?}");
    let took = house.call("alice", ANSWERED);
    alice.called();
    assert!(took < Duration::from_millis(900), "{took:?}");
    house.product.resume();
    std::thread::sleep(Duration::from_secs(6));
    house.call("alice", 486);

    house.product.kill();
    let took = house.call("alice", ANSWERED);
    alice.called();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn phones_over_tls_press_and_see_their_keys() {
    let Some(house) = House::open(&[]) else { return };
    let alice = house.callee("alice", Manner::Answers);
    let lamp = house.phone("tls", &[]);
    // over a stream the full state is one NOTIFY
    let shown = lamp.until("CallForwardingNoAnswer").join("\n");
    assert_eq!(shown.matches("NOTIFY").count(), 1, "{shown}");
    let key = house.phone("tls", &["--press", "DoNotDisturb=on"]);
    key.until("DoNotDisturb=on confirmed");
    lamp.until("DoNotDisturb            on");
    house.call("alice", 486);
    assert_eq!(key.ended().0, 0);
    let said = dfks_with(&house.nats, &["watchers", ALICE]).ok();
    assert!(said.contains("1 watcher"), "{said}");
    house.clear("alice", "DoNotDisturb");
    lamp.until("DoNotDisturb            off");
    house.call("alice", ANSWERED);
    alice.called();
    let (code, lines) = lamp.stop();
    assert_eq!(code, 0, "{lines:?}");
}

#[test]
fn a_feature_code_lights_the_lamp() {
    let Some(house) = House::open(&[]) else { return };
    let dave = house.callee("dave", Manner::Answers);
    let address = house.kamailio.address.to_string();
    let lamp = started(&["phone", "sip:dave@127.0.0.1", "--server", &address]);
    lamp.until("CallForwardingNoAnswer");
    // sipp calls as dave
    house.call("*78", 480);
    lamp.until("DoNotDisturb            on");
    house.call("dave", 486);
    house.call("*79", 480);
    lamp.until("DoNotDisturb            off");
    house.call("*722001", 480);
    lamp.until("CallForwardingAlways    on   forwardTo=2001");
    house.call("*73", 480);
    lamp.until("CallForwardingAlways    off");
    house.call("*72", 484);
    house.call("dave", ANSWERED);
    dave.called();
}

#[test]
fn a_proxy_that_asks_for_passwords_lets_users_at_their_own_keys() {
    let users = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(users.path().join(name), text).unwrap();
    write("subscriber", "username(string) domain(string) password(string)\nalice:127.0.0.1:secret\nbob:127.0.0.1:other\n");
    write("version", "table_name(string) table_version(int)\nsubscriber:7\n");
    write("alice", "secret\n");
    write("bob", "other\n");
    let defines = ["WITH_AUTH", &format!("USERS=\"text://{}\"", path(users.path()))];
    let trusts = |setup: Setup| setup.with("sip.auth.mode", "trusted").with("sip.auth.trusted", vec!["127.0.0.1/32"]);
    let Some(house) = House::beside("kamailio.cfg", &defines, trusts) else { return };
    let password = |user: &str| path(&users.path().join(user)).to_owned();

    let key = house.phone("udp", &["--user", "alice", "--password-file", &password("alice"), "--press", "DoNotDisturb=on"]);
    key.until("DoNotDisturb=on confirmed");
    let (code, lines) = key.ended();
    assert_eq!(code, 0, "{lines:?}");
    for (user, file) in [("alice", "bob"), ("bob", "bob")] {
        let (code, lines) = house.phone("udp", &["--user", user, "--password-file", &password(file), "--for", "5"]).ended();
        assert_ne!(code, 0, "{user} with the password of {file}: {lines:?}");
    }
    house.call("alice", 407);
}
