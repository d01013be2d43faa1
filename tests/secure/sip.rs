//! `dfks sip`: the last messages of each subscription, over every transport, without credentials, until the edge stops.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Authority, Phone, Relay, Service, Setup, dfks_with, set_dnd, started};

/// The start lines that `dfks sip` shows, once there are so many.
fn shown(nats: &Nats, id: &str, count: usize) -> Vec<Value> {
    wait_for("the messages", || {
        let done = dfks_with(nats, &["sip", id, "--json"]);
        let messages: Vec<Value> = done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (messages.len() >= count).then_some(messages)
    })
}

fn starts(messages: &[Value]) -> Vec<String> {
    let start = |message: &Value| {
        let words: Vec<_> = message["text"].as_str().unwrap().lines().next().unwrap().split(' ').take(2).map(str::to_owned).collect();
        let word = if words[0] == "SIP/2.0" { &words[1] } else { &words[0] };
        format!("{} {word}", message["direction"].as_str().unwrap())
    };
    messages.iter().map(start).collect()
}

/// The methods that tshark finds in a capture file, with what it finds wrong; `None` where it is not installed.
fn tshark(file: &Path) -> Option<(Vec<String>, String)> {
    let read = |more: &[&str]| Command::new("tshark").arg("-n").arg("-r").arg(file).args(more).output().ok();
    let seen = String::from_utf8(read(&["-Y", "sip", "-T", "fields", "-e", "sip.CSeq.method"])?.stdout).unwrap();
    let faults = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"];
    let wrong = read(&[&faults[..], &["-Y", "_ws.expert.severity == error || _ws.malformed || ip.checksum.status == 0 || udp.checksum.status == 0 || tcp.checksum.status == 0"]].concat())?;
    Some((seen.lines().map(str::to_owned).collect(), String::from_utf8(wrong.stdout).unwrap()))
}

/// ```text
/// phone ──SUBSCRIBE, NOTIFY, key──▶ edge over UDP, TCP, TLS, WSS          dfks sip ──dfks.sip──▶ that edge: the SIP inside
/// ```
#[test]
fn the_messages_of_a_subscription_are_shown_over_every_transport() {
    let (nats, authority, folder) = (Nats::start(), Authority::new(), TempDir::new().unwrap());
    let (certificate, key) = authority.write(folder.path());
    let product = Setup::on(&nats)
        .with("sip.listen", vec!["udp:127.0.0.1:0", "tcp:127.0.0.1:0", "tls:127.0.0.1:0", "wss:127.0.0.1:0"])
        .with("sip.tls.certificate", certificate.to_str().unwrap())
        .with("sip.tls.key", key.to_str().unwrap())
        .with("sip.threads", 2)
        .start();
    for (transport, token) in [("udp", ""), ("tcp", ""), ("tls", "TLS"), ("wss", "WSS")] {
        let relay = (!token.is_empty()).then(|| Relay::start(transport, product.at(transport), &authority));
        let phone = match (transport, &relay) {
            ("udp", _) => Phone::udp(product.udp()),
            (_, Some(relay)) => Phone::over(token, relay.address()),
            _ => Phone::tcp(product.tcp()),
        };
        let mut dialog = phone.subscribe(ALICE);
        dialog.notify();
        let id = dialog.subscription();
        let messages = shown(&nats, &id, 4);
        assert_eq!(starts(&messages)[..4], ["in SUBSCRIBE", "out 200", "out NOTIFY", "in 200"], "{transport}");
        dialog.press(set_dnd(true));
        dialog.until("DoNotDisturb on");
        let messages = wait_for("the key", || {
            let messages = shown(&nats, &id, 8);
            let starts = starts(&messages);
            let is_pressed = starts.iter().filter(|start| *start == "in SUBSCRIBE").count() == 2;
            (is_pressed && starts.ends_with(&["out NOTIFY".to_owned(), "in 200".to_owned()])).then_some(messages)
        });
        for message in &messages {
            assert_eq!((&message["transport"], &message["latin1"]), (&json!(transport), &Value::Null), "{message}");
            assert_eq!(message["local"], product.at(transport).to_string());
            let text = message["text"].as_str().unwrap();
            assert!(text.contains(&dialog.call_id) && text.contains("\r\n\r\n"), "{text}");
        }
        assert!(messages.iter().any(|message| message["text"].as_str().unwrap().contains("<doNotDisturbOn>")), "with their bodies");

        let text = dfks_with(&nats, &["sip", &id]).ok();
        assert!(text.contains(&format!(" {transport}\n  SUBSCRIBE ")) && text.contains(" -> "), "{text}");
        let file = folder.path().join(format!("{transport}.pcap"));
        assert_eq!(dfks_with(&nats, &["sip", &id, "--pcap", file.to_str().unwrap()]).ok(), "");
        if let Some((methods, wrong)) = tshark(&file) {
            let want: Vec<_> = messages
                .iter()
                .map(|message| if message["text"].as_str().unwrap().contains(" NOTIFY\r\n") { "NOTIFY" } else { "SUBSCRIBE" })
                .collect();
            assert!(methods.len() >= want.len() && methods[..want.len()] == want, "{transport}: {methods:?}, {want:?}");
            assert_eq!(wrong, "", "{transport}");
        }
        dialog.unsubscribe();
        // until it is pushed out, also of one that ended
        assert!(starts(&shown(&nats, &id, 10)).len() >= 10, "{transport}");
    }
    let nobody = dfks_with(&nats, &["sip", "0c7d4bd54b5f90fb3d3b5eb9"]);
    assert_eq!((nobody.code, nobody.out.as_str()), (1, ""));
    assert!(nobody.err.contains("no edge has messages of subscription 0c7d4bd54b5f90fb3d3b5eb9"), "{}", nobody.err);
    let odd = dfks_with(&nats, &["sip", "Alice"]);
    assert!(odd.code == 1 && odd.err.contains("a subscription id is 24 hexadecimal digits"), "{}", odd.err);
}

