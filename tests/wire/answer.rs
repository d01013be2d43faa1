//! What a NOTIFY is answered, and what follows.

use serde_json::json;

use crate::common::{Nats, wait_for};
use crate::harness::{Answer, Packet, Service};
use crate::site::{Site, TRANSPORTS};

/// RFC 6665 §4.2.2, RFC 5057: these end the subscription.
const ENDS: [u16; 13] = [404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604];
/// Every other failure is counted, and the next change goes out as usual.
const GOES_ON: [u16; 14] = [302, 400, 401, 403, 406, 408, 415, 420, 423, 486, 500, 503, 600, 603];

/// The status that the presentity's name asks for: `sip:s481-udp@127.0.0.1`.
fn by_name(notify: &Packet) -> Answer {
    let name = notify.must("from").split("sip:s").nth(1).expect("a presentity of this test");
    Answer::Status(name.split('-').next().unwrap().parse().unwrap(), "")
}

/// ```text
/// phone ──SUBSCRIBE──▶ edge      ◀──NOTIFY── 481 ─▶  dfks.set: watchers 0, nothing is sent
///                                ◀──NOTIFY── 500 ─▶  dfks.set: watchers 1, NOTIFY
/// ```
#[test]
fn each_class_of_answer_ends_the_subscription_or_does_not() {
    let nats = Nats::start();
    let site = Site::on(&nats);
    let service = Service::on(&nats);
    let events = service.wiretap(&["dfks.event.>"]);
    for transport in TRANSPORTS {
        let phone = site.phone(transport);
        phone.answers(by_name);
        let presentity = |status: u16| format!("sip:s{status}-{}@127.0.0.1", transport.0);
        for status in ENDS {
            let mut dialog = phone.subscribe(&presentity(status));
            dialog.notify();
            let id = dialog.subscription();
            let over = events.find("the end", |event| event.json["what"] == "terminated" && event.json["subscription"] == *id);
            assert_eq!(over.json["reason"], "rejected", "{status} over {}", transport.0);
            wait_for("nobody watches", || (service.set(&presentity(status), "DoNotDisturb", 1)["watchers"] == 0).then_some(()));
            let sent = dialog.notify_count();
            assert!(sent <= 1, "{status} over {}: {sent} NOTIFYs, one was answered", transport.0);
        }
        for status in GOES_ON {
            let mut dialog = phone.subscribe(&presentity(status));
            dialog.notify();
            let id = dialog.subscription();
            let failed = events.find("the failure", |event| event.json["outcome"] == "failed" && event.json["subscription"] == *id);
            assert_eq!(failed.json["status"], json!(status), "over {}", transport.0);
            assert_eq!(service.set(&presentity(status), "DoNotDisturb", 1)["watchers"], 1, "{status} over {}", transport.0);
            dialog.until("DoNotDisturb on");
        }
        let live = site.product.metric("dfks_edge_subscriptions{state=\"active\"}").unwrap();
        assert!(live >= 14.0, "{live}");
    }
}
