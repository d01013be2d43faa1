"""The SIP edge: what phones send and get, who is let in, connections, subscriptions, and what keeps the edge busy."""

from model import good_low, lines, number, quantiles, queues, row


def panels():
    return [*subscriptions(), *traffic(), *access(), *inside(), *process()]


def subscriptions():
    return [
        row("Subscriptions"),
        number(
            "Active subscriptions",
            "Live subscriptions within their lifetime.",
            "short",
            'sum(dfks_edge_subscriptions{@,state="active"})',
        ),
        number(
            "Subscriptions in grace",
            "Past their expiry, and not given up yet. Many: phones do not refresh in time.",
            "short",
            'sum(dfks_edge_subscriptions{@,state="grace"})',
        ),
        number(
            "Room used, fullest edge",
            "Subscriptions of the fullest edge against sip.max_subscriptions.",
            "percentunit",
            "max(sum by (instance) (dfks_edge_subscriptions{@})"
            " / on (instance) (dfks_edge_subscriptions_limit{@} > 0))",
            good_low(0.7, 0.9),
            runbook="DfksSubscriptionsNearLimit",
        ),
        lines(
            "Subscriptions of each edge",
            "Uneven: the balancer in front prefers an edge, or one has just been restarted.",
            "short",
            ("{{instance}} {{state}}", "dfks_edge_subscriptions{@}"),
            width=12,
            stack=True,
        ),
    ]


def traffic():
    return [
        row("SIP in and out"),
        lines(
            "SIP messages received, by transport",
            "Everything that came in, responses to NOTIFYs and copies included.",
            "pps",
            ("{{transport}}", "sum by (transport) (rate(dfks_edge_received_total{@}[~])) > 0"),
            stack=True,
        ),
        lines(
            "Requests answered, by method and code",
            "Each final response.",
            "reqps",
            ("{{method}} {{code}}", "sum by (method, code) (rate(dfks_edge_requests_total{@}[~])) > 0"),
            stack=True,
            runbook="DfksSubscribesFail",
        ),
        lines(
            "Requests answered, by transport",
            "The same by the way they came.",
            "reqps",
            ("{{transport}}", "sum by (transport) (rate(dfks_edge_requests_total{@}[~])) > 0"),
            stack=True,
        ),
        lines(
            "Time to the final response",
            "By method. A SUBSCRIBE waits for its store; the rest is answered from memory.",
            "s",
            *quantiles("dfks_edge_request_duration_seconds", by="method", of=(0.5, 0.99)),
            log=True,
        ),
        lines(
            "Messages sent again",
            "in: requests that phones sent again, so that our answer was late or lost. "
            "out: NOTIFYs that we sent again.",
            "pps",
            ("{{direction}}", "sum by (direction) (rate(dfks_edge_retransmissions_total{@}[~]))"),
            runbook="DfksNotifyFailing",
        ),
        lines(
            "Messages not handled, by reason",
            "By reason. unparsable and malformed: not SIP, scanners; rate_limited: a source sends too much; "
            "queue_full, fan_out: we are too slow.",
            "pps",
            ("{{reason}}", "sum by (reason) (rate(dfks_edge_dropped_total{@}[~]))"),
            runbook="DfksRateLimited",
        ),
    ]


def access():
    return [
        row("Who is let in"),
        lines(
            "Authentication, by outcome",
            "SUBSCRIBEs checked for who sent them. challenged is the first half of digest; wrong: bad password.",
            "reqps",
            ("{{outcome}}", "sum by (outcome) (rate(dfks_edge_auth_total{@}[~])) > 0"),
            stack=True,
            runbook="DfksAuthFailures",
        ),
        lines(
            "Refused, by reason",
            "Requests of phones and commands, by reason: dfks.event.refused says whose. "
            "Also of the mi bridges of these processes.",
            "pps",
            ("{{reason}}", "sum by (reason) (rate(dfks_events_refused_total{@}[~])) > 0"),
            runbook="DfksPhonesRefused",
        ),
        lines(
            "Refused, by status code",
            "4xx other than the challenge, by code. "
            "404: a domain that is not served, 403: not allowed, 481: a dialog that is unknown.",
            "reqps",
            ("{{code}}", 'sum by (code) (rate(dfks_edge_requests_total{@,code=~"4..",code!="401"}[~])) > 0'),
            runbook="DfksPhonesRefused",
        ),
        lines(
            "503: overloaded or NATS away",
            "503 by method: the phones try again after Retry-After.",
            "reqps",
            ("{{method}}", 'sum by (method) (rate(dfks_edge_requests_total{@,code="503"}[~]))'),
            runbook="DfksSubscribesFail",
        ),
        lines(
            "Open connections, by transport",
            "TCP, TLS and WebSocket.",
            "short",
            ("{{transport}}", "sum by (transport) (dfks_edge_connections{@})"),
            stack=True,
        ),
        lines(
            "Connections refused, by reason",
            "Not taken in, by transport and reason.",
            "cps",
            (
                "{{transport}} {{reason}}",
                "sum by (transport, reason) (rate(dfks_edge_connections_refused_total{@}[~])) > 0",
            ),
            runbook="DfksQueueFilling",
        ),
        lines(
            "TLS files and HEP mirror, 15 min",
            "Reloads of certificates in 15 minutes, and messages that could not be mirrored.",
            "short",
            ("TLS reload {{outcome}}", "sum by (outcome) (increase(dfks_edge_tls_reloads_total{@}[15m]))"),
            ("HEP {{outcome}}", 'sum by (outcome) (increase(dfks_edge_hep_packets_total{@,outcome!="sent"}[15m]))'),
            runbook="DfksTlsNotReloaded",
        ),
    ]


def inside():
    return [
        row("Inside"),
        queues("edge", "an edge"),
        lines(
            "Routes and stores: failed, saved",
            "Requests to workers, and stores of subscriptions by reason; beside them the stores that were not needed.",
            "reqps",
            ("route", "sum(rate(dfks_edge_route_failures_total{@}[~]))"),
            ("store {{reason}}", "sum by (reason) (rate(dfks_edge_store_failures_total{@}[~]))"),
            ("stores not needed", "sum(rate(dfks_edge_stores_saved_total{@}[~]))"),
            runbook="DfksSubscribesFail",
        ),
        lines(
            "Time to store a subscription",
            "The 200 waits for this.",
            "s",
            *quantiles("dfks_bus_request_duration_seconds", where='subject=~".KV.dfks-subscriptions.*",outcome="ok"'),
            log=True,
        ),
    ]


def process():
    return [
        row("Process"),
        lines(
            "Processor time, in cores",
            "An edge is one thread: near 1 it cannot go faster, and another edge is needed.",
            "short",
            ("{{instance}}", "rate(process_cpu_seconds_total{@}[~])"),
        ),
        lines(
            "Resident memory",
            "Resident memory of each process.",
            "bytes",
            ("{{instance}}", "process_resident_memory_bytes{@}"),
        ),
        lines(
            "Open files, of those allowed",
            "Against the limit of the process.",
            "percentunit",
            ("{{instance}}", "process_open_fds{@} / process_max_fds{@}"),
            bad=0.8,
            runbook="DfksQueueFilling",
        ),
    ]
