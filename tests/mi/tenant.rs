//! The subjects of tenants: `dfks.set.<domain>`, `dfks.command.set.<domain>`. A presentity of another domain is refused.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_nats::jetstream::{self, stream};

use super::durable::{Queue, ok, params};
use super::*;

fn dnd(presentity: &str, param: &str) -> Value {
    json!({"presentity": presentity, "feature": "DoNotDisturb", "status": 1, "route_param": param})
}

#[tokio::test]
async fn a_command_on_a_tenants_subject_is_for_that_domain_alone() {
    let scene = Scene::start(two_edges()).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    scene
        .with_worker(move |request| {
            counted.fetch_add(1, Ordering::Relaxed);
            serde_json::to_value(applied(&request)).unwrap()
        })
        .await;
    let set = async |subject: &'static str, presentity: &str| {
        let reply = scene.client.request(subject, dnd(presentity, "1").to_string().into()).await.unwrap();
        read_reply::<SetResponse>(&reply.payload)
    };
    for (subject, presentity) in [
        ("dfks.set.a_example", "sip:alice@A.example"),
        ("dfks.set.10_0_0_11", "sip:alice@10.0.0.11:5060"),
        ("dfks.set.2001-db8--1", "sip:alice@[2001:DB8::1]"),
        ("dfks.set.tel", "tel:+31201234567"),
    ] {
        assert_eq!(set(subject, presentity).await.unwrap().watchers, 3, "{subject}");
    }
    let jobs = scene.edges.jobs().len();
    for (subject, presentity, code) in [
        ("dfks.set.a_example", "sip:bob@b.example", 403),
        ("dfks.set.a_example", "sip:alice@sub.a.example", 403),
        ("dfks.set.a_example", "tel:+31201234567", 403),
        ("dfks.set.example", "sip:alice@a.example", 403),
        ("dfks.set.a_example", "bob", 400),
    ] {
        let error = set(subject, presentity).await.unwrap_err();
        assert_eq!((error.code, error.field.as_deref()), (code, Some("presentity")), "{subject} {presentity}: {error:?}");
    }
    assert_eq!((asked.load(Ordering::Relaxed), scene.edges.jobs().len()), (4, jobs), "nothing was done");
    let info = scene.client.request("$SRV.INFO.dfks-mi", "".into()).await.unwrap();
    let info: Value = serde_json::from_slice(&info.payload).unwrap();
    let endpoints = info["endpoints"].as_array().unwrap().iter().map(|of| [&of["name"], &of["subject"], &of["queue_group"]]);
    assert_eq!(
        endpoints.collect::<Vec<_>>(),
        [
            ["set", "dfks.set", "dfks-mi"],
            ["set_domain", "dfks.set.*", "dfks-mi"],
            ["resync", "dfks.resync", "dfks-mi"],
            ["end", "dfks.end", "dfks-mi"],
            ["why", "dfks.why", "dfks-mi"]
        ]
    );
}

#[tokio::test]
async fn a_durable_command_on_a_tenants_subject_is_carried_out_or_a_dead_letter() {
    let queue = Queue::start().await;
    let asked = queue.worker(ok).await;
    let jetstream = jetstream::new(queue.client.clone());
    for (subject, presentity, param) in [
        ("dfks.command.set.a_example", "sip:alice@a.example", "0"),
        ("dfks.command.set.a_example", "sip:bob@b.example", "stolen"),
        ("dfks.command.set", "sip:alice@a.example", "1"),
        ("dfks.command.set.a_example", "sip:alice@a.example", "2"),
    ] {
        jetstream.publish(subject, dnd(presentity, param).to_string().into()).await.unwrap().await.unwrap();
    }
    let _bridge = queue.bridge().await;
    common::eventually("the queue is empty", async || queue.left().await == 0).await;
    assert_eq!(params(&asked), ["0", "1", "2"], "in order, whatever the subject");
    let dead = queue.dead(1).await;
    let want = "'sip:bob@b.example' is of the domain b_example, and not of a_example";
    assert!(dead[0].0 == "denied" && dead[0].1.starts_with(want) && dead[0].2.contains("stolen"), "{dead:?}");
}

/// An operator's stream of an earlier version took `dfks.command.set` alone.
#[tokio::test]
async fn a_stream_that_lacks_the_subjects_of_tenants_takes_them_in_and_keeps_its_settings() {
    let nats = Nats::start();
    let bus = connect(&nats.config(), "dfks-mi").await;
    let jetstream = bus.jetstream().unwrap();
    let own = stream::Config {
        name: "DFKS_COMMANDS".into(),
        subjects: vec!["dfks.command.set".into(), "portal.commands".into()],
        retention: stream::RetentionPolicy::WorkQueue,
        max_messages: 77,
        description: Some("ours".into()),
        ..Default::default()
    };
    jetstream.create_stream(own).await.unwrap();
    for _ in 0..2 {
        dfks::bus::setup::ensure(&bus, 1).await.unwrap();
        let found = jetstream.get_stream("DFKS_COMMANDS").await.unwrap().cached_info().config.clone();
        assert_eq!(found.subjects, ["dfks.command.set", "portal.commands", "dfks.command.set.*"]);
        assert_eq!((found.max_messages, found.description.as_deref()), (77, Some("ours")));
    }
    let edges = two_edges();
    let queue = Queue { client: async_nats::connect(nats.url()).await.unwrap(), bus, edges, nats };
    let asked = queue.worker(ok).await;
    let _bridge = queue.bridge().await;
    let command = dnd("sip:alice@a.example", "0").to_string();
    jetstream.publish("dfks.command.set.a_example", command.into()).await.unwrap().await.unwrap();
    common::eventually("it is carried out", async || params(&asked) == ["0"]).await;
}
