//! The full state by size and phone, without a worker, after a restart; and what goes to every phone.

use crate::ALL_OFF;
use crate::common::Nats;
use crate::harness::{Packet, Phone, Service, Setup, Subscribe, set_dnd, set_forwarding};
use crate::site::{Site, TRANSPORTS};

/// How many NOTIFYs tell the full state, and the first of them.
fn full_state(phone: &Phone, user_agent: &str) -> (usize, Packet) {
    let mut dialog = phone.dialog("sip:size@127.0.0.1");
    let (text, branch) = dialog.request(&Subscribe::default());
    phone.send(text.replace("test-phone/1", user_agent).as_bytes());
    assert_eq!(dialog.response(&branch).status(), Some(200));
    let first = dialog.notify();
    let mut shown = first.shows();
    if shown.len() < 4 {
        shown.extend(dialog.shows(4 - shown.len()));
    }
    assert_eq!(shown, ALL_OFF);
    (dialog.notify_count(), first)
}

/// A four-feature multipart NOTIFY is over the 1300 bytes of RFC 3261 §18.1.1, always.
#[test]
fn the_full_state_comes_whole_or_one_by_one() {
    let nats = Nats::start();
    for (mode, udp, tcp) in [("auto", 4, 1), ("multipart", 1, 1), ("sequential", 4, 4)] {
        let profile = "profile = [{ user_agent = \"^Whole\", initial_notify = \"multipart\" }, { user_agent = \"^Parts\", initial_notify = \"sequential\" }]";
        let profile: toml::Table = toml::from_str(profile).unwrap();
        let product = Setup::on(&nats).with("sip.initial_notify", mode).with("profile", profile["profile"].clone()).start();
        for (phone, want) in [(Phone::udp(product.udp()), udp), (Phone::tcp(product.tcp()), tcp)] {
            let (count, first) = full_state(&phone, "test-phone/1");
            assert_eq!(count, want, "{mode}");
            let is_multipart = first.must("content-type").starts_with("multipart/mixed;");
            assert_eq!((is_multipart, first.raw.len() > 1300), (count == 1, count == 1), "{mode}: {}", first.raw.len());
            assert_eq!(full_state(&phone, "Whole/2").0, 1, "{mode}, but this model wants it whole");
            assert_eq!(full_state(&phone, "Parts/2").0, 4, "{mode}, but this model wants it in parts");
        }
    }
}

/// As in the field: firmware that wants a body in the 200, and a server that does not restart the clock.
#[test]
fn a_model_gets_what_its_profile_says() {
    let nats = Nats::start();
    let profile: toml::Table =
        toml::from_str("profile = [{ user_agent = \"Quirky\", cisco_response_body = true, remaining_expires = true }]").unwrap();
    let site = Site::start(Setup::on(&nats).with("profile", profile["profile"].clone()));
    for transport in TRANSPORTS {
        let phone = site.phone(transport);
        for (user_agent, is_quirky) in [("Quirky/1", true), ("Usual/1", false)] {
            let mut dialog = phone.dialog(&format!("sip:quirk-{}@127.0.0.1", transport.0));
            let mut send = |what: &Subscribe| {
                let (text, branch) = dialog.request(what);
                phone.send(text.replace("test-phone/1", user_agent).as_bytes());
                dialog.response(&branch)
            };
            assert_eq!(send(&Subscribe { expires: Some(600), ..Subscribe::default() }).must("expires"), "600");
            let response = send(&Subscribe { body: set_dnd(true), ..Subscribe::default() });
            let remaining: u32 = response.must("expires").parse().unwrap();
            assert_eq!(remaining <= 600, is_quirky, "{user_agent} over {}: {remaining}", transport.0);
            let body = "<SetDoNotDisturbResponse xmlns=\"http://www.ecma-international.org/standards/ecma-323/csta/ed3\"/>";
            assert_eq!(response.body.ends_with(body), is_quirky, "{user_agent}: {}", response.body);
            assert_eq!(response.body.is_empty(), !is_quirky);
        }
    }
}

/// A 2xx is never followed by silence (RFC 6665 §4.2.1.2): a NOTIFY always follows, empty and without a type when no worker answers.
#[test]
fn without_a_worker_an_empty_notify_follows_at_once() {
    let nats = Nats::start();
    let site = Site::start(Setup::on(&nats).role("edge").with("nats.timeout_ms", 500));
    for transport in TRANSPORTS {
        let phone = site.phone(transport);
        let mut dialog = phone.subscribe("sip:nobody@127.0.0.1");
        let notify = dialog.notify();
        assert_eq!((notify.header("content-type"), notify.body.as_str()), (None, ""), "{}", transport.0);
        assert!(notify.must("subscription-state").starts_with("active;expires="), "{}", transport.0);
    }
}

/// Every subscription of the presentity is told, of every feature that changed; what changes nothing, the asker alone.
#[test]
fn a_change_reaches_every_phone_over_every_transport() {
    const SCRIPT: &str = "fn dfks_set(dfks) { if dfks.feature == \"CallForwardingAlways\" { also(\"DoNotDisturb\", #{status: 0}); } }";
    let nats = Nats::start();
    let site = Site::start(Setup::on(&nats).script(SCRIPT));
    let service = Service::on(&nats);
    let phones = TRANSPORTS.map(|transport| site.phone(transport));
    let mut dialogs = phones.each_ref().map(|phone| phone.subscribe("sip:all@127.0.0.1"));
    for dialog in &mut dialogs {
        dialog.shows(4);
    }
    for at in 0..dialogs.len() {
        dialogs[at].press(set_dnd(true));
        for dialog in &mut dialogs {
            assert_eq!(dialog.notify().shows(), ["DoNotDisturb on"], "pressed at {at}");
        }
        dialogs[at].press(set_dnd(true));
        assert_eq!(dialogs[at].notify().shows(), ["DoNotDisturb on"], "what changes nothing is confirmed");
        // had another been told of that, it would show before what comes now
        dialogs[at].press(set_forwarding("forwardImmediate", at % 2 == 0, "<forwardDN>1</forwardDN>"));
        for dialog in &mut dialogs {
            let mut shown = dialog.notify().shows();
            if shown.len() < 2 {
                shown.extend(dialog.notify().shows());
            }
            shown.sort();
            let forward = if at % 2 == 0 { "CallForwardingAlways on forwardTo=1" } else { "CallForwardingAlways off forwardTo=1" };
            assert_eq!(shown, [forward, "DoNotDisturb off"], "and what changed along with it, pressed at {at}");
        }
    }
    assert_eq!(service.set("sip:all@127.0.0.1", "CallForwardingBusy", 1)["watchers"], 5);
    for dialog in &mut dialogs {
        assert_eq!(dialog.notify().shows(), ["CallForwardingBusy on"]);
    }
}

/// `CSeq` of NOTIFY never goes backwards, a stored subscription survives a crash.
#[test]
fn cseq_grows_over_a_crash() {
    let nats = Nats::start();
    let mut site = Site::on(&nats);
    let phone = Phone::udp(site.product.udp());
    let mut dialog = phone.subscribe("sip:crash@127.0.0.1");
    dialog.shows(4);
    dialog.press(set_dnd(true));
    dialog.until("DoNotDisturb on");
    let before = dialog.last_cseq();
    site.product.kill();
    site.product.restart();
    dialog.press(set_dnd(false));
    let notify = dialog.until("DoNotDisturb off");
    assert!(notify.cseq() > before, "{} after {before}", notify.cseq());
}
