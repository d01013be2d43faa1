//! Does one piece of work so many times: `instructions WORK TIMES`. `bench/count.py` has valgrind count what that takes.
//!
//! Nothing here depends on time, chance or the environment: two runs with the same arguments take the same instructions, but
//! for the seeds of hash maps.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench may panic")]

mod notifier;
mod parts;

use std::hint::black_box;

/// The pieces of work, by name; each is made ready once and then done many times.
fn work(name: &str) -> Box<dyn FnMut(u32)> {
    match name {
        "sip-parse" => parts::sip_parse(),
        "sip-write" => parts::sip_write(),
        "csta-read" => parts::csta_read(),
        "csta-write" => parts::csta_write(),
        "script-get" => parts::script(false),
        "script-set" => parts::script(true),
        "record-encode" => parts::record_encode(),
        "record-decode" => parts::record_decode(),
        "notifier-subscribe" => notifier::subscribe(),
        "notifier-press" => notifier::press(),
        "notifier-job" => notifier::job(),
        _ => panic!("there is no work of the name {name}"),
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (name, times) = (arguments.next().unwrap(), arguments.next().unwrap());
    // Rhai finds functions by hash: else some runs meet collisions that others do not
    rhai::config::hashing::set_hashing_seed(Some([1, 2, 3, 4])).unwrap();
    let mut once = work(&name);
    for turn in 0..times.parse().unwrap() {
        once(black_box(turn));
    }
}
