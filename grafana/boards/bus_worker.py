"""NATS as the roles see it, and the workers: routes, responders, scripts."""

from model import good_low, lines, number, quantiles, queues, row


def panels():
    return [*bus(), *streams(), *worker(), *responders()]


def bus():
    return [
        row("Bus"),
        number(
            "Processes without NATS",
            "They answer 503 to phones and commands.",
            "short",
            "count(dfks_bus_connected{@}) - sum(dfks_bus_connected{@})",
            good_low(1, 1),
            runbook="DfksNatsAway",
        ),
        number(
            "Reconnects, 1 h",
            "Connections to NATS after the first.",
            "short",
            "sum(increase(dfks_bus_reconnects_total{@}[1h]))",
            good_low(1, 10),
            runbook="DfksNatsFlapping",
            decimals=0,
        ),
        number(
            "Permissions refused, 1 h",
            "Subjects that the server refused us: the log names them.",
            "short",
            "sum(increase(dfks_bus_permission_violations_total{@}[1h]))",
            good_low(0.5, 0.5),
            runbook="DfksPermissionMissing",
            decimals=0,
        ),
        lines(
            "Connected to NATS",
            "1 while connected.",
            "short",
            ("{{instance}}", "dfks_bus_connected{@}"),
            width=12,
            height=4,
            runbook="DfksNatsAway",
        ),
        lines(
            "Messages published, by subject",
            "By its pattern; requests included.",
            "pps",
            ("{{subject}}", "sum by (subject) (rate(dfks_bus_published_total{@}[~])) > 0"),
            stack=True,
        ),
        lines(
            "Time of requests and stores, p95",
            "By the pattern of the subject; those that were answered.",
            "s",
            *quantiles("dfks_bus_request_duration_seconds", by="subject", where='outcome="ok"', of=(0.95,)),
            log=True,
        ),
        lines(
            "Requests on the bus in flight",
            "Waiting for their answer.",
            "short",
            ("{{instance}}", "dfks_bus_requests_in_flight{@}"),
        ),
        lines(
            "Requests that got no answer",
            "By subject and outcome.",
            "reqps",
            (
                "{{subject}} {{outcome}}",
                'sum by (subject, outcome) (rate(dfks_bus_request_duration_seconds_count{@,outcome!="ok"}[~])) > 0',
            ),
            runbook="DfksNatsAway",
        ),
        lines(
            "Messages not sent or not read",
            "Messages that were not sent, by reason, and times that we read too slowly.",
            "pps",
            ("{{reason}}", "sum by (reason) (rate(dfks_bus_dropped_total{@}[~]))"),
            ("slow consumer", "sum(rate(dfks_bus_slow_consumers_total{@}[~]))"),
            runbook="DfksBusLoses",
        ),
        lines(
            "Watcher index: subscriptions known",
            "Subscriptions that each edge and mi bridge knows; they should agree. Loads: it read all of them.",
            "short",
            ("{{instance}}", "dfks_bus_index_subscriptions{@}"),
            ("loads, 15 min", "sum(increase(dfks_bus_index_loads_total{@}[15m]))"),
            ("interruptions, 15 min", "sum(increase(dfks_bus_index_interruptions_total{@}[15m]))"),
            ("unreadable", "sum(increase(dfks_bus_index_unreadable_total{@}[15m]))"),
        ),
    ]


def streams():
    return [
        row("Streams and buckets"),
        lines(
            "Messages in streams and buckets",
            "What is kept in JetStream.",
            "short",
            ("{{stream}}", "max by (stream) (dfks_bus_stream_messages{@})"),
            width=6,
            log=True,
        ),
        lines(
            "Streams: how full",
            "Bytes against the limit of the stream. "
            "A full work queue refuses new work; the others let go of the oldest.",
            "percentunit",
            ("{{stream}}", "max by (stream) (dfks_bus_stream_bytes{@} / (dfks_bus_stream_limit_bytes{@} > 0))"),
            width=6,
            bad=0.8,
            runbook="DfksStreamFilling",
        ),
        lines(
            "Age of the oldest message",
            "In the work queues.",
            "s",
            ("{{stream}}", 'max by (stream) (dfks_bus_stream_oldest_age_seconds{@,stream=~"commands|notify"})'),
            width=6,
            bad=120,
            runbook="DfksNotifyQueueStuck",
        ),
        lines(
            "Looks at the streams, by outcome",
            "Failed ones: the numbers of this row are old.",
            "reqps",
            ("{{outcome}}", "sum by (outcome) (rate(dfks_bus_queue_looks_total{@}[~]))"),
            width=6,
            runbook="DfksNatsAway",
        ),
    ]


