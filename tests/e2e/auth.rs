//! Who may subscribe, on the real parts: users of a file, users of a responder, and a source that sends too much.

use std::fs;
use std::net::UdpSocket;
use std::time::Duration;

use md5::{Digest, Md5};
use serde_json::json;
use tempfile::TempDir;

use crate::common::{Nats, wait_for};
use crate::harness::{Dialog, Packet, Phone, Service, Setup, Subscribe, set_dnd};
use crate::{ALICE, ALL_OFF};

const REALM: &str = "127.0.0.1";

pub(crate) fn md5(text: &str) -> String {
    let bytes: [u8; 16] = Md5::digest(text).into();
    format!("{:032x}", u128::from_be_bytes(bytes))
}

pub(crate) fn ha1(username: &str, password: &str) -> String {
    md5(&format!("{username}:{REALM}:{password}"))
}

/// A phone's user, and the nonce that it was given last. Written apart from the crate's own digest, so that one checks the other.
pub(crate) struct User {
    name: &'static str,
    password: &'static str,
    nonce: String,
    count: u32,
}

impl User {
    pub(crate) fn new(name: &'static str, password: &'static str) -> Self {
        Self { name, password, nonce: String::new(), count: 0 }
    }

    /// Sends a SUBSCRIBE with the nonce that it has; gives the response.
    pub(crate) fn send(&mut self, phone: &Phone, dialog: &mut Dialog<'_>, what: &Subscribe) -> Packet {
        let (mut text, branch) = dialog.request(what);
        if !self.nonce.is_empty() {
            self.count += 1;
            let uri = text.split(' ').nth(1).unwrap().to_owned();
            let (nonce, nc) = (&self.nonce, format!("{:08x}", self.count));
            let ha2 = md5(&format!("SUBSCRIBE:{uri}"));
            let response = md5(&format!("{}:{nonce}:{nc}:abc:auth:{ha2}", ha1(self.name, self.password)));
            let header = format!(
                "Authorization: Digest username=\"{}\",realm=\"{REALM}\",nonce=\"{nonce}\",uri=\"{uri}\",response=\"{response}\",\
                 algorithm=MD5,cnonce=\"abc\",qop=auth,nc={nc}\r\n",
                self.name
            );
            text = text.replacen("Event:", &format!("{header}Event:"), 1);
        }
        phone.send(text.as_bytes());
        dialog.response(&branch)
    }

    /// Takes the challenge of a 401 over; gives whether it is a stale one.
    pub(crate) fn take_challenge(&mut self, response: &Packet) -> bool {
        assert_eq!(response.status(), Some(401), "{}", response.start);
        let offered = response.headers.iter().filter(|(name, _)| name == "www-authenticate").map(|(_, value)| value.as_str());
        let challenge = offered.into_iter().find(|value| value.contains("algorithm=MD5")).expect("MD5 is offered");
        assert!(challenge.starts_with(&format!("Digest realm=\"{REALM}\", qop=\"auth\", nonce=\"")), "{challenge}");
        challenge.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap().clone_into(&mut self.nonce);
        self.count = 0;
        challenge.contains("stale=true")
    }
}

/// ```text
/// phone ──SUBSCRIBE──▶ edge          phone ──key, nc=2──▶ edge         users file changes: the old password is refused,
///       ◀──401────────                     ◀──200─────────             the new one taken, within 2 s
///       ──nc=1──▶ ◀──200, NOTIFY
/// ```
#[test]
fn a_user_of_the_file_subscribes_and_a_changed_file_counts_soon() {
    let (nats, dir) = (Nats::start(), TempDir::new().unwrap());
    let file = dir.path().join("users");
    let line = |password| format!("# users\nalice:{REALM}:{}\n", ha1("alice", password));
    fs::write(&file, line("secret")).unwrap();
    let setup = Setup::on(&nats).with("sip.auth.mode", "digest").with("sip.auth.users", file.to_str().unwrap());
    let product = setup.start();
    let phone = Phone::udp(product.udp());
    let (mut alice, mut dialog) = (User::new("alice", "secret"), phone.dialog(ALICE));
    let refused = alice.send(&phone, &mut dialog, &Subscribe::default());
    assert!(!alice.take_challenge(&refused));
    assert_eq!(alice.send(&phone, &mut dialog, &Subscribe::default()).status(), Some(200));
    assert_eq!(dialog.shows(4), ALL_OFF);
    let press = Subscribe { body: set_dnd(true), ..Subscribe::default() };
    assert_eq!(alice.send(&phone, &mut dialog, &press).status(), Some(200), "with the nonce that it has");
    dialog.until("DoNotDisturb on");

    let mut other = phone.dialog("sip:bob@127.0.0.1");
    let refused = alice.send(&phone, &mut other, &Subscribe::default());
    assert_eq!((refused.status(), refused.header("retry-after").is_some()), (Some(403), true));

    fs::write(&file, line("new")).unwrap();
    wait_for("the old password to be refused", || {
        let response = alice.send(&phone, &mut phone.dialog(ALICE), &Subscribe { expires: Some(0), ..Subscribe::default() });
        (response.status() == Some(401)).then_some(())
    });
    alice.password = "new";
    assert_eq!(alice.send(&phone, &mut dialog, &Subscribe::default()).status(), Some(200), "the new one, the same nonce");
    fs::write(&file, "no users file").unwrap();
    wait_for("the bad file to be noticed", || product.log().contains("the users of before stay").then_some(()));
    assert_eq!(alice.send(&phone, &mut dialog, &Subscribe::default()).status(), Some(200));
    assert!(product.log().contains("line 1: expected user:realm:HA1"), "{}", product.log());
    let count = |outcome: &str| product.metric(&format!("dfks_edge_auth_total{{outcome=\"{outcome}\"}}")).unwrap();
    assert!(count("challenged") >= 1.0 && count("proved") >= 4.0 && count("wrong") >= 1.0 && count("forbidden") >= 1.0);
}

