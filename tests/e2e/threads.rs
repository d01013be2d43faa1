//! An edge of several notifier threads behind the same addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Nats, wait_for};
use crate::harness::{Packet, Phone, Product, Service, Setup, set_dnd};
use crate::{ALICE, ALL_OFF};

const ACTIVE: &str = "dfks_edge_subscriptions{state=\"active\"}";
const DELIVERED: &str = "dfks_notify_sent_total{transport=\"udp\",outcome=\"delivered\"}";
/// For a take-over on a machine that does a lot else.
const PATIENCE: Duration = Duration::from_secs(40);
const PHONES: usize = 12;

/// An edge of three threads with everything else in its process.
fn three(nats: &Nats) -> Product {
    Setup::on(nats).with("sip.threads", 3).with("sip.takeover_seconds", 3).start()
}

/// Who holds each subscription, as the edges themselves say.
fn holders(service: &Service) -> BTreeMap<String, String> {
    let answers = service.wiretap(&["test.watchers"]);
    service.ask_all("dfks.watchers", "test.watchers", &json!({}));
    let of_three = || {
        let all = answers.all();
        let edges: BTreeSet<_> =
            all.iter().filter(|taken| taken.json["more"] == false).map(|taken| taken.json["edge_id"].to_string()).collect();
        (edges.len() == 3).then_some(all)
    };
    let mut holders = BTreeMap::new();
    for taken in wait_for("each thread to answer", of_three) {
        for watcher in taken.json["watchers"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            holders.insert(text(&watcher["subscription"]), text(&taken.json["edge_id"]));
        }
    }
    holders
}

/// Phones, each at a port of its own, are divided between the threads; whoever has them, they are served alike, also after a restart.
#[test]
fn phones_are_divided_between_the_threads_and_served_alike() {
    let nats = Nats::start();
    let mut product = three(&nats);
    let service = Service::on(&nats);
    let phones: Vec<Phone> = (0..PHONES).map(|_| Phone::udp(product.udp())).collect();
    let mut dialogs: Vec<_> = phones.iter().map(|phone| phone.subscribe(ALICE)).collect();
    for dialog in &mut dialogs {
        assert_eq!(dialog.shows(4), ALL_OFF);
    }
    let edges: BTreeSet<String> = holders(&service).into_values().collect();
    assert!(edges.len() > 1 && edges.iter().all(|edge| ["edge-a", "edge-a.2", "edge-a.3"].contains(&edge.as_str())), "{edges:?}");
    assert_eq!(product.metric(ACTIVE), Some(12.0), "summed");

    // a key on one phone, and a command, reach those of all threads once
    dialogs[0].refresh();
    assert_eq!(dialogs[0].shows(4), ALL_OFF);
    dialogs[0].press(set_dnd(true));
    for dialog in &mut dialogs {
        assert_eq!(dialog.notify().shows(), ["DoNotDisturb on"]);
    }
    assert_eq!(service.set(ALICE, "DoNotDisturb", 0)["watchers"], 12);
    for dialog in &mut dialogs {
        assert_eq!(dialog.notify().shows(), ["DoNotDisturb off"]);
    }

    product.kill();
    product.restart();
    assert_eq!(product.metric(ACTIVE), Some(12.0), "each thread has its own again");
    let before: Vec<u32> = dialogs.iter().map(crate::harness::Dialog::last_cseq).collect();
    assert_eq!(service.set(ALICE, "CallForwardingBusy", 1)["watchers"], 12);
    for (dialog, before) in dialogs.iter_mut().zip(before) {
        let notify = dialog.until("CallForwardingBusy on");
        assert!(notify.cseq() > before, "{} after {before}", notify.cseq());
    }
    for dialog in &mut dialogs {
        dialog.unsubscribe();
    }
    wait_for("none to be left", || product.metric(ACTIVE).filter(|active| *active == 0.0));
    product.stop();
}

/// A phone whose NAT gives it another port may come to another thread: its subscription moves there, as between edges.
#[test]
fn a_dialog_that_comes_to_another_thread_moves() {
    let nats = Nats::start();
    let product = three(&nats);
    let service = Service::on(&nats);
    let home = Phone::udp(product.udp());
    let mut dialog = home.subscribe(ALICE);
    assert_eq!(dialog.shows(4), ALL_OFF);
    let id = dialog.subscription();
    let first = holders(&service)[&id].clone();
    let elsewhere: Vec<Phone> = (0..16).map(|_| Phone::udp(product.udp())).collect();
    let mut last = dialog.last_cseq();
    for phone in &elsewhere {
        let mut moved = dialog.at(phone);
        moved.press(set_dnd(true));
        let notify = moved.until("DoNotDisturb on");
        assert!(notify.cseq() > last, "{} after {last}", notify.cseq());
        last = notify.cseq();
        dialog = moved;
        let holders = holders(&service);
        assert_eq!(holders.len(), 1, "{holders:?}");
        if holders[&id] != first {
            return;
        }
    }
    panic!("sixteen ports belong to one thread");
}