def worker():
    return [
        row("Worker"),
        lines(
            "Requests received, by kind",
            "By kind: get for whoever asks, set for every change.",
            "reqps",
            ("{{kind}}", "sum by (kind) (rate(dfks_worker_received_total{@}[~]))"),
            stack=True,
        ),
        lines(
            "Requests handed over in memory",
            "Of those received, the ones that edge and mi bridge of the same process handed over "
            "without NATS (run.local).",
            "reqps",
            ("{{kind}}", "sum by (kind) (rate(dfks_worker_local_requests_total{@}[~]))"),
            stack=True,
        ),
        lines(
            "Requests answered, by outcome",
            "denied is a rule at work; responder_failed, store_failed and internal are faults.",
            "reqps",
            ("{{kind}} {{outcome}}", "sum by (kind, outcome) (rate(dfks_worker_requests_total{@}[~])) > 0"),
            stack=True,
            runbook="DfksWorkerSlow",
        ),
        lines(
            "Time of a get and a set",
            "By kind: responder, script and store included.",
            "s",
            *quantiles("dfks_worker_request_duration_seconds", by="kind", of=(0.5, 0.95, 0.99)),
            log=True,
            runbook="DfksWorkerSlow",
        ),
        lines(
            "Requests in hand",
            "Requests in hand, for each worker.",
            "short",
            ("{{instance}}", "dfks_worker_in_flight{@}"),
        ),
        queues("worker", "a worker"),
        lines(
            "Dropped by workers, by reason",
            "overloaded: answered 503 at once; responder_busy: too many wait for one responder.",
            "reqps",
            ("{{reason}}", "sum by (reason) (rate(dfks_worker_dropped_total{@}[~]))"),
            runbook="DfksQueueFilling",
        ),
    ]


def responders():
    return [
        row("Responders and scripts"),
        lines(
            "Answers of responders, by outcome",
            "none: nobody listens, the store answers.",
            "reqps",
            ("{{kind}} {{outcome}}", "sum by (kind, outcome) (rate(dfks_worker_responder_requests_total{@}[~])) > 0"),
            stack=True,
            runbook="DfksResponderFailing",
        ),
        lines(
            "Responders that fail, by feature",
            "Failed or late answers; open: not asked, because so many failed before.",
            "reqps",
            (
                "{{feature}} {{kind}} {{outcome}}",
                """sum by (feature, kind, outcome)
               (rate(dfks_worker_responder_answers_total{@,outcome=~"failed|timeout|open"}[~])) > 0""",
            ),
            runbook="DfksResponderFailing",
        ),
        lines(
            "Circuit breakers of responders",
            "Circuit breakers, each of one tenant and feature: after 5 late or failed answers in a row the last "
            "known state is served.",
            "short",
            ("{{kind}} {{state}}", "sum by (kind, state) (dfks_worker_breakers{@})"),
            (
                "{{kind}} opened, 15 min",
                """sum by (kind) (increase(dfks_worker_breaker_transitions_total{@,to="open"}[15m]))""",
            ),
            runbook="DfksResponderFailing",
        ),
        lines(
            "Time of a responder",
            "Near routes.responder_timeout_ms changes fail.",
            "s",
            *quantiles("dfks_worker_responder_duration_seconds", by="kind", of=(0.5, 0.95, 0.99)),
            log=True,
            runbook="DfksResponderFailing",
        ),
        lines(
            "Time of a script run",
            "One run of a route.",
            "s",
            *quantiles("dfks_worker_script_duration_seconds", by="route", of=(0.5, 0.99)),
            log=True,
        ),
        lines(
            "Script errors, by route",
            "In set the change is refused (500), in get the state before the script is served.",
            "reqps",
            ("{{route}}", "sum by (route) (rate(dfks_worker_script_errors_total{@}[~]))"),
            runbook="DfksScriptErrors",
        ),
        lines(
            "Script reloads, 15 min",
            "failed: the script before it stays in use.",
            "short",
            ("{{outcome}}", "sum by (outcome) (increase(dfks_worker_script_reloads_total{@}[15m]))"),
            runbook="DfksScriptNotReloaded",
        ),
    ]