#[test]
fn only_the_last_are_kept_and_none_over_a_restart() {
    let nats = Nats::start();
    let mut product = Setup::on(&nats).with("http.sip_ring_messages", 3).with("http.sip_ring_bytes", 30_000).start();
    let phone = Phone::udp(product.udp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    let id = dialog.subscription();
    for on in [true, false, true] {
        dialog.press(set_dnd(on));
        dialog.until(if on { "DoNotDisturb on" } else { "DoNotDisturb off" });
    }
    let messages = shown(&nats, &id, 3);
    assert_eq!(messages.len(), 3, "{:?}", starts(&messages));
    // others push it out
    for number in 0..40 {
        phone.subscribe(&format!("sip:other{number}@127.0.0.1")).notify();
    }
    wait_for("it to be pushed out", || (dfks_with(&nats, &["sip", &id]).code == 1).then_some(()));
    let last = phone.subscribe("sip:last@127.0.0.1").subscription();
    shown(&nats, &last, 2);
    product.stop();
    product.restart();
    let gone = dfks_with(&nats, &["sip", &last]);
    assert!(gone.code == 1 && gone.err.contains("no edge has messages"), "{gone:?}");

    let off = Setup::on(&nats).with("sip.edge_id", "edge-b").with("http.sip_ring_messages", 0).start();
    let phone = Phone::udp(off.udp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    assert_eq!(dfks_with(&nats, &["sip", &dialog.subscription()]).code, 1, "none is kept");
}

#[test]
fn no_credential_is_kept() {
    let (nats, folder) = (Nats::start(), TempDir::new().unwrap());
    let (users, password) = (folder.path().join("users"), folder.path().join("password"));
    std::fs::write(&users, "alice:127.0.0.1:80d57b51733ed8b7055e8775bfc609c2\n").unwrap();
    std::fs::write(&password, "s3cret-word\n").unwrap();
    let product = Setup::on(&nats).with("sip.auth.mode", "digest").with("sip.auth.users", users.to_str().unwrap()).start();
    let (server, file) = (product.udp().to_string(), password.to_str().unwrap().to_owned());
    let arguments = ["phone", "sip:alice@127.0.0.1", "--server", &server, "--user", "alice", "--password-file", &file];
    let _phone = started(&[&arguments[..], &["--press", "DoNotDisturb=on", "--for", "60"]].concat());
    let service = Service::on(&nats);
    let id = wait_for("its subscription", || {
        let watchers = service.ask("dfks.watchers", &json!({}));
        watchers["watchers"][0]["subscription"].as_str().map(str::to_owned)
    });
    let messages = shown(&nats, &id, 6);
    let requests: Vec<_> =
        messages.iter().map(|message| message["text"].as_str().unwrap()).filter(|text| text.starts_with("SUBSCRIBE")).collect();
    assert!(requests.iter().any(|text| text.contains("\r\nAuthorization: ****** ")), "{requests:?}");
    for message in &messages {
        let text = message["text"].as_str().unwrap();
        for secret in ["nonce", "cnonce", "response=", "Digest"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}
