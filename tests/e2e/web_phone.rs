//! Phones in a browser, with the SIP libraries that such are built of, as they are published.

use std::path::Path;
use std::process::Command;

use crate::common::{Nats, wait_for};
use crate::harness::{Program, Service, Setup, root};

/// `tests/web/phone.mjs` in a folder of its own with the packages of `tools/node`; nothing where they are not there, never in CI.
fn phone(nats: &Nats, library: &str, server: &str, presentity: &str) -> Option<Program> {
    let packages = root(".tools/node/node_modules");
    if !Path::new(&packages).join(library).is_dir() {
        assert!(std::env::var_os("CI").is_none(), "run `make tools`");
        eprintln!("skipped: the packages of tools/node are not there, run `make tools`");
        return None;
    }
    let folder = nats.dir().join(library);
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&packages, folder.join("node_modules")).unwrap();
    std::fs::copy(root("tests/web/phone.mjs"), folder.join("phone.mjs")).unwrap();
    let mut command = Command::new("node");
    command.args(["phone.mjs", library, server, presentity]).current_dir(&folder);
    Some(Program::start(nats, command))
}

fn shows(phone: &Program, wanted: &[&str]) {
    for line in wanted {
        assert_eq!(phone.line(), *line);
    }
}

/// ```text
/// JsSIP, SIP.js ──ws:──▶ edge      subscribe, a service sets, press, refresh, press, unsubscribe
/// ```
#[test]
fn jssip_and_sip_js_subscribe_press_refresh_and_leave() {
    const OFF: [&str; 4] = ["DoNotDisturb false", "forwardImmediate false", "forwardBusy false", "forwardNoAns false"];
    let nats = Nats::start();
    let product = Setup::on(&nats).with("sip.listen", vec!["udp:127.0.0.1:0", "tcp:127.0.0.1:0", "ws:127.0.0.1:0"]).start();
    let service = Service::on(&nats);
    let server = format!("ws://{}", product.at("ws"));
    let subscriptions = || product.metric("dfks_edge_subscriptions{state=\"active\"}");
    for library in ["jssip", "sip.js"] {
        let presentity = format!("sip:{library}@127.0.0.1");
        let Some(mut phone) = phone(&nats, library, &server, &presentity) else { return };
        phone.tell("subscribe");
        shows(&phone, &OFF);
        assert_eq!(subscriptions(), Some(1.0), "{library}");
        assert_eq!(service.set(&presentity, "DoNotDisturb", 1)["watchers"], 1);
        shows(&phone, &["DoNotDisturb true"]);
        phone.tell("press off");
        shows(&phone, &["DoNotDisturb false"]);
        phone.tell("press on");
        shows(&phone, &["DoNotDisturb true"]);
        assert_eq!(service.state(&presentity, "DoNotDisturb")["status"], 1, "{library}");
        phone.tell("refresh");
        shows(&phone, &["DoNotDisturb true"]);
        shows(&phone, &OFF[1..]);
        phone.tell("unsubscribe");
        wait_for("its end", || phone.line().starts_with("ended").then_some(()));
        wait_for("no subscription", || (subscriptions() == Some(0.0)).then_some(()));
    }
}