/// A process whose three threads are gone loses what each of them held to another.
#[test]
fn what_all_threads_of_a_dead_process_held_is_taken_over() {
    let nats = Nats::start();
    let mut product = Setup::on(&nats).role("edge").with("sip.threads", 3).with("sip.takeover_seconds", 3).start();
    let beside = Setup::on(&nats).role("edge").with("sip.edge_id", "edge-b").with("sip.takeover_seconds", 3).start();
    let _rest = Setup::on(&nats).role("worker").role("mi").start();
    let service = Service::on(&nats);
    let phones: Vec<Phone> = (0..PHONES).map(|_| Phone::udp(product.udp())).collect();
    let mut dialogs: Vec<_> = phones.iter().map(|phone| phone.subscribe(ALICE)).collect();
    for dialog in &mut dialogs {
        assert_eq!(dialog.shows(4), ALL_OFF);
    }
    sleep(Duration::from_millis(500));
    product.kill();
    service.set(ALICE, "DoNotDisturb", 1);
    for dialog in &mut dialogs {
        assert_eq!(dialog.notify_within(PATIENCE).shows(), ["DoNotDisturb on"]);
    }
    assert_eq!(beside.metric(ACTIVE), Some(12.0));
}

/// ```text
/// phone :5062 ──SUBSCRIBE──▶ thread 2      ◀──NOTIFY── thread 2
/// phone :5063 ──200 to it──▶ thread 1 ── handed over ──▶ thread 2
/// ```
#[test]
fn a_response_that_comes_to_another_thread_is_handed_over() {
    let nats = Nats::start();
    let product = Setup::on(&nats).with("sip.threads", 3).with("sip.initial_notify", "multipart").start();
    let socket = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    };
    let receive = |socket: &UdpSocket| {
        let mut buffer = vec![0; 65_536];
        socket.recv(&mut buffer).map(|length| Packet::read(&buffer[..length]))
    };
    let asking: Vec<UdpSocket> = (0..PHONES).map(|_| socket()).collect();
    for (number, asking) in asking.iter().enumerate() {
        let address = asking.local_addr().unwrap();
        let subscribe = format!(
            "SUBSCRIBE sip:u{number}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bKu{number};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:u{number}@127.0.0.1>;tag=f{number}\r\nTo: <sip:u{number}@127.0.0.1>\r\nCall-ID: c{number}\r\nCSeq: 1 SUBSCRIBE\r\n\
             Contact: <sip:u{number}@{address}>\r\nEvent: as-feature-event\r\nAccept: application/x-as-feature-event+xml, multipart/mixed\r\n\
             Expires: 3600\r\nContent-Length: 0\r\n\r\n"
        );
        asking.send_to(subscribe.as_bytes(), product.udp()).unwrap();
        assert_eq!(receive(asking).unwrap().status(), Some(200));
        let notify = receive(asking).unwrap();
        let echo = ["via", "from", "to", "call-id", "cseq"].map(|name| format!("{name}: {}\r\n", notify.must(name)));
        let answer = format!("SIP/2.0 200 OK\r\n{}Content-Length: 0\r\n\r\n", echo.concat());
        socket().send_to(answer.as_bytes(), product.udp()).unwrap();
    }
    wait_for("each response to be known", || product.metric(DELIVERED).filter(|delivered| *delivered > 11.5));
    sleep(Duration::from_millis(700));
    for asking in &asking {
        asking.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert!(receive(asking).is_err(), "no NOTIFY is sent again");
    }
}

#[test]
fn an_address_that_is_taken_is_refused_also_where_it_would_be_shared() {
    let nats = Nats::start();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = format!("udp:{}", taken.local_addr().unwrap());
    let config = tempfile::NamedTempFile::new().unwrap();
    let text = format!("[nats]\nurl = \"{}\"\n[sip]\nthreads = 2\nlisten = [\"{listen}\"]\n[http]\nlisten = \"127.0.0.1:0\"\n", nats.url());
    std::fs::write(config.path(), text).unwrap();
    let done = crate::harness::dfks(&["run", "--role", "edge", "--config", config.path().to_str().unwrap()]);
    assert_eq!(done.code, 1);
    assert!(done.err.contains(&listen), "{}", done.err);
}
