//! The model of nats-server against the real one: the same random programs on both, and every answer, delivery and state compared.
//!
//! ```text
//! seed ─▶ program ─▶ model:  what is to come ─┐
//!             └────▶ nats-server: what comes ─┴─▶ the same, but for times and random names
//! ```
//! `MODEL_PROGRAMS=5000` runs that many, `MODEL_SEED=17` one of them. A program that tells the two apart is made short, and printed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test may panic, spawn, read the clock, and say what it ran"
)]

#[path = "../common/mod.rs"]
mod common;

mod modelled;
mod program;
mod real;
mod seen;
mod timed;

use std::time::{Duration, Instant};

use common::Nats;
use modelled::Modelled;
use program::{Kind, Op, program};
use real::Real;
use seen::{Seen, show};

/// Programs of the short form.
const PROGRAMS: u64 = 400;
/// After so many differences it ends.
const MOST_FOUND: usize = 30;
/// Most runs while a program is made short.
const MOST_SHRINKS: usize = 120;
/// What nobody expects comes by then.
const NOTHING_MORE: Duration = Duration::from_millis(15);

/// Where the two differ.
#[derive(Debug)]
struct Difference {
    step: usize,
    op: Op,
    model: Vec<Seen>,
    real: Vec<Seen>,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_model_does_what_the_server_does() {
    let (first, count) = match number("MODEL_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("MODEL_PROGRAMS").unwrap_or(PROGRAMS)),
    };
    compare(first, count, |seed| program(seed, Kind::Quick));
}

/// The same with waits in it: acknowledgements that are late, requests that end, clients that are pinned no longer.
#[test]
fn the_model_keeps_the_servers_times() {
    let count = number("MODEL_PROGRAMS").unwrap_or(PROGRAMS) / 50;
    compare(1_000_000, count.max(1), |seed| program(seed, Kind::Timed));
    compare(2_000_000, 2, timed::program);
}

fn compare(first: u64, count: u64, program: impl Fn(u64) -> Vec<Op>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut nats = Nats::start();
    let (mut found, mut ops) = (Vec::new(), 0);
    let began = Instant::now();
    for seed in first..first + count {
        let program = program(seed);
        ops += program.len();
        if let Some(difference) = runtime.block_on(run(&mut nats, &program)) {
            let first = format!("seed {seed}, at first in step {}: {:?}", difference.step, difference.op);
            let (short, difference) = shrink(&runtime, &mut nats, program, difference);
            found.push(format!("{first}\n{}", story(seed, &short, &difference)));
        }
        assert!(found.len() < MOST_FOUND, "{} differences\n{}", found.len(), found.join("\n"));
    }
    println!("{count} programs of {ops} steps, {:.1} s", began.elapsed().as_secs_f64());
    assert!(found.is_empty(), "{} of {count} programs\n{}", found.len(), found.join("\n"));
}

/// Runs a program on both; the first difference.
async fn run(nats: &mut Nats, program: &[Op]) -> Option<Difference> {
    let mut real = Real::begin(nats).await;
    let began = Instant::now();
    let mut model = Modelled::new();
    let mut difference = None;
    for (step, op) in program.iter().enumerate() {
        let op = model.resolve(op);
        let wanted = model.carry_out(&op, began.elapsed());
        real.carry_out(nats, &op).await;
        // time has passed on both
        let mut wanted = wanted;
        let got = if let Op::Wait { .. } = op {
            wanted.extend(model.advance(began.elapsed()));
            real.collect(&wanted).await
        } else {
            real.collect(&wanted).await
        };
        let (wanted, got) = (seen::in_order(wanted), seen::in_order(got));
        if wanted != got {
            difference = Some(Difference { step, op, model: wanted, real: got });
            break;
        }
    }
    if difference.is_none() {
        tokio::time::sleep(NOTHING_MORE).await;
        let more = real.left();
        if let (false, Some(op)) = (more.is_empty(), program.last()) {
            difference = Some(Difference { step: program.len(), op: op.clone(), model: Vec::new(), real: more });
        }
    }
    real.end(nats).await;
    difference
}

/// Leaves out what is not needed to tell them apart.
fn shrink(runtime: &tokio::runtime::Runtime, nats: &mut Nats, program: Vec<Op>, difference: Difference) -> (Vec<Op>, Difference) {
    let (mut program, mut difference) = (program, difference);
    program.truncate(difference.step + 1);
    let mut at = program.len();
    for _ in 0..MOST_SHRINKS {
        if at == 0 {
            break;
        }
        at -= 1;
        let mut shorter = program.clone();
        shorter.remove(at);
        if shorter.is_empty() {
            continue;
        }
        if let Some(still) = runtime.block_on(run(nats, &shorter)) {
            shorter.truncate(still.step + 1);
            at = at.min(shorter.len());
            (program, difference) = (shorter, still);
        }
    }
    (program, difference)
}

fn story(seed: u64, program: &[Op], difference: &Difference) -> String {
    let steps: Vec<String> = program.iter().map(|op| format!("    {op:?}")).collect();
    let Difference { step, op, model, real } = difference;
    let (model, real) = (show(model), show(real));
    format!("seed {seed}, step {step}: {op:?}\n  program\n{}\n  model\n{model}\n  nats-server\n{real}", steps.join("\n"))
}
