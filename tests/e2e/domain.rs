//! `nats.domain`: an edge at a branch office, on a leaf node, whose streams and buckets are kept by the hub.

use async_nats::jetstream::context::ContextBuilder;

use crate::ALICE;
use crate::common::{Nats, wait_for};
use crate::harness::{Phone, Service, Setup, dfks, set_dnd};

/// ```text
/// phone ⇄ edge ⇄ leaf node (JetStream domain "branch") ⇄ hub (domain "hub": streams and buckets) ⇄ worker, mi
/// ```
#[test]
fn an_edge_on_a_leaf_node_keeps_its_subscriptions_in_the_domain_of_the_hub() {
    let hub = Nats::in_domain("hub", "leafnodes { listen: \"127.0.0.1:-1\" }");
    let remote = format!("leafnodes {{ remotes: [{{ url: \"nats-leaf://127.0.0.1:{}\" }}] }}", hub.leaf_port());
    let mut leaf = Nats::in_domain("branch", &remote);
    let streams = |nats: &Nats, domain: &'static str| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let client = async_nats::connect(nats.url()).await.unwrap();
            let account = ContextBuilder::new().domain(domain).build(client).query_account().await.unwrap();
            account.streams
        })
    };
    let before = streams(&leaf, "branch");
    let _inside = Setup::on(&hub).role("worker").role("mi").start();
    let mut branch = Setup::on(&leaf).role("edge").with("nats.domain", "hub").start();
    assert_eq!((streams(&leaf, "branch"), streams(&leaf, "hub") >= 7), (before, true));

    let phone = Phone::tcp(branch.tcp());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    // a change of the phone, and one that comes to it: by commands from either side
    dialog.press(set_dnd(true));
    dialog.until("DoNotDisturb on");
    dfks(&["set", ALICE, "CallForwardingBusy", "on", "--value", "forwardTo=sip:bob@h", "--nats", &hub.url()]).ok();
    dialog.until("CallForwardingBusy on forwardTo=sip:bob@h");
    dfks(&["set", ALICE, "DoNotDisturb", "off", "--nats", &leaf.url()]).ok();
    dialog.until("DoNotDisturb off");
    let store = |command: &serde_json::Value| Service::on(&leaf).store("dfks.command.set", command, "x");
    store(&serde_json::json!({"presentity": ALICE, "feature": "DoNotDisturb", "status": 1}));
    dialog.until("DoNotDisturb on");

    // a subscription is kept over a restart of the edge, and of the leaf node
    branch.stop();
    leaf.restart();
    branch.restart();
    wait_for("the subscription is known again", || {
        let listed = dfks(&["watchers", ALICE, "--nats", &hub.url()]);
        (listed.code == 0 && listed.out.contains("1 watcher")).then_some(())
    });
    assert_eq!(branch.metric("dfks_bus_permission_violations_total"), Some(0.0));
}

/// The server that `dfks run` brings along is of the domain too.
#[test]
fn the_embedded_server_is_of_the_domain() {
    let product = Setup::embedded().with("nats.domain", "shop").start();
    let (phone, url) = (Phone::tcp(product.tcp()), product.nats().to_owned());
    let mut dialog = phone.subscribe(ALICE);
    dialog.notify();
    dfks(&["set", ALICE, "DoNotDisturb", "on", "--nats", &url]).ok();
    dialog.until("DoNotDisturb on");
}
