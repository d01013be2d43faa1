"""What a dashboard of dfks is made of. Plain data: build.py turns it into Grafana's JSON.

In an expression `@` stands for the selector of the variables, `[~]` for `[$__rate_interval]`:
    sum(rate(dfks_mi_received_total{@,via="bus"}[~]))
"""

RUNBOOKS = "https://github.com/dfks/dfks/blob/main/docs/runbooks"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
SELECTOR = 'job=~"$job",namespace=~"$namespace",instance=~"$instance"'
# What Prometheus keeps of each alert that fires. It has only the labels of what it is about: `|` lets it pass without.
ALERTS = 'ALERTS{alertname=~"Dfks.+",alertstate="firing",job=~"$job|",namespace=~"$namespace|",instance=~"$instance|"}'
# The axis of what may be 0 all the time: without it Grafana draws 0 to 100, and 0 % to 10000 % of a share.
LEAST_AXIS = {"percentunit": 1, "short": 1, "reqps": 1, "pps": 1, "cps": 1}
BOARDS = {
    "dfks-overview": "dfks / Overview",
    "dfks-edge": "dfks / Edge",
    "dfks-bus-worker": "dfks / Bus and worker",
    "dfks-mi-notify": "dfks / MI and NOTIFY",
}


def expression(text):
    return " ".join(text.split()).replace("@", SELECTOR).replace("[~]", "[$__rate_interval]")


def row(title):
    return {"type": "row", "title": title, "collapsed": False, "panels": []}


def _panel(kind, title, description, unit, targets, runbook, size):
    width, height = size
    made = {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + position),
                "datasource": DATASOURCE,
                "editorMode": "code",
                "expr": expression(text),
                "legendFormat": legend,
                "range": True,
            }
            for position, (legend, text) in enumerate(targets)
        ],
        "gridPos": {"w": width, "h": height},
    }
    if runbook:
        made["links"] = [{"title": f"Runbook: {runbook}", "url": f"{RUNBOOKS}/{runbook}.md", "targetBlank": True}]
    return made


def lines(title, description, unit, *targets, runbook=None, width=8, height=7, stack=False, log=False, bad=None):
    """A time series for each target, or for each of its label sets. `bad`: where trouble begins, a dashed line."""
    made = _panel("timeseries", title, description, unit, targets, runbook, (width, height))
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 25 if stack else 0 if log else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stack else "none", "group": "A"},
        "scaleDistribution": {"type": "log", "log": 10} if log else {"type": "linear"},
    }
    defaults = made["fieldConfig"]["defaults"]
    defaults |= {"custom": custom, "color": {"mode": "palette-classic"}}
    if log:
        del defaults["min"]
    elif unit in LEAST_AXIS or bad is not None:
        custom["axisSoftMax"] = LEAST_AXIS.get(unit, bad)
    if bad is not None:
        custom["thresholdsStyle"] = {"mode": "dashed"}
        defaults["thresholds"] = {
            "mode": "absolute",
            "steps": [{"color": "transparent", "value": None}, {"color": "red", "value": bad}],
        }
    made["options"] = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return made


def number(title, description, unit, text, steps=(), runbook=None, width=4, height=4, decimals=None, empty=None):
    """The value now.

    `steps`: (from, colour), the first of them from the bottom. `empty`: what to show without a value.
    """
    made = _panel("stat", title, description, unit, [(title, text)], runbook, (width, height))
    colours = [
        {"color": colour, "value": None if first else start}
        for first, (start, colour) in _first(steps or [(0, "blue")])
    ]
    defaults = made["fieldConfig"]["defaults"]
    defaults |= {"color": {"mode": "thresholds"}, "thresholds": {"mode": "absolute", "steps": colours}}
    if empty is not None:
        defaults["noValue"] = empty
    if decimals is not None:
        defaults["decimals"] = decimals
    made["options"] = {
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "textMode": "value",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return made


def _first(items):
    return [(position == 0, item) for position, item in enumerate(items)]


def good_low(warn, bad):
    return [(0, "green"), (warn, "orange"), (bad, "red")]


def good_high(warn, good):
    return [(0, "red"), (warn, "orange"), (good, "green")]


def quantiles(metric, by="", where="", of=(0.5, 0.95, 0.99)):
    """Targets: quantiles of a histogram, for each value of the labels `by`."""
    labels = f"le, {by}" if by else "le"
    legend = "".join(f" {{{{{label.strip()}}}}}" for label in by.split(",") if label)
    where = f",{where}" if where else ""
    return [
        (
            f"p{round(q * 100)}{legend}",
            f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{{@{where}}}[~])))",
        )
        for q in of
    ]


def queues(stage, what):
    """The panel of a stage's bounded queues: how full each is."""
    return lines(
        f"Queues of {what}: how full",
        f"Depth of each bounded queue of {what} against its capacity, the fullest ten. "
        "At 100 % work is turned away with 503, or not read.",
        "percentunit",
        (
            "{{instance}} {{queue}}",
            f"topk(10, max by (instance, queue) (dfks_{stage}_queue_depth{{@}} / dfks_{stage}_queue_capacity{{@}}))",
        ),
        runbook="DfksQueueFilling",
        bad=0.8,
    )
