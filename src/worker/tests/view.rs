use super::*;

const ALICE: &str = "sip:alice@example.com";

fn value(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[test]
fn gives_what_was_kept_last_until_it_is_forgotten() {
    let view = View::new();
    assert!(view.known(ALICE).is_none());
    view.keep(ALICE, 3, value("three"));
    view.keep(ALICE, 4, value("four"));
    let kept = view.known(ALICE).unwrap();
    assert_eq!((kept.revision, &*kept.value), (4, &b"four"[..]));
    view.forget(ALICE);
    assert!(view.known(ALICE).is_none());
}

#[test]
fn is_used_while_four_of_five_hold() {
    let used = |held_between_lost: u32| {
        let view = View::new();
        view.keep(ALICE, 1, value("one"));
        (0..1000)
            .filter(|turn| {
                let is_used = view.known(ALICE).is_some();
                if is_used {
                    view.tried(turn % (held_between_lost + 1) != 0);
                }
                is_used
            })
            .count()
    };
    assert_eq!(used(9), 1000);
    // each second one is out of date: hardly more than are tried
    assert!(used(1) < 100, "{}", used(1));
}

#[test]
fn is_tried_again_once_it_holds_again() {
    let view = View::new();
    view.keep(ALICE, 1, value("one"));
    for _ in 0..2 {
        view.tried(false);
    }
    let until_used = (1..=4 * PROBE).filter(|_| view.known(ALICE).inspect(|_| view.tried(true)).is_some()).count();
    assert_eq!(until_used, 4, "one in {PROBE} while it is not trusted");
    assert!(view.known(ALICE).is_some());
    assert!(view.known(ALICE).is_some());
}

#[test]
fn holds_no_more_than_its_bound() {
    let view = View::new();
    let large = value(&"x".repeat(64 * 1024));
    for number in 0..1000 {
        view.keep(&format!("sip:{number}@example.com"), number, large.clone());
    }
    view.records.run_pending_tasks();
    assert!(view.records.weighted_size() <= MAX_BYTES);
    assert!(view.records.entry_count() > 200, "{}", view.records.entry_count());
}
