"""Values that cannot work are refused, with a message that names them."""

import unittest

import chart
import helm_python

BY_SCHEMA = [
    # (values over the default preset, what the message names)
    ({"edge": {"kind": "ReplicaSet"}}, "kind"),
    ({"edge": {"replicaz": 3}}, "replicaz"),
    ({"worker": {"hostNetwork": True}}, "hostNetwork"),
    ({"sip": {"advertise": "sip:edge@example.com"}}, "advertise"),
    ({"sip": {"udp": {"port": 70000}}}, "port"),
    ({"sip": {"sctp": {"enabled": True}}}, "sctp"),
    ({"bus": {"url": "nats.example.com"}}, "url"),
    ({"bus": {"replicas": 7}}, "replicas"),
    ({"bus": {"auth": {"method": "password"}}}, "method"),
    ({"config": {"spi": {}}}, "spi"),
    ({"config": {"sip": {"auth": {"mode": "open"}}}}, "mode"),
    ({"image": {"digest": "latest"}}, "digest"),
    ({"edge": {"service": {"externalTrafficPolicy": "local"}}}, "externalTrafficPolicy"),
    ({"edge": {"service": {"nodePorts": {"sctp": 30000}}}}, "sctp"),
    ({"networkPolicy": {"natsPorts": []}}, "natsPorts"),
    ({"edge": {"autoscaling": {"minReplicas": 0}}}, "minReplicas"),
    ({"monitoring": {"consoleUrl": "dfks.example.com"}}, "consoleUrl"),
    ({"monitoring": {"consoleUrl": "https://admin:secret@dfks.example.com/"}}, "consoleUrl"),
    ({"replicaCount": 2}, "replicaCount"),
]

BY_TEMPLATE = [
    ({"sip": {"advertise": ""}}, "sip.advertise is mandatory"),
    ({"sip": {"tls": {"enabled": True}}}, "sip.tls.existingSecret is mandatory"),
    ({"sip": {"udp": {"enabled": False}, "tcp": {"enabled": False}}}, "no SIP listener"),
    ({"mi": {"http": {"enabled": True}}}, "mi.http.existingSecret is mandatory"),
    ({"nats": {"enabled": False}}, "bus.url is mandatory"),
    ({"bus": {"url": "nats://elsewhere:4222"}}, "bus.url is for nats.enabled=false"),
    ({"bus": {"auth": {"method": "token"}}}, "bus.auth.existingSecret"),
    ({"bus": {"auth": {"method": "user", "existingSecret": "x"}}}, "bus.auth.user"),
    ({"edge": {"kind": "DaemonSet", "autoscaling": {"enabled": True}}}, "edge.autoscaling is not for"),
    ({"routes": {"script": "x", "existingConfigMap": "y"}}, "give one of them"),
    ({"config": {"nats": {"url": "nats://x:4222"}}}, "config.nats.url is set by the chart"),
    ({"worker": {"config": {"routes": {"script": "x"}}}}, "worker.config.routes.script is set by the chart"),
    ({"config": {"sip": {"auth": {"users": "x"}}}}, "use sip.usersSecret"),
]


class Values(unittest.TestCase):
    def test_the_schema_refuses(self):
        with helm_python.Chart.load(str(chart.complete())) as loaded:
            for values, names in BY_SCHEMA:
                with self.subTest(values=values), self.assertRaisesRegex(helm_python.HelmError, names):
                    loaded.validate_schema(chart.over(chart.presets()["default"], values))

    def test_the_templates_refuse(self):
        for values, message in BY_TEMPLATE:
            with (
                self.subTest(values=values),
                self.assertRaisesRegex(helm_python.HelmError, message.replace(".", r"\.")),
            ):
                chart.render(chart.over(chart.presets()["default"], values))

    def test_what_stands_in_values_yaml_is_taken(self):
        with helm_python.Chart.load(str(chart.complete())) as loaded:
            loaded.validate_schema(loaded.values)

    def test_the_notes_warn(self):
        _, notes = chart.render(chart.presets()["minimal"])
        self.assertIn("lets anyone subscribe", notes)
        self.assertIn("bus.replicas is 1", notes)
        _, notes = chart.render(chart.presets()["default"])
        self.assertIn("dfks.responder.auth.<domain>", notes)
        self.assertNotIn("WARNING", notes)


if __name__ == "__main__":
    unittest.main()
