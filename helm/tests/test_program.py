"""The chart's configuration in the hands of the program itself: checked, started as a pod would start it, stopped as a pod is."""

import contextlib
import pathlib
import subprocess
import tempfile
import time
import tomllib
import unittest

import chart
import nats_servers
import pod


class Check(unittest.TestCase):
    def test_the_config_is_what_the_program_takes(self):
        for name, values in chart.presets().items():
            objects, _ = chart.render(values)
            for item in chart.workloads(objects):
                with self.subTest(preset=name, role=chart.role_of(item)), tempfile.TemporaryDirectory() as folder:
                    made = pod.Pod(objects, item, pathlib.Path(folder))
                    done = subprocess.run(
                        [chart.dfks(), "check", "--config", made.args[2]],
                        env=made.env,
                        capture_output=True,
                        text=True,
                        timeout=60,
                    )
                    self.assertEqual(done.returncode, 0, done.stderr)

    def test_values_of_every_kind_come_through(self):
        values = chart.presets()["default"]
        odd = 'quote " back \\ tab \t é <&>'
        values["config"] = {
            "sip": {
                "domains": ["example.com", "example.org"],
                "max_subscriptions": 12_000_000,
                "auth": {"realm": "a <&> b", "allow_other_presentities": True},
            },
            "profile": [{"user_agent": '^a\\.b"', "remaining_expires": True}, {"user_agent": "x"}],
            "routes": {"get_route": "dfks_get"},
            "log": {"level": "info,dfks::edge=debug"},
        }
        objects, _ = chart.render(values)
        text = chart.named(objects, "ConfigMap", f"{chart.RELEASE}-dfks-edge")["data"]["dfks.toml"]
        tree = tomllib.loads(text)
        self.assertEqual(tree["sip"]["max_subscriptions"], 12_000_000)
        self.assertEqual(tree["sip"]["auth"], {"mode": "digest", "realm": "a <&> b", "allow_other_presentities": True})
        self.assertEqual(tree["profile"], values["config"]["profile"])
        values["config"] = {"log": {"level": odd}}
        objects, _ = chart.render(values)
        text = chart.named(objects, "ConfigMap", f"{chart.RELEASE}-dfks-edge")["data"]["dfks.toml"]
        self.assertEqual(tomllib.loads(text)["log"]["level"], odd)


