//! What the manual of the OpenSIPS module `presence_dfks` says, sentence by sentence, over the real binary: real SIP, a real
//! nats-server, a route script in a file. Each test is named after the sentences that it quotes.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::float_cmp, reason = "a test may panic")]
#![expect(clippy::doc_markdown, reason = "the manual is quoted as it is")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../harness/mod.rs"]
mod harness;

mod command;
mod field;
mod overview;
mod parameter;

use common::Nats;
use harness::{ALL_OFF, Phone, Product, Service, Setup};

/// The presentity of the manual's example.
const ALICE: &str = "sip:alice@10.0.0.11";

/// All roles with a route script, and a service beside them.
struct Scene {
    service: Service,
    product: Product,
    nats: Nats,
}

impl Scene {
    /// With this script; without any when it is empty.
    fn with(script: &str) -> Self {
        Self::of(script, |setup| setup)
    }

    /// With this script, and a configuration of its own.
    fn of(script: &str, configure: impl FnOnce(Setup) -> Setup) -> Self {
        let nats = Nats::start();
        let setup = configure(Setup::on(&nats));
        let setup = if script.is_empty() { setup } else { setup.script(script) };
        Self { service: Service::on(&nats), product: setup.start(), nats }
    }

    /// A phone that gets the full state in one NOTIFY.
    fn phone(&self) -> Phone {
        Phone::tcp(self.product.tcp())
    }

    /// What the script gave to `log`, in order.
    fn logged(&self) -> Vec<String> {
        let lines = self.product.log_lines();
        lines.iter().filter(|line| line["message"] == "route log").map(|line| line["text"].as_str().unwrap().to_owned()).collect()
    }

    /// Value of a series of `/metrics`.
    fn metric(&self, series: &str) -> f64 {
        self.product.metric(series).unwrap_or_else(|| panic!("no {series}"))
    }
}
