"""Commands from services, the work queues behind them, and the NOTIFYs that tell the phones."""

from model import good_low, lines, number, quantiles, queues, row


def panels():
    return [*commands(), *durable(), *jobs(), *notify()]


def commands():
    return [
        row("MI commands"),
        lines(
            "Commands received, by way",
            "By the way they came: bus is dfks.set, queue dfks.command.set, http POST /mi and PUT /v1.",
            "reqps",
            ("{{via}}", "sum by (via) (rate(dfks_mi_received_total{@}[~]))"),
            stack=True,
        ),
        lines(
            "Commands answered, by outcome",
            "denied: a route or responder refused; invalid: not a command; unavailable: no worker, or NATS away.",
            "reqps",
            ("{{outcome}}", "sum by (outcome) (rate(dfks_mi_commands_total{@}[~])) > 0"),
            stack=True,
            runbook="DfksCommandsFail",
        ),
        lines("Time of a command", "Until its reply.", "s", *quantiles("dfks_mi_command_duration_seconds"), log=True),
        lines(
            "Commands in hand",
            "Commands being carried out, for each bridge.",
            "short",
            ("{{instance}}", "dfks_mi_in_flight{@}"),
        ),
        queues("mi", "a bridge"),
        lines(
            "Dropped by bridges, by reason",
            "overloaded: answered 503 at once; reply_not_sent: carried out, and nobody was told.",
            "reqps",
            ("{{reason}}", "sum by (reason) (rate(dfks_mi_dropped_total{@}[~]))"),
            runbook="DfksQueueFilling",
        ),
        lines(
            "Features whose time is over",
            "ended: off; passed: changed before; refused: denied, or the owner is away, tried again; dead: given up.",
            "reqps",
            ("{{outcome}}", "sum by (outcome) (rate(dfks_mi_timers_total{@}[~])) > 0"),
            stack=True,
        ),
        lines(
            "Requests over HTTP",
            "What a PBX and others ask of /v1; not_modified: they had the newest already.",
            "reqps",
            (
                "{{endpoint}} {{outcome}}",
                "sum by (endpoint, outcome) (rate(dfks_mi_http_requests_total{@}[~])) > 0",
            ),
            stack=True,
        ),
        lines(
            "Time of a request over HTTP",
            "Until its response.",
            "s",
            *quantiles("dfks_mi_http_request_duration_seconds"),
            log=True,
        ),
    ]


def durable():
    return [
        row("Durable commands: DFKS_COMMANDS"),
        number(
            "Commands stored",
            "Commands that are not carried out yet.",
            "short",
            'max(dfks_bus_stream_messages{@,stream="commands"})',
            good_low(100, 1000),
            runbook="DfksCommandsStuck",
        ),
        number(
            "Oldest command",
            "How long the oldest of them has waited.",
            "s",
            'max(dfks_bus_stream_oldest_age_seconds{@,stream="commands"})',
            good_low(30, 120),
            runbook="DfksCommandsStuck",
        ),
        number(
            "Dead letters, 1 h",
            "Dead letters, of commands and jobs.",
            "short",
            'sum(increase(dfks_bus_published_total{@,subject="dfks.dead.<stage>"}[1h]))',
            good_low(0.5, 10),
            runbook="DfksDeadLetters",
            decimals=0,
        ),
        lines(
            "Commands waiting, in hand, again",
            "pending: not delivered; in hand: not acknowledged; again: delivered more than once; takers: requests "
            "that wait for a command.",
            "short",
            ("pending", 'max(dfks_bus_consumer_pending{@,consumer="commands"})'),
            ("in hand", 'max(dfks_bus_consumer_ack_pending{@,consumer="commands"})'),
            ("again", 'max(dfks_bus_consumer_redelivered{@,consumer="commands"})'),
            ("takers", 'max(dfks_bus_consumer_waiting{@,consumer="commands"})'),
            width=6,
            runbook="DfksCommandsStuck",
        ),
        lines(
            "Commands tried again",
            "Attempts that failed and will be repeated.",
            "reqps",
            ("retries", "sum(rate(dfks_mi_retries_total{@}[~]))"),
            width=6,
            runbook="DfksCommandsStuck",
        ),
    ]


