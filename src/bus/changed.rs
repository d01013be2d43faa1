//! Whose feature states have changed since a sequence of their stream, or by whom: for whoever could not be told meanwhile.
//!
//! The bucket keeps one message a key: a presentity whose state is stored anew while it is read comes with the new one, later.

use std::time::{Duration, SystemTime};

use crate::bus::client::Bus;
use crate::bus::error::RequestError;
use crate::bus::feature_record::FeatureRecord;
use crate::bus::kv;
use crate::bus::subject::presentity_of_key;
use crate::bus::watchers::{Feed, FeedError, From};
use crate::feature::Presentity;

/// Timeout of making the consumer: whoever asks tries again.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long reading may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why it is not known what has changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangedError {
    /// How far the bucket is could not be asked.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The bucket could not be read.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// It took too long.
    #[error("not read within {TIMEOUT:?}")]
    Slow,
}

impl Bus {
    /// Sequence of the last feature state that was stored.
    ///
    /// # Errors
    ///
    /// [`RequestError`]
    pub(crate) async fn last_feature_change(&self) -> Result<u64, RequestError> {
        let stream = kv::stream(&self.subjects().feature_bucket());
        self.last_sequence(&stream, self.timeout()).await
    }

    /// The presentities of which a state was stored after `sequence`.
    ///
    /// # Errors
    ///
    /// [`ChangedError`]
    pub async fn features_changed_since(&self, sequence: u64) -> Result<Vec<Presentity>, ChangedError> {
        let read = async {
            let last = self.last_feature_change().await?;
            let mut changed = Vec::new();
            // A stream that was made anew says nothing about what was before.
            if last < sequence {
                return Err(ChangedError::Feed(FeedError::Gap { want: sequence, got: last }));
            }
            if last == sequence {
                return Ok(changed);
            }
            let mut feed = Feed::open(self, &self.subjects().feature_bucket(), From::Sequence(sequence + 1), OPEN_TIMEOUT).await?;
            while !feed.has_all_before(last) {
                let record = feed.next().await?;
                changed.extend(record.and_then(|record| presentity_of_key(&record.key)));
            }
            Ok(changed)
        };
        tokio::time::timeout(TIMEOUT, read).await.map_err(|_elapsed| ChangedError::Slow)?
    }

    /// The subscriptions whose phones have made a change that was stored after `since`: their own edge tells them, nobody else.
    ///
    /// # Errors
    ///
    /// [`ChangedError`]
    pub(crate) async fn pressed_since(&self, since: SystemTime) -> Result<Vec<String>, ChangedError> {
        let read = async {
            let last = self.last_feature_change().await?;
            let mut pressed = Vec::new();
            let mut feed = Feed::open(self, &self.subjects().feature_bucket(), From::Time(since), OPEN_TIMEOUT).await?;
            while !feed.has_all_before(last) {
                let value = feed.next().await?.and_then(|record| record.value);
                let record = value.and_then(|value| serde_json::from_slice::<FeatureRecord>(&value).ok());
                pressed.extend(record.iter().flat_map(|record| record.pressed_since(since)).map(str::to_owned));
            }
            Ok(pressed)
        };
        tokio::time::timeout(TIMEOUT, read).await.map_err(|_elapsed| ChangedError::Slow)?
    }
}
