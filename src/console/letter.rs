//! Dead letters for pages: listed, published again, taken away. I/O.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::bus::Bus;
use crate::bus::dead::{DeadFilter, DeadLetter};
use crate::bus::message::ErrorBody;

/// Most letters of a list.
const MOST_LISTED: usize = 100;
/// Most letters of one action.
const MOST_AT_ONCE: usize = 100;
/// Most of what a letter says that is shown.
const MOST_SHOWN_BYTES: usize = 4096;

/// Which letters are listed: those that everything given fits.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    reason: Option<String>,
    presentity: Option<String>,
    domain: Option<String>,
}

/// `{"seq":7}` or `{"seq":[7,8]}`
#[derive(Debug, Deserialize)]
pub(super) struct Chosen {
    seq: OneOrMore,
    pub(super) actor: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(u64),
    More(Vec<u64>),
}

/// What is done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Replay,
    Drop,
}

/// The newest first.
pub(super) async fn listed(bus: &Bus, wanted: Wanted) -> Result<Value, ErrorBody> {
    let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let filter = DeadFilter { reason: given(wanted.reason), presentity: given(wanted.presentity), domain: given(wanted.domain) };
    let list = bus.dead_letters(&filter.check()?, MOST_LISTED).await;
    let list = list.map_err(|error| ErrorBody::new(503, format!("the dead letters cannot be read: {error}")))?;
    let letters: Vec<_> = list.letters.iter().rev().map(shown).collect();
    Ok(json!({ "letters": letters, "has_more": list.has_more }))
}

fn shown(letter: &DeadLetter) -> Value {
    let mut value = json!(letter);
    let text = letter.payload.to_string();
    let of = letter.presentity().map(|of| of.as_str().to_owned());
    if let Some(fields) = value.as_object_mut() {
        fields.insert("presentity".to_owned(), json!(of));
        fields.insert("features".to_owned(), json!(letter.features()));
        if text.len() > MOST_SHOWN_BYTES {
            let cut: String = text.chars().take(MOST_SHOWN_BYTES).chain(['…']).collect();
            fields.insert("payload".to_owned(), cut.into());
        }
    }
    value
}

/// Does it, one after another; where it is one alone, its error is that of all.
pub(super) async fn act(bus: &Bus, fate: Fate, chosen: Chosen, actor: &str) -> Result<Value, ErrorBody> {
    let all = match chosen.seq {
        OneOrMore::One(seq) => vec![seq],
        OneOrMore::More(all) => all,
    };
    if all.is_empty() || all.len() > MOST_AT_ONCE {
        return Err(ErrorBody::bad(Some("seq"), format!("{} letters: expected 1 to {MOST_AT_ONCE}", all.len())));
    }
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for seq in &all {
        let acted = match fate {
            Fate::Replay => bus.replay_dead(*seq, Some(actor)).await,
            Fate::Drop => bus.drop_dead(*seq, Some(actor)).await,
        };
        match acted {
            Ok(letter) => done.push(letter.seq),
            Err(error) if all.len() == 1 => return Err(error.body()),
            Err(error) => failed.push(json!({ "seq": seq, "error": error.body() })),
        }
    }
    Ok(json!({ "done": done, "failed": failed }))
}
