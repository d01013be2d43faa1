//! Edge, worker and mi bridge as NATS services, seen by a stranger.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Product, Program, Service, root};

fn list<'a>(of: &'a Value, field: &str) -> &'a Vec<Value> {
    of[field].as_array().expect(field)
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// ```text
/// stranger ──$SRV.PING, INFO, STATS──▶ dfks-edge, dfks-worker, dfks-mi      names, ids, endpoints, schemas, counts
/// ```
#[test]
fn a_stranger_finds_the_services_their_endpoints_schemas_and_counts() {
    let nats = Nats::start();
    let _product = Product::start(&nats);
    let service = Service::on(&nats);
    service.set(ALICE, "DoNotDisturb", 1);
    service.state(ALICE, "DoNotDisturb");
    assert_eq!(service.set(ALICE, "Foo", 1)["error"]["code"], 400);
    assert_eq!(service.ask("dfks.watchers", &json!({"presentity": "nobody"}))["error"]["code"], 400);
    assert_eq!(service.ask("dfks.watchers", &json!({}))["watchers"], json!([]));

    let found: Value = serde_json::from_str(&Program::python(&nats, "tests/e2e/services.py", &[]).line()).unwrap();
    let names = |verb: &str| -> Vec<String> {
        let mut names: Vec<_> = list(&found, verb).iter().map(|answer| text(&answer["name"])).collect();
        names.sort();
        names
    };
    for verb in ["PING", "INFO", "STATS"] {
        assert_eq!(names(verb), ["dfks-edge", "dfks-mi", "dfks-worker"], "{verb}");
        for answer in list(&found, verb) {
            assert_eq!(answer["type"], format!("io.nats.micro.v1.{}_response", verb.to_lowercase()));
            assert_eq!(answer["version"], env!("CARGO_PKG_VERSION"));
        }
    }
    let mut endpoints = BTreeMap::new();
    for info in list(&found, "INFO") {
        assert!(!text(&info["description"]).is_empty());
        assert_eq!(found[text(&info["name"])], json!([found_ping(&found, info)]), "by name and id it answers alone");
        for endpoint in list(info, "endpoints") {
            let (queue, name) = (text(&endpoint["queue_group"]), text(&info["name"]));
            assert_eq!(queue, if name == "dfks-edge" { String::new() } else { name }, "each edge answers, and one worker or bridge");
            let schema = ["request", "response"].map(|way| {
                let schema = text(&endpoint["metadata"][way]);
                let file = root(&format!("schemas/{}.json", schema.strip_prefix("io.dfks.api.v1.").unwrap()));
                let file: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
                assert_eq!(file["title"], schema);
                schema.rsplit('.').next().unwrap().to_owned()
            });
            endpoints.insert(text(&endpoint["subject"]), schema);
        }
    }
    let want = [
        ("dfks.edge.end.edge-a", "end"),
        ("dfks.edge.resync.edge-a", "resync"),
        ("dfks.end", "end"),
        ("dfks.get", "get"),
        ("dfks.get.*", "get"),
        ("dfks.resync", "resync"),
        ("dfks.route.set", "route_set"),
        ("dfks.set", "set"),
        ("dfks.set.*", "set"),
        ("dfks.sip", "sip"),
        ("dfks.watchers", "watchers"),
        ("dfks.why", "why"),
    ]
    .map(|(subject, name)| (subject.to_owned(), [format!("{name}_request"), format!("{name}_response")]));
    assert_eq!(endpoints, BTreeMap::from(want));

    let stats: BTreeMap<String, (u64, u64)> = list(&found, "STATS")
        .iter()
        .flat_map(|answer| list(answer, "endpoints"))
        .map(|endpoint| {
            let count = endpoint["num_requests"].as_u64().unwrap();
            (text(&endpoint["subject"]), (count, endpoint["num_errors"].as_u64().unwrap()))
        })
        .collect();
    assert_eq!((stats["dfks.get"], stats["dfks.set"]), ((1, 0), (2, 1)), "{stats:?}");
    assert_eq!(stats["dfks.watchers"], (2, 1), "{stats:?}");
    assert_eq!(stats["dfks.route.set"].0, 1, "what is refused at once reaches no worker: {stats:?}");
    wait_for("and it goes on", || (service.state(ALICE, "DoNotDisturb")["version"] == 1).then_some(()));
}

fn found_ping<'a>(found: &'a Value, info: &Value) -> &'a Value {
    list(found, "PING").iter().find(|ping| ping["id"] == info["id"]).unwrap()
}