/// ```text
/// phone ──SUBSCRIBE, digest──▶ edge ──dfks.responder.auth.127_0_0_1──▶ service    asked once a minute for a user
///       ◀──200───────────────       ◀──────── ha1, or 404 ────────────
/// ```
#[test]
fn a_service_on_the_bus_knows_the_passwords() {
    let nats = Nats::start();
    let service = Service::on(&nats);
    let asked = service.wiretap(&["dfks.responder.auth.127_0_0_1"]);
    service.respond("dfks.responder.auth.127_0_0_1", |request| {
        assert_eq!(request["type"], "io.dfks.api.v1.auth_request");
        Some(match (request["username"].as_str(), request["realm"].as_str(), request["algorithm"].as_str()) {
            (Some("alice"), Some(REALM), Some("MD5")) => json!({"ha1": ha1("alice", "secret")}),
            _ => json!({"error": {"code": 404, "description": "unknown user"}}),
        })
    });
    let product = Setup::on(&nats).with("sip.auth.mode", "digest").start();
    let phone = Phone::udp(product.udp());
    for (user, want) in [("alice", 200), ("mallory", 401)] {
        let (mut user, mut dialog) = (User::new(user, "secret"), phone.dialog(ALICE));
        let refused = user.send(&phone, &mut dialog, &Subscribe::default());
        assert_eq!(refused.headers.iter().filter(|(name, _)| name == "www-authenticate").count(), 2, "SHA-256, then MD5");
        user.take_challenge(&refused);
        for _ in 0..3 {
            assert_eq!(user.send(&phone, &mut dialog, &Subscribe::default()).status(), Some(want));
        }
    }
    assert_eq!(asked.all().iter().filter(|taken| taken.json["username"] == "alice").count(), 1);
    assert_eq!(asked.all().iter().filter(|taken| taken.json["username"] == "mallory").count(), 1);
    let watchers = service.ask("dfks.watchers", &json!({}));
    assert_eq!(watchers["watchers"][0]["watcher"], ALICE);
}

/// A source that floods gets its burst and one 503 a second; a phone beside it is served as ever.
#[test]
fn a_flood_from_one_source_leaves_the_others_served() {
    let nats = Nats::start();
    let product = Setup::on(&nats).with("sip.rate_limit_per_source", 10).with("sip.rate_limit_exempt", Vec::<String>::new()).start();
    let flooder = UdpSocket::bind("127.0.0.2:0").unwrap();
    flooder.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    for number in 0..2000 {
        let request = format!(
            "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK{number};rport\r\nFrom: <sip:f@127.0.0.2>;tag=1\r\n\
             To: <sip:127.0.0.1>\r\nCall-ID: {number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
            flooder.local_addr().unwrap()
        );
        flooder.send_to(request.as_bytes(), product.udp()).unwrap();
    }
    let phone = Phone::udp(product.udp());
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.shows(4), ALL_OFF);
    let (mut taken, mut refused) = (0, 0);
    let mut buffer = [0; 2000];
    while let Ok((length, _)) = flooder.recv_from(&mut buffer) {
        match Packet::read(&buffer[..length]).status() {
            Some(200) => taken += 1,
            Some(503) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!((50..=80).contains(&taken), "{taken} taken in: the burst, and what a second or three bring");
    assert!((1..=4).contains(&refused), "{refused} refused aloud");
    assert!(product.metric("dfks_edge_dropped_total{reason=\"rate_limited\"}").unwrap() > 1000.0);
}

#[test]
fn a_model_of_phone_gets_the_response_body_that_it_wants() {
    let nats = Nats::start();
    let mut profile = toml::Table::new();
    profile.insert("user_agent".to_owned(), "^test-phone".into());
    profile.insert("cisco_response_body".to_owned(), true.into());
    let product = Setup::on(&nats).with("profile", vec![toml::Value::Table(profile)]).start();
    let phone = Phone::tcp(product.tcp());
    let mut dialog = phone.subscribe(ALICE);
    let response = dialog.send(&Subscribe { body: set_dnd(true), ..Subscribe::default() });
    assert_eq!(response.status(), Some(200));
    assert!(response.body.ends_with("<SetDoNotDisturbResponse xmlns=\"http://www.ecma-international.org/standards/ecma-323/csta/ed3\"/>"));
    dialog.until("DoNotDisturb on");
}

#[test]
fn a_users_file_that_cannot_be_used_stops_the_start() {
    let dir = TempDir::new().unwrap();
    let (file, config) = (dir.path().join("users"), dir.path().join("dfks.toml"));
    fs::write(&file, "alice:realm:secret\n").unwrap();
    fs::write(&config, "[sip.auth]\nmode = \"digest\"\nusers = \"users\"\n").unwrap();
    for command in ["check", "run"] {
        let done = crate::harness::dfks(&[command, "--config", config.to_str().unwrap()]);
        assert_eq!(done.code, 78, "{done:?}");
        assert!(done.err.contains("line 1: expected an HA1 of 32 hexadecimal digits for MD5"), "{done:?}");
        assert!(!done.err.contains("secret"), "{done:?}");
    }
}
