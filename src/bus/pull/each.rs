//! Deliveries carried out many at a time. I/O.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::bus::pull::delivery::Delivery;
use crate::bus::pull::{Pull, PullError};

impl Pull {
    /// Carries deliveries out, at most `most` at a time, until `stopping`; then finishes those in hand.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next); what is in hand is dropped then, and comes again.
    pub(crate) async fn each<F: Future<Output = ()>>(
        &mut self,
        most: usize,
        stopping: &CancellationToken,
        carry: impl Fn(Delivery) -> F,
    ) -> Result<(), PullError> {
        let mut in_hand = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                Some(()) = in_hand.next(), if !in_hand.is_empty() => {}
                delivery = self.next(most), if in_hand.len() < most => in_hand.push(carry(delivery?)),
            }
        }
        while in_hand.next().await.is_some() {}
        Ok(())
    }
}
