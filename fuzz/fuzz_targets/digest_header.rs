//! Any Authorization line: read, proved against a password that it does not have, its nonce spent.
#![no_main]

use std::hint::black_box;
use std::time::Instant;

use dfks::edge::gate::users::Users;
use dfks::sip::digest::{Algorithm, Credentials, Ha1, Nonces, Spent};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &str| {
    let now = Instant::now();
    let mut nonces = Nonces::new([7; 64], now);
    if let Ok(credentials) = Credentials::parse(line) {
        for (algorithm, digits) in [(Algorithm::Md5, 32), (Algorithm::Sha256, 64), (Algorithm::Sha512_256, 64)] {
            let ha1 = Ha1::parse(algorithm, &"5a".repeat(digits / 2)).expect("an HA1");
            assert!(!credentials.prove("SUBSCRIBE", &ha1));
        }
        // none of ours can be made up
        assert!(matches!(nonces.spend(&credentials.nonce, credentials.count(), now), Spent::Stale));
    }
    black_box(Users::parse(line).is_ok());
});