def jobs():
    return [
        row("NOTIFY jobs: DFKS_NOTIFY"),
        lines(
            "NOTIFY jobs stored and taken",
            "One job for each edge that holds a watcher.",
            "reqps",
            ("stored by mi", "sum(rate(dfks_mi_jobs_total{@}[~]))"),
            ("taken by edges", "sum(rate(dfks_notify_received_total{@}[~]))"),
        ),
        lines(
            "NOTIFY jobs ended, by outcome",
            "no_watcher: the phone left meanwhile; expired, max_deliver and unreadable end as dead letters.",
            "reqps",
            ("{{outcome}}", "sum by (outcome) (rate(dfks_notify_jobs_total{@}[~]))"),
            runbook="DfksDeadLetters",
        ),
        queues("notify", "NOTIFY jobs"),
        lines(
            "NOTIFY jobs waiting, by edge",
            "pending: not delivered; again: delivered more than once.",
            "short",
            ("{{instance}} pending", 'dfks_bus_consumer_pending{@,consumer="notify"}'),
            ("{{instance}} in hand", 'dfks_bus_consumer_ack_pending{@,consumer="notify"}'),
            ("{{instance}} again", 'dfks_bus_consumer_redelivered{@,consumer="notify"}'),
            width=12,
            runbook="DfksNotifyQueueStuck",
        ),
        lines(
            "Oldest NOTIFY job",
            "It grows when an edge is gone and its phones have not come back elsewhere.",
            "s",
            ("oldest", 'max(dfks_bus_stream_oldest_age_seconds{@,stream="notify"})'),
            width=12,
            bad=120,
            runbook="DfksNotifyQueueStuck",
        ),
    ]


def notify():
    return [
        row("NOTIFYs"),
        lines(
            "NOTIFYs ended, by outcome",
            "expired: no answer in 32 s; rejected: an error of the phone; retried: Retry-After.",
            "reqps",
            ("{{outcome}}", "sum by (outcome) (rate(dfks_notify_sent_total{@}[~])) > 0"),
            stack=True,
            runbook="DfksNotifyFailing",
        ),
        lines(
            "NOTIFYs not delivered, by transport",
            "By transport and outcome.",
            "reqps",
            (
                "{{transport}} {{outcome}}",
                'sum by (transport, outcome) (rate(dfks_notify_sent_total{@,outcome!="delivered"}[~])) > 0',
            ),
            runbook="DfksNotifyFailing",
        ),
        lines(
            "NOTIFYs in flight",
            "NOTIFYs without a final response. It grows when phones are gone: each is waited for for 32 s.",
            "short",
            ("{{instance}}", "dfks_notify_in_flight{@}"),
        ),
        lines(
            "NOTIFYs too large for a datagram",
            "NOTIFYs of one document: over TCP, or, where the phone cannot be reached so, in a datagram all the same.",
            "reqps",
            ("{{transport}}", "sum by (transport) (rate(dfks_notify_oversized_total{@}[~]))"),
        ),
        lines(
            "NOTIFYs to the next server of a name",
            "A server that a Route or Contact leads to gave no connection, no answer or a 503.",
            "reqps",
            ("{{reason}}", "sum by (reason) (rate(dfks_notify_failovers_total{@}[~]))"),
        ),
        lines(
            "Time from a NOTIFY to its response",
            "Of those delivered: network and phone.",
            "s",
            *quantiles("dfks_notify_duration_seconds", where='outcome="delivered"'),
            width=12,
            log=True,
        ),
        lines(
            "Time from a change to the phone's 200",
            "Command, route, job, NOTIFY, phone: all of it.",
            "s",
            *quantiles("dfks_notify_delivery_seconds"),
            width=12,
            log=True,
            runbook="DfksDeliverySlow",
        ),
    ]
