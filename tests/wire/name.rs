//! Routes and Contacts that are names: where NAPTR, SRV and address records lead, and what happens when a server fails.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use dfks::runtime::clock;

use crate::common::{Nats, wait_for};
use crate::harness::{Answer, Dialog, Phone, Product, Service, Setup, Subscribe};
use crate::way::{answered, send};
use crate::zone::{NamedEdge, Zone};

/// An edge with its names, and the other roles as a program.
struct Site {
    zone: Zone,
    edge: NamedEdge,
    service: Service,
    _others: Product,
    _nats: Nats,
}

impl Site {
    fn start() -> Self {
        let (nats, zone) = (Nats::start(), Zone::start());
        let others = Setup::on(&nats).role("worker").role("mi").start();
        let edge = NamedEdge::start(&nats, &zone);
        Self { zone, edge, service: Service::on(&nats), _others: others, _nats: nats }
    }

    fn udp(&self) -> Phone {
        Phone::udp(self.edge.at("udp"))
    }

    fn set(&self, presentity: &str, status: u8) {
        assert_eq!(self.service.set(presentity, "DoNotDisturb", status)["watchers"], 1);
    }
}

/// Subscribes through a proxy that record-routes by this URI.
fn by<'p>(phone: &'p Phone, presentity: &str, route: &str) -> Dialog<'p> {
    let mut dialog = phone.dialog(presentity);
    send(phone, &mut dialog, |text| text.replace("Event:", &format!("Record-Route: <{route}>\r\nEvent:")));
    dialog
}

/// A port of loopback where nobody listens.
fn dead_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// ```text
/// phone ──SUBSCRIBE, Record-Route: proxy.example.test──▶ edge ──SRV?──▶ DNS      first ◀──NOTIFY── edge
///                                                             first ──503──▶ edge ──NOTIFY, another branch──▶ second
/// ```
#[test]
fn srv_records_choose_the_server_and_a_503_the_next_one() {
    let site = Site::start();
    let (phone, first, second) = (site.udp(), site.udp(), site.udp());
    site.zone.srv("_sip._udp.proxy.example.test", (10, 0), first.local().port(), "host.example.test", 60);
    site.zone.srv("_sip._udp.proxy.example.test", (20, 0), second.local().port(), "host.example.test", 60);
    site.zone.a("host.example.test", [127, 0, 0, 1], 60);
    let dialog = by(&phone, "sip:srv@127.0.0.1", "sip:proxy.example.test;lr");
    let (mut at_first, mut at_second) = (dialog.at(&first), dialog.at(&second));
    at_first.shows(4);
    for asked in ["NAPTR proxy.example.test.", "SRV _sip._udp.proxy.example.test.", "A host.example.test."] {
        assert!(site.zone.asked().iter().any(|question| question == asked), "{asked} in {:?}", site.zone.asked());
    }
    let asked = site.zone.asked().len();
    first.answers(|_| Answer::Status(503, "Retry-After: 120\r\n"));
    site.set("sip:srv@127.0.0.1", 1);
    let refused = at_first.notify();
    let taken = at_second.notify();
    assert_eq!(taken.shows(), ["DoNotDisturb on"]);
    assert_ne!(refused.param("via", "branch"), taken.param("via", "branch"));
    assert!(taken.must("route").contains("proxy.example.test"));
    // It asked for a pause.
    let before = at_first.notify_count();
    site.set("sip:srv@127.0.0.1", 0);
    assert_eq!(at_second.notify().shows(), ["DoNotDisturb off"]);
    assert_eq!((at_first.notify_count(), dialog.notify_count()), (before, 0));
    assert_eq!(site.zone.asked().len(), asked, "all is known for a minute");
}

/// NAPTR says TCP; of its servers the first is dead, and the second gets the NOTIFY over a connection of its own.
#[test]
fn naptr_records_choose_the_transport_and_a_dead_server_is_passed_over() {
    let site = Site::start();
    let phone = site.udp();
    let live = TcpListener::bind("127.0.0.1:0").unwrap();
    site.zone.naptr("proxy.example.test", (10, 10), "SIP+D2T", "_sip._tcp.elsewhere.test");
    site.zone.naptr("proxy.example.test", (20, 10), "SIP+D2U", "_sip._udp.elsewhere.test");
    site.zone.srv("_sip._tcp.elsewhere.test", (1, 0), dead_port(), "host.example.test", 60);
    site.zone.srv("_sip._tcp.elsewhere.test", (2, 0), live.local_addr().unwrap().port(), "host.example.test", 60);
    site.zone.srv("_sip._udp.elsewhere.test", (1, 0), phone.local().port(), "host.example.test", 60);
    site.zone.a("host.example.test", [127, 0, 0, 1], 60);
    let started = clock::now();
    let dialog = by(&phone, "sip:naptr@127.0.0.1", "sip:proxy.example.test;lr");
    let notify = answered(&live, "</ForwardingEvent>");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(notify.contains(&format!("\r\nVia: SIP/2.0/TCP {};", site.edge.at("tcp"))), "{notify}");
    assert!(notify.contains("\r\nRoute: <sip:proxy.example.test;lr>\r\n") && notify.contains(&dialog.call_id));
    assert!(!notify.contains("CSeq: 1 NOTIFY"), "the first try was another");
    assert_eq!(dialog.notify_count(), 0, "nothing over UDP");
}

