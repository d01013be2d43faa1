//! Certificates while the edge runs, and before it starts.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::{Nats, wait_for};
use crate::harness::{Authority, Phone, Relay, Setup, certificate_of, dfks};
use crate::{ALICE, ALL_OFF};

#[test]
fn a_new_certificate_is_used_within_two_seconds_and_a_bad_one_is_not() {
    let (nats, authority, folder) = (Nats::start(), Authority::new(), TempDir::new().unwrap());
    let (certificate, key) = authority.write(folder.path());
    let product = Setup::on(&nats)
        .with("sip.listen", vec!["tls:127.0.0.1:0"])
        .with("sip.tls.certificate", certificate.to_str().unwrap())
        .with("sip.tls.key", key.to_str().unwrap())
        .start();
    let relay = Relay::start("tls", product.at("tls"), &authority);
    let phone = Phone::over("TLS", relay.address());
    let mut dialog = phone.subscribe(ALICE);
    assert_eq!(dialog.notify().shows(), ALL_OFF);
    let before = certificate_of(product.at("tls"), &authority);

    std::fs::write(&key, "no key").unwrap();
    let reloads = |outcome: &str| product.metric(&format!("dfks_edge_tls_reloads_total{{outcome=\"{outcome}\"}}"));
    wait_for("a refused reload", || (reloads("failed") == Some(1.0)).then_some(()));
    assert_eq!(certificate_of(product.at("tls"), &authority), before);
    assert!(product.log().contains("tls files not reloaded, those of before stay in use"));

    authority.write(folder.path());
    let changed_at = Instant::now();
    wait_for("the new certificate", || (certificate_of(product.at("tls"), &authority) != before).then_some(()));
    assert!(changed_at.elapsed() < Duration::from_secs(2), "{:?}", changed_at.elapsed());
    dialog.refresh();
    assert_eq!(dialog.notify().shows(), ALL_OFF, "over the connection of before");
}

#[test]
fn files_that_cannot_be_used_are_refused_before_anything_runs() {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    let (certificate, _) = authority.write(folder.path());
    let config = folder.path().join("dfks.toml");
    let text = "[sip]\nlisten = [\"tls:127.0.0.1:0\"]\ntls = { certificate = \"edge.crt\", key = \"edge.crt\" }\n";
    std::fs::write(&config, text).unwrap();
    for command in ["check", "run"] {
        let done = dfks(&[command, "--config", config.to_str().unwrap()]);
        assert_eq!(done.code, 78, "{done:?}");
        let path = certificate.display();
        let want = format!("sip.tls.key = \"{path}\": expected PEM that can be used: no private key in '{path}'");
        assert!(done.err.contains(&want) && done.err.trim().lines().count() == 1, "{done:?}");
    }
}
