use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::runtime::clock;

const PACKET: Bytes = Bytes::from_static(b"NOTIFY");

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn started(is_reliable: bool, now: Instant) -> (ClientTransactions<u32>, String) {
    let mut table = ClientTransactions::new(2, Timers::default(), now);
    let branch = table.next_branch(0xfeed).unwrap();
    let text = branch.as_str().to_owned();
    table.start(branch, "NOTIFY", PACKET, is_reliable, 7, now);
    (table, text)
}

/// Lets time pass to `until`, as a driver does, and says when (ms) what came out.
fn run(table: &mut ClientTransactions<u32>, start: Instant, until: Instant) -> Vec<(u64, &'static str)> {
    let mut seen = Vec::new();
    while let Some(at) = table.poll_timeout().filter(|at| *at <= until) {
        table.handle_timeout(at);
        while let Some(output) = table.poll_output() {
            let word = match output {
                ClientOutput::Retransmit(7, packet) if packet == PACKET => "retransmit",
                ClientOutput::TimedOut(7) => "timed out",
                other => panic!("{other:?}"),
            };
            seen.push((u64::try_from((at - start).as_millis()).unwrap(), word));
        }
    }
    seen
}

/// The instants of a list of milliseconds, each met within a tick.
fn assert_times(seen: &[(u64, &str)], want: &[(u64, &str)]) {
    assert_eq!(seen.len(), want.len(), "{seen:?}");
    for ((at, what), (want_at, want_what)) in seen.iter().zip(want) {
        assert_eq!(what, want_what, "{seen:?}");
        assert!((*want_at..=*want_at + 16).contains(at), "{seen:?}");
    }
}

#[test]
fn trying_retransmits_with_timer_e_until_timer_f() {
    let now = clock::now();
    let (mut table, branch) = started(false, now);
    let seen = run(&mut table, now, now + ms(60_000));
    assert_times(
        &seen,
        &[500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]
            .map(|at| (at, "retransmit"))
            .into_iter()
            .chain([(32_000, "timed out")])
            .collect::<Vec<_>>(),
    );
    assert!(table.is_empty());
    assert_eq!(table.handle_response(&branch, "NOTIFY", 200, now + ms(60_000)), None);
}

#[test]
fn proceeding_retransmits_every_t2_until_timer_f() {
    let now = clock::now();
    let (mut table, branch) = started(false, now);
    assert_eq!(table.handle_response(&branch, "NOTIFY", 100, now + ms(100)), Some(ClientEvent::Proceeding));
    assert_eq!(table.handle_response(&branch, "NOTIFY", 183, now + ms(200)), Some(ClientEvent::Proceeding));
    let seen = run(&mut table, now, now + ms(60_000));
    assert_times(
        &seen,
        &[500, 4500, 8500, 12_500, 16_500, 20_500, 24_500, 28_500]
            .map(|at| (at, "retransmit"))
            .into_iter()
            .chain([(32_000, "timed out")])
            .collect::<Vec<_>>(),
    );
}

#[test]
fn a_final_response_ends_both_and_timer_k_absorbs_its_copies() {
    for status in [200, 202, 302, 481, 503, 604] {
        for is_proceeding in [false, true] {
            let now = clock::now();
            let (mut table, branch) = started(false, now);
            if is_proceeding {
                assert_eq!(table.handle_response(&branch, "NOTIFY", 100, now), Some(ClientEvent::Proceeding));
            }
            assert_eq!(table.handle_response(&branch, "NOTIFY", status, now + ms(10)), Some(ClientEvent::Completed(7)));
            assert_eq!(table.handle_response(&branch, "NOTIFY", status, now + ms(20)), Some(ClientEvent::Absorbed));
            assert_eq!(table.handle_response(&branch, "NOTIFY", 100, now + ms(20)), Some(ClientEvent::Absorbed));
            assert_eq!(run(&mut table, now, now + ms(4990)), []);
            assert_eq!(table.handle_response(&branch, "NOTIFY", status, now + ms(4990)), Some(ClientEvent::Absorbed));
            assert_eq!(run(&mut table, now, now + ms(60_000)), [], "no retransmission and no timeout after the end");
            assert!(table.is_empty());
            assert_eq!(table.handle_response(&branch, "NOTIFY", status, now + ms(60_000)), None);
        }
    }
}

