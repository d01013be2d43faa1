"""One look: are phones served, how fast does a change reach the phone, which stage is slow, which responder fails,
and what is lost or refused. One row a stage, in the order of the flow."""

from model import ALERTS, good_high, good_low, lines, number, quantiles, row


def panels():
    return [
        *glance(),
        row("Edge: phones ⇄ SIP"),
        lines(
            "SUBSCRIBEs answered, by code",
            "By status code. 401 is the challenge of digest, 423 a lifetime that is too short: both are normal.",
            "reqps",
            ("{{code}}", 'sum by (code) (rate(dfks_edge_requests_total{@,method="SUBSCRIBE"}[~])) > 0'),
            stack=True,
            runbook="DfksSubscribesFail",
        ),
        lines(
            "Time of a SUBSCRIBE",
            "From a SUBSCRIBE's arrival to its final response, storing included.",
            "s",
            *quantiles("dfks_edge_request_duration_seconds", where='method="SUBSCRIBE"'),
            log=True,
        ),
        lines(
            "Live subscriptions",
            "Live subscriptions of all edges; grace: past their expiry, and not given up yet.",
            "short",
            ("{{state}}", "sum by (state) (dfks_edge_subscriptions{@})"),
            stack=True,
            runbook="DfksSubscriptionsNearLimit",
        ),
        row("Bus: NATS and JetStream"),
        lines(
            "Requests on the bus, p95",
            "From a request or store to its answer, by subject: the slow one is the slow stage.",
            "s",
            *quantiles("dfks_bus_request_duration_seconds", by="subject", where='outcome="ok"', of=(0.95,)),
            log=True,
        ),
        lines(
            "Requests on the bus not answered",
            "By outcome. no_responders: nobody listens; disconnected: NATS is away; stream: JetStream refuses.",
            "reqps",
            ("{{outcome}}", 'sum by (outcome) (rate(dfks_bus_request_duration_seconds_count{@,outcome!="ok"}[~]))'),
            runbook="DfksNatsAway",
        ),
        lines(
            "Age of the oldest message",
            "In the work queues. It grows when nobody takes what is stored.",
            "s",
            ("{{stream}}", 'max by (stream) (dfks_bus_stream_oldest_age_seconds{@,stream=~"commands|notify"})'),
            runbook="DfksNotifyQueueStuck",
            bad=120,
        ),
        row("Worker: routes and responders"),
        lines(
            "Requests answered, by outcome",
            "Gets and sets that workers ended.",
            "reqps",
            ("{{kind}} {{outcome}}", "sum by (kind, outcome) (rate(dfks_worker_requests_total{@}[~])) > 0"),
            stack=True,
            runbook="DfksWorkerSlow",
        ),
        lines(
            "Time of a get and a set",
            "Responder, script and store included.",
            "s",
            *quantiles("dfks_worker_request_duration_seconds", by="kind", of=(0.5, 0.99)),
            log=True,
            runbook="DfksWorkerSlow",
        ),
        lines(
            "Responders that fail, share",
            "Of the requests to who owns a feature: failed, late or, after many of them, not asked. "
            "That responder is to be looked at.",
            "percentunit",
            (
                "{{feature}} {{kind}}",
                """sum by (feature, kind)
               (rate(dfks_worker_responder_answers_total{@,outcome=~"failed|timeout|open"}[~]))
               / (sum by (feature, kind)
               (rate(dfks_worker_responder_answers_total{@,outcome!~"none|observer"}[~])) > 0)""",
            ),
            runbook="DfksResponderFailing",
            bad=0.1,
        ),
        row("MI: commands from services"),
        lines(
            "Commands answered, by outcome",
            "From dfks.set, dfks.command.set and POST /mi together.",
            "reqps",
            ("{{outcome}}", "sum by (outcome) (rate(dfks_mi_commands_total{@}[~])) > 0"),
            stack=True,
        ),
        lines(
            "Time of a command",
            "Until its reply: route run, NOTIFY jobs stored. A durable command's waits between attempts are included.",
            "s",
            *quantiles("dfks_mi_command_duration_seconds"),
            log=True,
        ),
        lines(
            "Durable commands waiting",
            "Durable commands that are stored: not delivered yet, and in the hands of a bridge.",
            "short",
            ("pending", 'max(dfks_bus_consumer_pending{@,consumer="commands"})'),
            ("in hand", 'max(dfks_bus_consumer_ack_pending{@,consumer="commands"})'),
            runbook="DfksCommandsStuck",
        ),
        row("NOTIFY: to the phones"),
        lines(
            "NOTIFYs ended, by outcome",
            "delivered: the phone said 2xx. no_connection: its TCP, TLS or WebSocket connection is gone.",
            "reqps",
            ("{{outcome}}", "sum by (outcome) (rate(dfks_notify_sent_total{@}[~])) > 0"),
            stack=True,
            runbook="DfksNotifyFailing",
        ),
        lines(
            "Time from a change to the phone's 200",
            "Of changes that phones were told: what a user waits for until the lamp changes.",
            "s",
            *quantiles("dfks_notify_delivery_seconds"),
            log=True,
            runbook="DfksDeliverySlow",
        ),
        lines(
            "NOTIFY jobs waiting",
            "NOTIFY jobs of the busiest edge: stored, and in the hands of the edge.",
            "short",
            ("pending", 'max(dfks_bus_consumer_pending{@,consumer="notify"})'),
            ("in hand", 'max(dfks_bus_consumer_ack_pending{@,consumer="notify"})'),
            runbook="DfksNotifyQueueStuck",
        ),
        row("Lost and refused: what, and why"),
        lines(
            "Refused by edges, by code",
            "Final responses other than 200 and 401, by code.",
            "reqps",
            ("{{code}}", 'sum by (code) (rate(dfks_edge_requests_total{@,code!~"200|401"}[~])) > 0'),
            runbook="DfksPhonesRefused",
        ),
        lines(
            "Not handled, by stage and reason",
            "What each stage dropped, by reason.",
            "reqps",
            ("edge {{reason}}", "sum by (reason) (rate(dfks_edge_dropped_total{@}[~])) > 0"),
            ("bus {{reason}}", "sum by (reason) (rate(dfks_bus_dropped_total{@}[~])) > 0"),
            ("worker {{reason}}", "sum by (reason) (rate(dfks_worker_dropped_total{@}[~])) > 0"),
            ("mi {{reason}}", "sum by (reason) (rate(dfks_mi_dropped_total{@}[~])) > 0"),
            runbook="DfksBusLoses",
        ),
        lines(
            "Dead letters, 15 min",
            "Commands and jobs that were given up, in 15 minutes. "
            "The stream DFKS_DEAD keeps them, with the reason in their headers.",
            "short",
            (
                "{{instance}}",
                'sum by (instance) (increase(dfks_bus_published_total{@,subject="dfks.dead.<stage>"}[15m]))',
            ),
            runbook="DfksDeadLetters",
            bad=1,
        ),
    ]