class Start(unittest.TestCase):
    def start(self, preset, servers, more=None):
        """Every role of a preset until it is ready; checks what it serves; stops it as the kubelet does."""
        values = chart.over(chart.presets()[preset], more or {})
        objects, _ = chart.render(values)
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            pods = {}
            for item in chart.workloads(objects):
                made = pod.Pod(objects, item, pathlib.Path(folder, chart.role_of(item)), nats=servers.url)
                stack.callback(made.kill)
                made.start(chart.dfks())
                pods[made.role] = made
            for made in pods.values():
                made.wait_ready()
                self.assertEqual(made.get("/healthz")[0], 200)
                status, metrics = made.get("/metrics")
                self.assertEqual(status, 200)
                self.assertRegex(metrics, f'dfks_build_info{{.*role="{made.role}"')
                self.assertIn("dfks_bus_permission_violations_total 0", metrics)
            yield values, objects, pods
            pause = max(made.pre_stop_seconds for made in pods.values())
            time.sleep(pause)
            for made in pods.values():
                self.assertEqual(made.get("/readyz")[0], 200, "still serves during preStop")
                self.assertIn("dfks_bus_permission_violations_total 0", made.get("/metrics")[1])
                made.terminate()
            for made in pods.values():
                self.assertEqual(made.wait(made.grace_seconds - made.pre_stop_seconds), 0, made.log())
                self.assertNotIn("permission", made.log().lower())

    def ask(self, objects, url):
        """The pod of `helm test`."""
        (test,) = [item for item in objects if item["kind"] == "Pod"]
        args = pod.arguments(test, nats=url)
        return subprocess.run([chart.dfks(), *args], capture_output=True, text=True, timeout=60)

    def phone(self, made, *more):
        return subprocess.run(
            [chart.dfks(), "phone", "sip:alice@127.0.0.1", "--server", made.sip_address("udp"), "--for", "2", *more],
            capture_output=True,
            text=True,
            timeout=60,
        )

    def test_minimal(self):
        with nats_servers.Servers(1) as servers:
            for _, objects, pods in self.start("minimal", servers):
                done = self.ask(objects, servers.url)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("DoNotDisturb", done.stdout)
                done = self.phone(pods["edge"], "--press", "DoNotDisturb=on")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("DoNotDisturb=on confirmed", done.stdout)

    def test_default_on_a_cluster_of_three(self):
        with nats_servers.Servers(3) as servers:
            for _, objects, pods in self.start("default", servers):
                done = self.ask(objects, servers.url)
                self.assertEqual(done.returncode, 0, done.stderr)
                # digest is asked for, and nobody answers for the passwords
                self.assertNotEqual(self.phone(pods["edge"]).returncode, 0)

    def test_external_nats_with_tls_and_a_user_for_each_role(self):
        with nats_servers.Servers(
            3, tls=pod.certificates(), permissions=chart.ROOT / "deploy/nats/permissions.conf"
        ) as servers:
            for _, _, pods in self.start("external-nats", servers):
                status, _ = pods["mi"].post("/mi", '{"jsonrpc":"2.0","id":1,"method":"which"}')
                self.assertEqual(status, 401)
                status, answer = pods["mi"].post(
                    "/mi",
                    '{"jsonrpc":"2.0","id":1,"method":"dfks_set_feature","params":["sip:alice@example.com","DoNotDisturb",1]}',
                    token=pod.SECRETS["dfks-mi"]["token"],
                )
                self.assertEqual((status, '"OK"' in answer), (200, True), answer)
                # the route script of the values
                _, answer = pods["mi"].post(
                    "/mi",
                    '{"jsonrpc":"2.0","id":1,"method":"dfks_set_feature","params":["sip:alice@example.com","CallForwardingAlways",1]}',
                    token=pod.SECRETS["dfks-mi"]["token"],
                )
                self.assertIn("not on this tariff", answer)

    def test_the_permissions_are_enough_for_a_phone_and_a_command(self):
        trusted = {
            "sip": {"usersSecret": ""},
            "config": {"sip": {"auth": {"mode": "trusted", "trusted": ["127.0.0.1/32"]}}},
            "routes": {"script": ""},
        }
        with nats_servers.Servers(
            1, tls=pod.certificates(), permissions=chart.ROOT / "deploy/nats/permissions.conf"
        ) as servers:
            for _, _, pods in self.start("external-nats", servers, trusted | {"bus": {"replicas": 1}}):
                address = pods["edge"].sip_address("udp")
                phone = subprocess.Popen(
                    [chart.dfks(), "phone", "sip:alice@example.com", "--server", address, "--for", "6"],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
                pressed = subprocess.run(
                    [chart.dfks(), "phone", "sip:alice@example.com", "--server", address, "--press", "DoNotDisturb=on"],
                    capture_output=True,
                    text=True,
                    timeout=60,
                )
                self.assertIn("DoNotDisturb=on confirmed", pressed.stdout, pressed.stderr)
                call = '{"jsonrpc":"2.0","id":1,"method":"dfks_set_feature","params":["sip:alice@example.com","CallForwardingAlways",1,["forwardTo/sip:bob@example.com"]]}'
                _, answer = pods["mi"].post("/mi", call, token=pod.SECRETS["dfks-mi"]["token"])
                self.assertIn('"OK"', answer)
                told, _ = phone.communicate(timeout=60)
                self.assertEqual(phone.returncode, 0, told)
                self.assertIn("forwardTo=sip:bob@example.com", told)
                _, listed = pods["mi"].post(
                    "/mi",
                    '{"jsonrpc":"2.0","id":1,"method":"subs_phtable_list"}',
                    token=pod.SECRETS["dfks-mi"]["token"],
                )
                self.assertIn("result", listed)

    def test_bare_metal_and_full_monitoring(self):
        with nats_servers.Servers(3) as servers:
            for preset in ("bare-metal", "full-monitoring"):
                with self.subTest(preset=preset):
                    for _, _, _ in self.start(preset, servers):
                        pass


if __name__ == "__main__":
    unittest.main()