#[test]
fn a_reliable_transport_has_timer_f_alone() {
    let now = clock::now();
    let (mut table, _) = started(true, now);
    assert_times(&run(&mut table, now, now + ms(60_000)), &[(32_000, "timed out")]);
    let (mut table, branch) = started(true, now);
    assert_eq!(table.handle_response(&branch, "NOTIFY", 100, now), Some(ClientEvent::Proceeding));
    assert_times(&run(&mut table, now, now + ms(60_000)), &[(32_000, "timed out")]);
    let (mut table, branch) = started(true, now);
    assert_eq!(table.handle_response(&branch, "NOTIFY", 200, now), Some(ClientEvent::Completed(7)));
    assert!(table.is_empty(), "Timer K is zero");
    assert_eq!(table.handle_response(&branch, "NOTIFY", 200, now), None);
}

#[test]
fn only_the_right_branch_and_method_match() {
    let now = clock::now();
    let (mut table, branch) = started(false, now);
    let guessed = branch.replace("feed", "feee");
    for (name, branch, method) in [
        ("another nonce", guessed.as_str(), "NOTIFY"),
        ("another method", &branch, "SUBSCRIBE"),
        ("a foreign branch", "z9hG4bKx", "NOTIFY"),
    ] {
        assert_eq!(table.handle_response(branch, method, 200, now), None, "{name}");
    }
    assert_eq!(table.handle_response(&branch.to_uppercase(), "NOTIFY", 200, now), Some(ClientEvent::Completed(7)));
}

#[test]
fn an_answer_before_the_output_is_drained_stops_the_retransmission() {
    let now = clock::now();
    let (mut table, branch) = started(false, now);
    table.handle_timeout(now + ms(520));
    assert_eq!(table.handle_response(&branch, "NOTIFY", 200, now + ms(520)), Some(ClientEvent::Completed(7)));
    assert_eq!(table.poll_output(), None);
}

#[test]
fn a_late_driver_sends_once_not_what_it_missed() {
    let now = clock::now();
    let (mut table, _) = started(false, now);
    table.handle_timeout(now + ms(10_000));
    assert_eq!(table.poll_output(), Some(ClientOutput::Retransmit(&7, PACKET)));
    assert_eq!(table.poll_output(), None);
    assert_times(&run(&mut table, now, now + ms(12_000)), &[(11_000, "retransmit")]);
}

#[test]
fn is_bounded() {
    let now = clock::now();
    let (mut table, _) = started(false, now);
    let second = table.next_branch(1).unwrap();
    table.start(second, "NOTIFY", PACKET, false, 8, now);
    assert_eq!(table.next_branch(2), None);
    assert_eq!(table.len(), 2);
}

#[test]
fn those_whose_connection_is_lost_come_back_and_are_heard_of_no_more() {
    let now = clock::now();
    let (mut table, branch) = started(true, now);
    let second = table.next_branch(1).unwrap();
    table.start(second, "NOTIFY", PACKET, true, 8, now);
    assert!(table.has(&branch));
    assert_eq!(table.cancel(&branch), Some(7));
    assert_eq!(table.cancel(&branch), None);
    assert!(!table.has(&branch));
    assert_eq!(table.handle_response(&branch, "NOTIFY", 200, now), None);
    table.handle_timeout(now + ms(33_000));
    assert_eq!(table.poll_output(), Some(ClientOutput::TimedOut(8)));
    assert_eq!(table.poll_output(), None);
}