/// A name is another server's as soon as its TTL is over.
#[test]
fn what_dns_says_is_kept_for_as_long_as_it_says() {
    let site = Site::start();
    let (phone, old, new) = (site.udp(), site.udp(), site.udp());
    let srv = |at: &Phone| site.zone.srv("_sip._udp.moving.test", (1, 0), at.local().port(), "host.example.test", 1);
    srv(&old);
    site.zone.a("host.example.test", [127, 0, 0, 1], 60);
    let dialog = by(&phone, "sip:moving@127.0.0.1", "sip:moving.test;lr");
    dialog.all_at(&old).shows(4);
    site.zone.forget("_sip._udp.moving.test");
    srv(&new);
    let mut at_new = dialog.at(&new);
    let mut status = 0;
    wait_for("a NOTIFY at the new server", || {
        status = 1 - status;
        site.set("sip:moving@127.0.0.1", status);
        std::thread::sleep(Duration::from_millis(300));
        (at_new.notify_count() > 0).then_some(())
    });
    at_new.notify();
}

/// ```text
/// slow ──SUBSCRIBE, Record-Route: silent.test──▶ edge ──?──▶ DNS, which never answers      live ──SUBSCRIBE──▶ edge ──NOTIFY──▶ live
/// ```
#[test]
fn a_name_that_is_never_answered_or_does_not_exist_holds_nobody_up() {
    let site = Site::start();
    site.zone.silence("silent.test");
    let (slow, lost, live, again) = (site.udp(), site.udp(), site.udp(), site.udp());
    for number in 0..20 {
        by(&slow, &format!("sip:slow{number}@127.0.0.1"), &format!("sip:p{number}.silent.test;lr"));
    }
    let lost_dialog = by(&lost, "sip:lost@127.0.0.1", "sip:not-there.example.test;lr");
    let mut dialog = live.subscribe("sip:live@127.0.0.1");
    dialog.shows(4);
    for round in 0..10 {
        let started = clock::now();
        site.set("sip:live@127.0.0.1", round % 2);
        dialog.notify();
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }
    // What does not exist is asked for again after some seconds.
    site.zone.a("not-there.example.test", [127, 0, 0, 1], 60);
    site.zone.srv("_sip._udp.not-there.example.test", (1, 0), again.local().port(), "not-there.example.test", 60);
    lost_dialog.all_at(&again).notify_within(Duration::from_secs(15));
    // The phone behind a silent name is served all the same: its SUBSCRIBEs are answered.
    let mut dialog = slow.dialog("sip:slow0@127.0.0.1");
    assert_eq!(dialog.send(&Subscribe::default()).status(), Some(200));
}

/// A Contact that is a name, by a proxy that did not record-route, over TCP.
#[test]
fn a_contact_may_be_a_name_too() {
    let site = Site::start();
    let phone = site.udp();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at: SocketAddr = listener.local_addr().unwrap();
    site.zone.a("desk.example.test", [127, 0, 0, 1], 60);
    let mut dialog = phone.dialog("sip:desk@127.0.0.1");
    let contact = format!("sip:phone@{};transport=udp", phone.local());
    send(&phone, &mut dialog, |text| {
        let text = text.replace(&contact, &format!("sip:desk@desk.example.test:{};transport=tcp", at.port()));
        text.replace("Max-Forwards", "Via: SIP/2.0/UDP 127.0.0.9:5060;branch=z9hG4bKbehind\r\nMax-Forwards")
    });
    let notify = answered(&listener, "</ForwardingEvent>");
    assert!(notify.starts_with(&format!("NOTIFY sip:desk@desk.example.test:{};transport=tcp SIP/2.0\r\n", at.port())), "{notify}");
    assert!(site.zone.asked().iter().all(|question| !question.starts_with("NAPTR") && !question.starts_with("SRV")), "a port is named");
}
