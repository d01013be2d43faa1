//! Connecting, asking and publishing.

use std::time::Duration;

use async_nats::HeaderMap;
use dfks::bus::message::{CommandValues, GetRequest, GetResponse, Kind, ResponderState, SetRequest};
use dfks::bus::subject::Pattern;
use dfks::bus::trace::{Cause, TRACEPARENT};
use dfks::bus::{Bus, BusError, PublishError, RequestError};
use dfks::config::{NatsConfig, NatsTlsConfig};
use dfks::feature::Status;
use dfks::runtime::clock;
use futures_util::StreamExt;

use crate::common::{Nats, eventually};
use crate::connect;

const SECOND: Duration = Duration::from_secs(1);

fn ask() -> GetRequest {
    GetRequest {
        kind: Kind::default(),
        presentity: "sip:alice@10.0.0.11".into(),
        features: None,
        package: None,
        subscription: None,
        strict: false,
    }
}

/// Answers everything on `subject` with `payload`.
async fn responder(bus: &Bus, subject: &str, payload: &'static str) -> tokio::task::JoinHandle<()> {
    let client = bus.client().clone();
    let mut requests = client.subscribe(subject.to_owned()).await.unwrap();
    client.flush().await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test's own task")]
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let traceparent = request.headers.as_ref().and_then(|h| h.get(TRACEPARENT)).expect("a traceparent").as_str();
            assert_eq!(traceparent.len(), 55, "{traceparent}");
            client.publish(request.reply.unwrap(), payload.into()).await.unwrap();
        }
    })
}

#[tokio::test]
async fn a_request_ends_with_its_answer_or_its_own_error() {
    let nats = Nats::start();
    let bus = connect(&nats.config()).await;
    let get = |subject: &str, timeout| {
        let (bus, subject) = (bus.clone(), subject.to_owned());
        async move { bus.request::<_, GetResponse>(Pattern::Get, subject, &ask(), &Cause::new(), timeout).await }
    };

    let _responder = responder(&bus, "t.ok", r#"{"presentity":"sip:alice@10.0.0.11","features":[]}"#).await;
    assert_eq!(get("t.ok", SECOND).await.unwrap().presentity, "sip:alice@10.0.0.11");

    let started_at = clock::now();
    assert!(matches!(get("t.nobody", SECOND).await, Err(RequestError::NoResponders)));
    assert!(started_at.elapsed() < SECOND / 2, "nobody there is told at once");

    let _responder = responder(&bus, "t.refuses", r#"{"error":{"code":403,"description":"not allowed"}}"#).await;
    let refused = bus.request::<_, ResponderState>(Pattern::ResponderSet, "t.refuses".into(), &ask(), &Cause::new(), SECOND).await;
    assert!(matches!(refused, Err(RequestError::Refused(error)) if error.code == 403 && error.description == "not allowed"));

    let _responder = responder(&bus, "t.babbles", "<xml/>").await;
    assert!(matches!(get("t.babbles", SECOND).await, Err(RequestError::Unreadable(_))));

    let _silent = bus.client().subscribe("t.silent").await.unwrap();
    bus.client().flush().await.unwrap();
    let timeout = Duration::from_millis(150);
    let started_at = clock::now();
    assert!(matches!(get("t.silent", timeout).await, Err(RequestError::Timeout(limit)) if limit == timeout));
    assert!(started_at.elapsed() < SECOND);
}

#[tokio::test]
async fn many_requests_at_once_each_get_their_own_answer() {
    let nats = Nats::start();
    let bus = connect(&nats.config()).await;
    let mut requests = bus.client().subscribe("t.echo").await.unwrap();
    bus.client().flush().await.unwrap();
    let client = bus.client().clone();
    let echo = async move {
        while let Some(request) = requests.next().await {
            let asked: GetRequest = serde_json::from_slice(&request.payload).unwrap();
            let answer = GetResponse { kind: Kind::default(), presentity: asked.presentity, features: Vec::new() };
            client.publish(request.reply.unwrap(), serde_json::to_vec(&answer).unwrap().into()).await.unwrap();
        }
    };
    let asked = futures_util::future::join_all((0..500).map(|n| {
        let bus = bus.clone();
        async move {
            let presentity = format!("sip:{n}@a");
            let request = GetRequest { presentity: presentity.clone(), ..ask() };
            let answer: GetResponse = bus.request(Pattern::Get, "t.echo".into(), &request, &Cause::new(), 5 * SECOND).await.unwrap();
            assert_eq!(answer.presentity, presentity);
        }
    }));
    tokio::select! {
        () = echo => panic!("the echo ended"),
        answers = asked => assert_eq!(answers.len(), 500),
    }
}

#[tokio::test]
async fn fails_at_once_without_a_server_and_goes_on_when_it_is_back() {
    let mut nats = Nats::start();
    let bus = connect(&nats.config()).await;
    let mut events = bus.client().subscribe("t.event").await.unwrap();
    bus.client().flush().await.unwrap();

    // a request that waits when the connection is lost is told then, not at its timeout
    let _silent = bus.client().subscribe("t.silent").await.unwrap();
    bus.client().flush().await.unwrap();
    let cause = Cause::new();
    let request = ask();
    let waiting = bus.request::<_, GetResponse>(Pattern::Get, "t.silent".into(), &request, &cause, 15 * SECOND);
    let started_at = clock::now();
    let (waited, ()) = tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        nats.kill();
    });
    assert!(matches!(waited, Err(RequestError::Disconnected)), "{waited:?}");
    assert!(started_at.elapsed() < 5 * SECOND);

    eventually("disconnected", async || !bus.is_connected()).await;
    let started_at = clock::now();
    let refused = bus.request::<_, GetResponse>(Pattern::Get, "t.ok".into(), &ask(), &Cause::new(), 5 * SECOND).await;
    assert!(matches!(refused, Err(RequestError::Disconnected)));
    assert_eq!(publish(&bus, "t.event", 1), Err(PublishError::Disconnected));
    assert!(started_at.elapsed() < SECOND / 10);

    nats.restart();
    tokio::time::timeout(10 * SECOND, bus.connected()).await.expect("reconnected");
    eventually("a message after the reconnect", async || {
        let _lost = publish(&bus, "t.event", 1);
        tokio::time::timeout(Duration::from_millis(50), events.next()).await.is_ok_and(|event| event.is_some())
    })
    .await;
}