/// Every state with every input: what the user gets, and what of it is left.
///
/// ```text
/// states: Trying, Proceeding, Completed (UDP), gone        inputs: the rows
/// ```
#[test]
fn every_state_takes_every_input() {
    type Input = fn(&mut ClientTransactions<u32>, &str, Instant) -> String;
    type Row = (&'static str, Input, [(&'static str, usize); 4]);
    let answer = |table: &mut ClientTransactions<u32>, branch: &str, status, now| {
        format!("{:?}", table.handle_response(branch, "NOTIFY", status, now))
    };
    let after = |table: &mut ClientTransactions<u32>, now: Instant, time: Duration| {
        table.handle_timeout(now + time);
        format!("{:?}", table.poll_output())
    };
    let (trying, proceeding, completed, gone) = (0, 1, 2, 3);
    // Name, input, then what comes of it in each state, and whether the transaction is still there.
    let rows: Vec<Row> = vec![
        (
            "1xx",
            |table, branch, now| format!("{:?}", table.handle_response(branch, "NOTIFY", 100, now)),
            [("Some(Proceeding)", 1), ("Some(Proceeding)", 1), ("Some(Absorbed)", 1), ("None", 0)],
        ),
        (
            "final",
            |table, branch, now| format!("{:?}", table.handle_response(branch, "NOTIFY", 200, now)),
            [("Some(Completed(7))", 1), ("Some(Completed(7))", 1), ("Some(Absorbed)", 1), ("None", 0)],
        ),
        (
            "another method",
            |table, branch, now| format!("{:?}", table.handle_response(branch, "SUBSCRIBE", 200, now)),
            [("None", 1), ("None", 1), ("None", 1), ("None", 0)],
        ),
        (
            "another branch",
            |table, branch, now| format!("{:?}", table.handle_response(&format!("{branch}0"), "NOTIFY", 200, now)),
            [("None", 1), ("None", 1), ("None", 1), ("None", 0)],
        ),
        ("cancel", |table, branch, _| format!("{:?}", table.cancel(branch)), [("Some(7)", 0), ("Some(7)", 0), ("None", 0), ("None", 0)]),
        ("is ours", |table, branch, _| table.has(branch).to_string(), [("true", 1), ("true", 1), ("true", 1), ("false", 0)]),
    ];
    for (name, input, want) in rows {
        for state in [trying, proceeding, completed, gone] {
            let now = clock::now();
            let (mut table, branch) = in_state(state, now);
            let got = (input(&mut table, &branch, now), table.len());
            assert_eq!((got.0.as_str(), got.1), want[state], "{name} in state {state}");
        }
    }
    // Timers: before any is due; Timer E; Timer K; Timer F.
    for (time, want) in [
        (ms(100), [("None", 1), ("None", 1), ("None", 1), ("None", 0)]),
        (ms(600), [("Some(Retransmit(7, b\"NOTIFY\"))", 1), ("Some(Retransmit(7, b\"NOTIFY\"))", 1), ("None", 1), ("None", 0)]),
        (ms(5100), [("Some(Retransmit(7, b\"NOTIFY\"))", 1), ("Some(Retransmit(7, b\"NOTIFY\"))", 1), ("None", 0), ("None", 0)]),
        (ms(32_100), [("Some(TimedOut(7))", 0), ("Some(TimedOut(7))", 0), ("None", 0), ("None", 0)]),
    ] {
        for state in [trying, proceeding, completed, gone] {
            let now = clock::now();
            let (mut table, branch) = in_state(state, now);
            let got = (after(&mut table, now, time), table.len());
            assert_eq!((got.0.as_str(), got.1), want[state], "{time:?} in state {state}");
            if got.1 == 0 {
                assert_eq!(answer(&mut table, &branch, 200, now + time), "None", "what is gone answers to nothing");
            }
        }
    }
}

/// A table with one transaction in the state, over UDP.
fn in_state(state: usize, now: Instant) -> (ClientTransactions<u32>, String) {
    let (mut table, branch) = started(false, now);
    let answers: &[u16] = [[].as_slice(), &[100], &[200], &[200]][state];
    for status in answers {
        table.handle_response(&branch, "NOTIFY", *status, now);
    }
    if state == 3 {
        table.handle_timeout(now + ms(6000));
        assert!(table.is_empty());
    }
    (table, branch)
}
