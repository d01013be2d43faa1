//! What others put beside the commands in their work queue.

use async_nats::jetstream::consumer::{PriorityPolicy, PullConsumer, pull};

use super::durable::{Queue, dnd, ok, params};
use super::*;

/// The consumer that was made before took `dfks.command.set` alone.
#[tokio::test]
async fn what_comes_on_no_subject_of_a_command_is_put_aside_also_where_the_consumer_is_an_older_one() {
    let queue = Queue::start().await;
    let asked = queue.worker(ok).await;
    let made = pull::Config {
        durable_name: Some("mi".into()),
        filter_subject: "dfks.command.set".into(),
        max_ack_pending: 77,
        priority_policy: PriorityPolicy::PinnedClient,
        priority_groups: vec!["one".into()],
        priority_timeout: Duration::from_secs(2),
        ..Default::default()
    };
    queue.stream("DFKS_COMMANDS").await.create_consumer(made).await.unwrap();
    let elsewhere = async |subject: &'static str| queue.client.publish(subject, "{}".into()).await.unwrap();
    elsewhere("dfks.command.get").await;
    queue.publish(&dnd("alice", 1, 0), None).await;
    let _bridge = queue.bridge().await;
    elsewhere("dfks.command.set.more.still").await;
    common::eventually("the queue is empty", async || queue.left().await == 0).await;
    let dead = queue.dead(2).await;
    for (reason, detail, payload) in &dead {
        let want = ("unknown_subject", "no command comes on this subject: expected dfks.command.set or dfks.command.set.<domain>", "{}");
        assert_eq!((reason.as_str(), detail.as_str(), payload.as_str()), want);
    }
    assert_eq!(params(&asked), ["0"]);
    let mut consumer: PullConsumer = queue.stream("DFKS_COMMANDS").await.get_consumer("mi").await.unwrap();
    let config = consumer.info().await.unwrap().config.clone();
    assert_eq!((config.filter_subject.as_str(), config.max_ack_pending), ("dfks.command.>", 77), "an operator's setting stays");
}
