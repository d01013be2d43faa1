//! The Lua of `examples/freeswitch`, with a stand-in for FreeSWITCH.

use std::process::Command;

use crate::common::Nats;
use crate::harness::{Setup, dfks_with, root};

#[test]
fn the_lua_for_freeswitch_asks_and_sets() {
    if Command::new("lua5.4").arg("-v").output().is_err() {
        eprintln!("skipped: Lua is not there (Debian: lua5.4)");
        return;
    }
    let nats = Nats::start();
    let mut product = Setup::on(&nats).with("mi.http", "127.0.0.1:0").start();
    let url = format!("http://{}", product.mi());
    let lua = |url: &str, args: &[&str]| {
        let mut command = Command::new("lua5.4");
        command.arg(root("tests/e2e/freeswitch.lua")).arg(root("examples/freeswitch/dfks.lua")).args(args).env("DFKS", url);
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let nothing = ["dfks_dnd=false", "dfks_always=", "dfks_busy=", "dfks_no_answer=", "dfks_ring_seconds=60"];
    let ask = ["ask", "2001", "example.com"];
    assert_eq!(lua(&url, &ask), nothing);

    assert_eq!(lua(&url, &["set", "2001", "example.com", "DoNotDisturb", "on"]), ["dfks_set=true"]);
    assert_eq!(lua(&url, &["set", "2001", "example.com", "CallForwardingAlways", "on", "2002"]), ["dfks_set=true"]);
    assert_eq!(lua(&url, &["set", "2001", "example.com", "NoSuchFeature", "on"]), ["dfks_set=false"]);
    let said = dfks_with(&nats, &["get", "sip:2001@example.com", "DND", "CFA"]).ok();
    assert!(said.contains("DoNotDisturb            on") && said.contains("forwardTo=2002"), "{said}");
    let no_answer = ["--value", "forwardTo=sip:2003@example.com", "--value", "ringCount=4"];
    dfks_with(&nats, &[&["set", "sip:2001@example.com", "CFNA", "on"][..], &no_answer].concat()).ok();
    dfks_with(&nats, &["set", "sip:2001@example.com", "CFB", "on", "--value", "forwardTo=sip:bob@elsewhere.com"]).ok();
    let want = ["dfks_dnd=true", "dfks_always=2002", "dfks_busy=sip:bob@elsewhere.com", "dfks_no_answer=2003", "dfks_ring_seconds=24"];
    assert_eq!(lua(&url, &ask), want);

    // away: the phone rings
    product.kill();
    assert_eq!(lua(&url, &ask), nothing);
    assert_eq!(lua(&url, &["set", "2001", "example.com", "DoNotDisturb", "off"]), ["dfks_set=false"]);
}