#[tokio::test]
async fn publishing_never_waits_for_a_server_that_stands_still() {
    let nats = Nats::start();
    let bus = connect(&nats.config()).await;
    nats.pause();
    let started_at = clock::now();
    let mut results = Vec::new();
    // far more than the queue and every buffer on the way can take
    for _ in 0..100_000 {
        results.push(publish(&bus, "t.event", 1000));
        if results.len() % 1000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let took = started_at.elapsed();
    nats.resume();
    assert!(results.contains(&Ok(())), "the queue takes some");
    assert!(results.contains(&Err(PublishError::QueueFull)), "and then says that it is full");
    assert!(took < 10 * SECOND, "{took:?}");
}

fn publish(bus: &Bus, subject: &str, bytes: usize) -> Result<(), PublishError> {
    bus.try_publish(Pattern::EventNotify, subject.to_owned(), None, HeaderMap::new(), vec![b'x'; bytes].into())
}

#[tokio::test]
async fn refuses_what_cannot_be_sent() {
    let nats = Nats::with_config("max_payload: 1024");
    let bus = connect(&nats.config()).await;
    assert_eq!(publish(&bus, "t.event", 2000), Err(PublishError::TooLarge));
    assert_eq!(publish(&bus, "t event", 1), Err(PublishError::Subject));
    let set = SetRequest {
        kind: Kind::default(),
        presentity: String::new(),
        feature: String::new(),
        status: Some(Status::OFF),
        route_param: None,
        values: CommandValues::default(),
        actor: None,
        until: None,
        for_seconds: None,
    };
    let refused = bus.publish_stored(Pattern::CommandSet, "t.command".into(), "a\r\nb", HeaderMap::new(), &set).await;
    assert!(matches!(refused, Err(RequestError::NotSent(PublishError::Header))), "{refused:?}");
    let nowhere = bus.publish_stored(Pattern::CommandSet, "t.command".into(), "id", HeaderMap::new(), &set).await;
    assert!(matches!(nowhere, Err(RequestError::NoResponders)), "{nowhere:?}");
}

#[tokio::test]
async fn drains_what_is_queued_and_is_closed() {
    let nats = Nats::start();
    let (bus, other) = (connect(&nats.config()).await, connect(&nats.config()).await);
    let mut events = other.client().subscribe("t.event").await.unwrap();
    other.client().flush().await.unwrap();
    // more than the socket takes at once
    for _ in 0..20_000 {
        publish(&bus, "t.event", 1000).unwrap();
    }
    bus.drain().await;
    assert!(!bus.is_connected());
    assert_eq!(publish(&bus, "t.event", 1), Err(PublishError::Disconnected));
    for n in 0..20_000 {
        let event = tokio::time::timeout(10 * SECOND, events.next()).await;
        event.unwrap_or_else(|_| panic!("{n} of 20,000 have arrived")).unwrap();
    }
}

#[tokio::test]
async fn signs_in_with_each_kind_of_credentials() {
    let user = NatsConfig { user: "edge".into(), password_file: "secret".into(), ..NatsConfig::default() };
    let token = NatsConfig { token_file: "secret".into(), ..NatsConfig::default() };
    let nkey = NatsConfig { nkey_file: "secret".into(), ..NatsConfig::default() };
    // an nkey pair made for this test
    let (seed, public) =
        ("SUAOE5NVPG2D54QDC27TZBRUZBG2GZV7NWO2DV4SX5WVXHFYJO3LIGR4AU", "UBGT36MVJLJEUKZ6P5XRE2R73OGACMEQJL7ICMGNIBGN42ESG3F5LUWJ");
    let cases = [
        (user, r#"authorization { users: [{ user: edge, password: "pass word" }] }"#.to_owned(), "pass word\n"),
        (token, r#"authorization { token: "a-token" }"#.to_owned(), "a-token\n"),
        (nkey, format!("authorization {{ users: [{{ nkey: {public} }}] }}"), seed),
    ];
    for (config, server, secret) in cases {
        let nats = Nats::with_config(&server);
        let file = nats.dir().join("secret");
        std::fs::write(&file, secret).unwrap();
        let set = |path: &std::path::PathBuf| if path.as_os_str().is_empty() { path.clone() } else { file.clone() };
        let config = NatsConfig {
            url: nats.url(),
            password_file: set(&config.password_file),
            token_file: set(&config.token_file),
            nkey_file: set(&config.nkey_file),
            ..config
        };
        connect(&config).await;
        std::fs::write(&file, "SUAACA6WFC3THK3ZN62MS5YPI2CUVWRUDW3XXHMPK7PHMDYUCIPMPQM4HA").unwrap();
        let bus = Bus::connect(&config, "dfks-test").await.unwrap();
        let refused = tokio::time::timeout(Duration::from_millis(500), bus.connected()).await;
        assert!(refused.is_err(), "a wrong secret is not let in: {server}");
    }
}

#[tokio::test]
async fn speaks_tls_and_shows_its_own_certificate() {
    // an authority of these tests, whose key is thrown away, with a certificate for 127.0.0.1 and one for a client
    let pem = |name: &str| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bus/tls").join(name);
    let (ca, cert, key) = (pem("ca.pem"), pem("server.pem"), pem("server-key.pem"));
    let nats = Nats::with_config(&format!(
        "tls {{ ca_file: \"{}\", cert_file: \"{}\", key_file: \"{}\", verify: true }}",
        ca.display(),
        cert.display(),
        key.display()
    ));
    let tls = NatsTlsConfig { ca, certificate: pem("client.pem"), key: pem("client-key.pem") };
    let url = nats.url().replace("nats://", "tls://");
    connect(&NatsConfig { url: url.clone(), tls: tls.clone(), ..NatsConfig::default() }).await;
    let unknown = NatsTlsConfig { certificate: "".into(), key: "".into(), ..tls };
    let bus = Bus::connect(&NatsConfig { url, tls: unknown, ..NatsConfig::default() }, "dfks-test").await.unwrap();
    let refused = tokio::time::timeout(Duration::from_millis(500), bus.connected()).await;
    assert!(refused.is_err(), "without a certificate nobody is let in");
}

#[tokio::test]
async fn its_inboxes_are_below_a_prefix_of_its_role() {
    let permissions = r#"publish: ["t.get"], subscribe: ["_INBOX_edge.>"]"#;
    let nats = Nats::with_config(&format!(
        r"authorization {{ users: [{{ user: edge, password: p, permissions: {{ {permissions} }} }}, {{ user: worker, password: p }}] }}"
    ));
    let file = nats.dir().join("secret");
    std::fs::write(&file, "p").unwrap();
    let config = |user: &str| NatsConfig { user: user.into(), password_file: file.clone(), ..nats.config() };
    let worker = connect(&config("worker")).await;
    let _responder = responder(&worker, "t.get", r#"{"presentity":"sip:alice@10.0.0.11","features":[]}"#).await;
    let edge = Bus::connect(&config("edge"), "dfks-edge").await.unwrap();
    edge.connected().await;
    let got: GetResponse = edge.request(Pattern::Get, "t.get".into(), &ask(), &Cause::new(), SECOND).await.unwrap();
    assert_eq!(got.presentity, "sip:alice@10.0.0.11");
    let denied = edge.request::<_, GetResponse>(Pattern::Set, "t.set".into(), &ask(), &Cause::new(), SECOND / 5).await;
    assert!(matches!(denied, Err(RequestError::Timeout(_))), "a denial is only told by the server's error: {denied:?}");
}

/// ```text
/// flood ─▶ subscription that nobody reads      question ─▶ answer: all on one connection
/// ```
#[tokio::test]
async fn what_nobody_reads_holds_up_nothing_else_on_the_connection() {
    const FLOOD: usize = 300_000;
    let nats = Nats::start();
    let (bus, others) = (connect(&nats.config()).await, connect(&nats.config()).await);
    let mut unread = bus.client().subscribe("t.flood").await.unwrap();
    bus.client().flush().await.unwrap();
    let _responder = responder(&others, "t.get", r#"{"presentity":"sip:alice@10.0.0.11","features":[]}"#).await;
    for _ in 0..FLOOD {
        others.client().publish("t.flood", "x".into()).await.unwrap();
    }
    others.client().flush().await.unwrap();
    let got: GetResponse = bus.request(Pattern::Get, "t.get".into(), &ask(), &Cause::new(), 5 * SECOND).await.unwrap();
    assert_eq!(got.presentity, "sip:alice@10.0.0.11");
    let mut kept = 0;
    while let Ok(Some(_)) = tokio::time::timeout(SECOND / 10, unread.next()).await {
        kept += 1;
    }
    assert!((1..FLOOD).contains(&kept), "some are lost, to this subscription alone: {kept}");
}

#[tokio::test]
async fn waits_for_a_server_that_starts_later() {
    let mut nats = Nats::start();
    nats.kill();
    let bus = Bus::connect(&nats.config(), "dfks-test").await.unwrap();
    assert!(!bus.is_connected());
    nats.restart();
    tokio::time::timeout(10 * SECOND, bus.connected()).await.expect("connected");
}

#[tokio::test]
async fn names_what_is_wrong_in_the_configuration() {
    let config = NatsConfig { url: "nats://127.0.0.1:4222".into(), ..NatsConfig::default() };
    let missing = NatsConfig { credentials_file: "/nowhere/edge.creds".into(), ..config.clone() };
    let error = Bus::connect(&missing, "dfks-test").await.unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nowhere/edge.creds of nats.credentials_file");
    let bad = NatsConfig { url: "http://[".into(), ..config };
    assert!(matches!(Bus::connect(&bad, "dfks-test").await, Err(BusError::Url { position: 1, .. })));
}