def glance():
    return [
        row("At a glance"),
        number(
            "Subscriptions",
            "Live subscriptions of all edges, within their lifetime.",
            "short",
            'sum(dfks_edge_subscriptions{@,state="active"})',
            width=3,
        ),
        number(
            "SUBSCRIBEs ok",
            "Share of SUBSCRIBEs that were not answered 5xx.",
            "percentunit",
            """1 - sum(rate(dfks_edge_requests_total{@,method="SUBSCRIBE",code=~"5.."}[~]))
               / (sum(rate(dfks_edge_requests_total{@,method="SUBSCRIBE"}[~])) > 0)""",
            good_high(0.95, 0.99),
            runbook="DfksSubscribesFail",
            width=3,
            empty="no traffic",
        ),
        number(
            "To phone, p95",
            "From a change to the 200 of a phone that was told it, 95th percentile.",
            "s",
            quantiles("dfks_notify_delivery_seconds", of=(0.95,))[0][1],
            good_low(0.5, 1),
            runbook="DfksDeliverySlow",
            width=3,
            empty="no change",
        ),
        number(
            "NOTIFYs delivered",
            "Share of NOTIFYs that got a 2xx.",
            "percentunit",
            """sum(rate(dfks_notify_sent_total{@,outcome="delivered"}[~]))
               / (sum(rate(dfks_notify_sent_total{@}[~])) > 0)""",
            good_high(0.9, 0.97),
            runbook="DfksNotifyFailing",
            width=3,
            empty="no traffic",
        ),
        number(
            "Oldest in a queue",
            "Of what is stored and not carried out.",
            "s",
            'max(dfks_bus_stream_oldest_age_seconds{@,stream=~"commands|notify"})',
            good_low(30, 120),
            runbook="DfksCommandsStuck",
            width=3,
        ),
        number(
            "Dead letters, 1 h",
            "Commands and jobs that were given up.",
            "short",
            'sum(increase(dfks_bus_published_total{@,subject="dfks.dead.<stage>"}[1h]))',
            good_low(0.5, 10),
            runbook="DfksDeadLetters",
            width=3,
            decimals=0,
        ),
        number(
            "Without NATS",
            "Processes without a connection to NATS: they answer 503 to phones and commands.",
            "short",
            "count(dfks_bus_connected{@}) - sum(dfks_bus_connected{@})",
            good_low(1, 1),
            runbook="DfksNatsAway",
            width=3,
        ),
        number(
            "Fullest queue",
            "The bounded queue that is nearest to its capacity, over all stages.",
            "percentunit",
            """max(dfks_edge_queue_depth{@} / dfks_edge_queue_capacity{@}
               or dfks_worker_queue_depth{@} / dfks_worker_queue_capacity{@}
               or dfks_mi_queue_depth{@} / dfks_mi_queue_capacity{@}
               or dfks_notify_queue_depth{@} / dfks_notify_queue_capacity{@})""",
            good_low(0.5, 0.8),
            runbook="DfksQueueFilling",
            width=3,
        ),
        *firing(),
    ]


def firing():
    """What the rules of grafana/rules say; without them in Prometheus nothing fires."""
    critical = ALERTS.replace("{", '{severity="critical",')
    return [
        number(
            "Critical alerts firing",
            "Of the rules of grafana/rules: somebody must act now.",
            "short",
            f"count({critical}) or vector(0)",
            [(0, "green"), (1, "red")],
            height=7,
        ),
        number(
            "Alerts firing",
            "Of the rules of grafana/rules, warnings included.",
            "short",
            f"count({ALERTS}) or vector(0)",
            [(0, "green"), (1, "orange")],
            height=7,
        ),
        lines(
            "Alerts firing, by name",
            "Each alert of grafana/rules while it fires; a runbook of its name is in docs/runbooks.",
            "short",
            ("{{alertname}} ({{severity}})", f"count by (alertname, severity) ({ALERTS})"),
            width=16,
            stack=True,
        ),
    ]
