//! The embedded server: found, started, supervised, stopped, and found again.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use dfks::bus::{Embedded, EmbeddedError, setup};
use dfks::config::NatsConfig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::common::{eventually, ports_file, server_binary, wait_for};
use crate::connect;

fn config(dir: &TempDir) -> NatsConfig {
    NatsConfig { data_dir: dir.path().join("data"), embedded_listen: "127.0.0.1:0".into(), ..NatsConfig::default() }
}

async fn start(config: &NatsConfig) -> Embedded {
    crate::common::log();
    Embedded::start(config, Path::new(env!("CARGO_BIN_EXE_dfks"))).await.unwrap()
}

fn pid(config: &NatsConfig) -> i32 {
    std::fs::read_to_string(config.data_dir.join("nats-server.pid")).unwrap().parse().unwrap()
}

fn is_running(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[tokio::test]
async fn a_second_start_finds_the_data_of_the_first() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    for round in 0..2_u8 {
        let embedded = start(&config).await;
        assert_eq!(std::fs::read_to_string(config.data_dir.join("nats.url")).unwrap().trim(), embedded.url());
        assert!(embedded.url().starts_with("nats://127.0.0.1:"), "{}", embedded.url());
        let bus = connect(&NatsConfig { url: embedded.url().into(), ..config.clone() }).await;
        setup::ensure(&bus, 1).await.unwrap();
        let features = bus.jetstream().unwrap().get_key_value("dfks-features").await.unwrap();
        match round {
            0 => drop(features.put("alice", "kept".into()).await.unwrap()),
            _ => assert_eq!(features.get("alice").await.unwrap().unwrap(), "kept"),
        }
        bus.drain().await;
        let pid = pid(&config);
        assert!(is_running(pid));
        embedded.stop().await;
        assert!(!is_running(pid));
        assert!(!config.data_dir.join("nats.url").exists() && !config.data_dir.join("nats-server.pid").exists());
        assert!(config.data_dir.join("jetstream").is_dir());
    }
}

#[tokio::test]
async fn a_server_that_dies_is_started_again_on_its_port() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    let embedded = start(&config).await;
    let bus = connect(&NatsConfig { url: embedded.url().into(), ..config.clone() }).await;
    let first = pid(&config);
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    eventually("disconnected", async || !bus.is_connected()).await;
    tokio::time::timeout(Duration::from_secs(20), bus.connected()).await.expect("connected to the next one");
    assert_ne!(pid(&config), first);
    embedded.stop().await;
}

/// ```text
/// us ─▶ guard ─▶ nats-server    the guard is killed: the server it leaves behind is stopped, another one has its port
/// ```
#[tokio::test]
async fn a_guard_that_is_killed_leaves_no_second_server() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    let embedded = start(&config).await;
    let bus = connect(&NatsConfig { url: embedded.url().into(), ..config.clone() }).await;
    let first = pid(&config);
    let stat = std::fs::read_to_string(format!("/proc/{first}/stat")).unwrap();
    let guard: i32 = stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    assert_ne!(guard, std::process::id().cast_signed(), "it is no child of ours");
    kill(Pid::from_raw(guard), Signal::SIGKILL).unwrap();
    eventually("the first one is gone", async || !is_running(first)).await;
    eventually("disconnected", async || !bus.is_connected()).await;
    tokio::time::timeout(Duration::from_secs(20), bus.connected()).await.expect("connected to the next one");
    assert_ne!(pid(&config), first);
    embedded.stop().await;
}

#[tokio::test]
async fn a_dropped_one_leaves_no_process() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    let embedded = start(&config).await;
    let pid = pid(&config);
    drop(embedded);
    eventually("it is gone", async || !is_running(pid)).await;
}

#[tokio::test]
async fn a_second_one_on_the_same_data_is_refused() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    let embedded = start(&config).await;
    let refused = Embedded::start(&config, Path::new(env!("CARGO_BIN_EXE_dfks"))).await.unwrap_err();
    assert!(matches!(refused, EmbeddedError::InUse(_)), "{refused}");
    assert!(is_running(pid(&config)), "the first one is left alone");
    embedded.stop().await;
}

#[tokio::test]
async fn an_orphan_of_a_killed_run_is_stopped_first() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    start(&config).await.stop().await;
    let data_dir = config.data_dir.canonicalize().unwrap();
    // what a run that was killed leaves behind: the server it started, with its files
    let mut orphan = spawn(&data_dir);
    std::fs::write(data_dir.join("nats-server.pid"), orphan.id().to_string()).unwrap();
    let ready = ports_file(&data_dir, &orphan);
    wait_for("the orphan runs", || ready.exists().then_some(()));
    let reaper = std::thread::spawn(move || orphan.wait().unwrap());
    let embedded = start(&config).await;
    assert_eq!(reaper.join().unwrap().code(), Some(0), "it was stopped gracefully");
    connect(&NatsConfig { url: embedded.url().into(), ..config.clone() }).await;
    embedded.stop().await;
}

fn spawn(data_dir: &Path) -> std::process::Child {
    let mut command = Command::new(server_binary());
    command.arg("-c").arg(data_dir.join("nats-server.conf")).arg("--ports_file_dir").arg(data_dir);
    command.stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test]
async fn a_process_that_only_has_the_orphans_pid_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    std::fs::create_dir(&config.data_dir).unwrap();
    let mut bystander = Command::new("sleep").arg("60").spawn().unwrap();
    std::fs::write(config.data_dir.join("nats-server.pid"), bystander.id().to_string()).unwrap();
    start(&config).await.stop().await;
    assert!(bystander.try_wait().unwrap().is_none(), "it still runs");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let dir = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let config = NatsConfig { embedded_listen: listen.clone(), ..config(&dir) };
    let refused = Embedded::start(&config, Path::new(env!("CARGO_BIN_EXE_dfks"))).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("nats.embedded_listen {listen}")), "{refused}");
    let config = NatsConfig { embedded_listen: "somewhere".into(), ..config };
    assert!(matches!(Embedded::start(&config, Path::new(env!("CARGO_BIN_EXE_dfks"))).await, Err(EmbeddedError::Address(_))));
}

#[tokio::test]
async fn data_that_the_server_refuses_ends_the_start_with_its_words() {
    let dir = TempDir::new().unwrap();
    let config = config(&dir);
    std::fs::create_dir(&config.data_dir).unwrap();
    std::fs::write(config.data_dir.join("jetstream"), "a file").unwrap();
    let refused = Embedded::start(&config, Path::new(env!("CARGO_BIN_EXE_dfks"))).await.unwrap_err();
    assert!(matches!(&refused, EmbeddedError::Ended { complaint, .. } if !complaint.is_empty()), "{refused}");
}
