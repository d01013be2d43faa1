"""The chart's configuration in the hands of the program itself.

Checked, started as a pod would start it, stopped as a pod is.
"""

import contextlib
import json
import pathlib
import subprocess
import tempfile
import time
import tomllib
import unittest

import chart
import nats_servers
import pod

PERMISSIONS = chart.ROOT / "deploy/nats/permissions.conf"
ALICE = "sip:alice@example.com"


def run(*arguments, **options):
    command = [chart.dfks(), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def mi(pods, method, *params, token=pod.SECRETS["dfks-mi"]["token"]):
    """A JSON-RPC call: status and text of the answer."""
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    return pods["mi"].post("/mi", json.dumps(call), token=token)


class Check(unittest.TestCase):
    def test_the_config_is_what_the_program_takes(self):
        for name, values in chart.presets().items():
            objects, _ = chart.render(values)
            for item in chart.workloads(objects):
                with self.subTest(preset=name, role=chart.role_of(item)), tempfile.TemporaryDirectory() as folder:
                    made = pod.Pod(objects, item, pathlib.Path(folder))
                    done = run("check", "--config", made.args[2], env=made.env)
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
    @contextlib.contextmanager
    def started(self, preset, servers, more=None):
        """Objects and pods of a preset, once every role is ready.

        Checks what they serve, and stops them as the kubelet does.
        """
        objects, _ = chart.render(chart.over(chart.presets()[preset], more or {}))
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
            yield objects, pods
            self.stopped(pods.values())

    def stopped(self, pods):
        time.sleep(max(made.pre_stop_seconds for made in pods))
        for made in pods:
            self.assertEqual(made.get("/readyz")[0], 200, "still serves during preStop")
            self.assertIn("dfks_bus_permission_violations_total 0", made.get("/metrics")[1])
            made.terminate()
        for made in pods:
            self.assertEqual(made.wait(made.grace_seconds - made.pre_stop_seconds), 0, made.log())
            self.assertNotIn("permission", made.log().lower())

    def ask(self, objects, url):
        """The pod of `helm test`."""
        (test,) = [item for item in objects if item["kind"] == "Pod"]
        with tempfile.TemporaryDirectory() as folder:
            made = pod.Pod(objects, test, pathlib.Path(folder), nats=url)
            return run(*made.args, env=made.env)

    def phone(self, made, *more):
        return run("phone", "sip:alice@127.0.0.1", "--server", made.sip_address("udp"), "--for", "2", *more)

    def test_minimal(self):
        with nats_servers.Servers(1) as servers, self.started("minimal", servers) as (objects, pods):
            done = self.ask(objects, servers.url)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("DoNotDisturb", done.stdout)
            done = self.phone(pods["edge"], "--press", "DoNotDisturb=on")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("DoNotDisturb=on confirmed", done.stdout)

    def test_default_on_a_cluster_of_three(self):
        with nats_servers.Servers(3) as servers, self.started("default", servers) as (objects, pods):
            done = self.ask(objects, servers.url)
            self.assertEqual(done.returncode, 0, done.stderr)
            # digest is asked for, and nobody answers for the passwords
            self.assertNotEqual(self.phone(pods["edge"]).returncode, 0)

    def test_external_nats_with_tls_and_a_user_for_each_role(self):
        with (
            nats_servers.Servers(3, tls=pod.certificates(), permissions=PERMISSIONS) as servers,
            self.started("external-nats", servers) as (objects, pods),
        ):
            done = self.ask(objects, servers.url)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("DoNotDisturb", done.stdout)
            status, _ = mi(pods, "which", token=None)
            self.assertEqual(status, 401)
            status, answer = mi(pods, "dfks_set_feature", ALICE, "DoNotDisturb", 1)
            self.assertEqual((status, '"OK"' in answer), (200, True), answer)
            # the route script of the values
            _, answer = mi(pods, "dfks_set_feature", ALICE, "CallForwardingAlways", 1)
            self.assertIn("not on this tariff", answer)

    def test_the_permissions_are_enough_for_a_phone_and_a_command(self):
        trusted = {
            "bus": {"replicas": 1},
            "sip": {"usersSecret": ""},
            "config": {"sip": {"auth": {"mode": "trusted", "trusted": ["127.0.0.1/32"]}}},
            "routes": {"script": ""},
        }
        with (
            nats_servers.Servers(1, tls=pod.certificates(), permissions=PERMISSIONS) as servers,
            self.started("external-nats", servers, trusted) as (_, pods),
        ):
            address = pods["edge"].sip_address("udp")
            phone = subprocess.Popen(
                [chart.dfks(), "phone", ALICE, "--server", address, "--for", "6"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            pressed = run("phone", ALICE, "--server", address, "--press", "DoNotDisturb=on")
            self.assertIn("DoNotDisturb=on confirmed", pressed.stdout, pressed.stderr)
            forward = ["forwardTo/sip:bob@example.com"]
            _, answer = mi(pods, "dfks_set_feature", ALICE, "CallForwardingAlways", 1, forward)
            self.assertIn('"OK"', answer)
            told, _ = phone.communicate(timeout=60)
            self.assertEqual(phone.returncode, 0, told)
            self.assertIn("forwardTo=sip:bob@example.com", told)
            _, listed = mi(pods, "subs_phtable_list")
            self.assertIn("result", listed)

    def test_bare_metal_and_full_monitoring(self):
        with nats_servers.Servers(3) as servers:
            for preset in ("bare-metal", "full-monitoring"):
                with self.subTest(preset=preset), self.started(preset, servers) as (objects, _):
                    done = self.ask(objects, servers.url)
                    self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
