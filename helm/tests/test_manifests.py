"""What holds over several objects of the chart, for each preset. Kinds and fields are the business of test_schemas."""

import json
import tempfile
import unittest

import chart
import helm_python
import yaml

SECRETS = {
    # Secrets that the presets say are there, with their keys
    "dfks-nats": {"password"},
    "dfks-nats-edge": {"password"},
    "dfks-nats-worker": {"password"},
    "dfks-nats-mi": {"password"},
    "dfks-nats-tls": {"ca.crt", "tls.crt", "tls.key"},
    "dfks-sip-tls": {"tls.crt", "tls.key"},
    "dfks-users": {"users"},
    "dfks-mi": {"token"},
}


def alerts(item):
    """The alerts of a PrometheusRule."""
    return [rule for group in item["spec"]["groups"] for rule in group["rules"] if "alert" in rule]


class Manifests(unittest.TestCase):
    def each(self):
        for name, values in chart.presets().items():
            with self.subTest(preset=name):
                yield name, values, chart.render(values)[0]

    def test_lints_strictly(self):
        for name, values in chart.presets().items():
            report = helm_python.lint(str(chart.complete()), values, strict=True, kube_version="v1.34.0")
            self.assertEqual(report["messages"], [], name)
            self.assertEqual(report["errors"], [], name)

    def test_each_object_has_its_own_name_and_the_namespace(self):
        for _, _, objects in self.each():
            names = [(item["kind"], item["metadata"]["name"]) for item in objects]
            self.assertEqual(len(names), len(set(names)))
            for item in objects:
                self.assertLessEqual(len(item["metadata"]["name"]), 63)
                self.assertEqual(item["metadata"].get("namespace", chart.NAMESPACE), chart.NAMESPACE)

    def test_selectors_find_their_pods_and_no_others(self):
        for _, _, objects in self.each():
            pods = {
                chart.role_of(item): item["spec"]["template"]["metadata"]["labels"] for item in chart.workloads(objects)
            }
            self.assertEqual(set(pods), set(chart.ROLES))
            tests = [item["metadata"]["labels"] for item in objects if item["kind"] == "Pod"]
            pods["test"] = tests[-1] if tests else {}
            for item in objects:
                if item["kind"] == "NetworkPolicy" and chart.role_of(item) == "test" and not pods["test"]:
                    continue
                spec = item.get("spec", {})
                selector = spec.get("podSelector", spec.get("selector"))
                if item["kind"] == "ServiceMonitor" or selector is None:
                    continue
                selector = selector.get("matchLabels", selector)
                found = [role for role, labels in pods.items() if selector.items() <= labels.items()]
                self.assertEqual(found, [chart.role_of(item)], f"{item['kind']} {item['metadata']['name']}")

    def test_service_ports_and_probes_lead_to_ports_of_the_container(self):
        for _, _, objects in self.each():
            ports = {}
            for item in chart.workloads(objects):
                _, container = chart.container(item)
                ports[chart.role_of(item)] = {port["name"]: port for port in container["ports"]}
                for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                    self.assertIn(container[probe]["httpGet"]["port"], ports[chart.role_of(item)])
                self.assertEqual(container["readinessProbe"]["httpGet"]["path"], "/readyz")
                self.assertEqual(container["livenessProbe"]["httpGet"]["path"], "/healthz")
            for item in objects:
                if item["kind"] == "Service":
                    for port in item["spec"]["ports"]:
                        target = ports[chart.role_of(item)][port["targetPort"]]
                        self.assertEqual(target.get("protocol", "TCP"), port.get("protocol", "TCP"))

    def test_the_config_listens_where_ports_lead(self):
        for _, _, objects in self.each():
            for item in chart.workloads(objects):
                role = chart.role_of(item)
                _, container = chart.container(item)
                ports = {port["name"]: port["containerPort"] for port in container["ports"]}
                text = chart.named(objects, "ConfigMap", f"{item['metadata']['name']}")["data"]["dfks.toml"]
                self.assertIn(f'listen = "0.0.0.0:{ports["http"]}"', text)
                for name, port in ports.items():
                    if name.startswith("sip-"):
                        self.assertIn(f'"{name[4:]}:0.0.0.0:{port}"', text)
                self.assertEqual(role == "edge", "sip-udp" in ports or "sip-tcp" in ports)
                self.assertEqual("mi" in ports, 'http = "0.0.0.0:' in text)

    def test_files_are_there_and_each_role_has_only_its_own(self):
        for _, _, objects in self.each():
            maps = {item["metadata"]["name"]: set(item["data"]) for item in objects if item["kind"] == "ConfigMap"}
            for item in chart.workloads(objects):
                spec, container = chart.container(item)
                volumes = {volume["name"]: volume for volume in spec["volumes"]}
                mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
                self.assertEqual(set(volumes), set(mounts))
                files = set()
                for name, volume in volumes.items():
                    if "configMap" in volume:
                        files |= {f"{mounts[name]}/{key}" for key in maps[volume["configMap"]["name"]]}
                    elif "secret" in volume:
                        files |= {f"{mounts[name]}/{key}" for key in SECRETS[volume["secret"]["secretName"]]}
                text = chart.named(objects, "ConfigMap", item["metadata"]["name"])["data"]["dfks.toml"]
                named = {
                    part for line in text.splitlines() for part in line.split('"') if part.startswith("/etc/dfks/")
                }
                self.assertLessEqual(named, files)
                self.assertIn(container["args"][2], files)
                used = {path.split("/")[3] for path in named} | {"config", "scratch"}
                self.assertLessEqual(set(volumes), used, "a Secret that this role does not read")

    def test_pods_are_hardened(self):
        for _, _, objects in self.each():
            for item in chart.workloads(objects) + [item for item in objects if item["kind"] == "Pod"]:
                spec, container = chart.container(item)
                self.assertTrue(spec["securityContext"]["runAsNonRoot"])
                self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                self.assertFalse(spec["automountServiceAccountToken"])
                context = container["securityContext"]
                self.assertTrue(context["readOnlyRootFilesystem"])
                self.assertFalse(context["allowPrivilegeEscalation"])
                self.assertEqual(context["capabilities"], {"drop": ["ALL"]})

    def test_pods_have_time_to_stop(self):
        for _, _, objects in self.each():
            for item in chart.workloads(objects):
                spec, container = chart.container(item)
                pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
                text = chart.named(objects, "ConfigMap", item["metadata"]["name"])["data"]["dfks.toml"]
                (grace,) = [
                    int(line.split("=")[1]) for line in text.splitlines() if line.startswith("shutdown_grace_seconds")
                ]
                self.assertGreater(spec["terminationGracePeriodSeconds"], pause + grace)

    def test_an_edge_is_named_for_what_stays(self):
        for _, values, objects in self.each():
            (edge,) = [item for item in chart.workloads(objects) if chart.role_of(item) == "edge"]
            env = {item["name"]: item for item in chart.container(edge)[1]["env"]}
            field = env["DFKS__SIP__EDGE_ID"]["valueFrom"]["fieldRef"]["fieldPath"]
            self.assertEqual(field, "spec.nodeName" if edge["kind"] == "DaemonSet" else "metadata.name")
            self.assertEqual("DFKS__SIP__ADVERTISE" in env, values["sip"]["advertise"] == "hostIP")
            if edge["kind"] == "StatefulSet":
                service = chart.named(objects, "Service", edge["spec"]["serviceName"])
                self.assertEqual(service["spec"]["clusterIP"], "None")

    def test_phones_keep_their_address(self):
        for _, _, objects in self.each():
            for item in objects:
                if item["kind"] != "Service" or chart.role_of(item) != "edge":
                    continue
                if item["spec"].get("type") in ("LoadBalancer", "NodePort"):
                    self.assertEqual(item["spec"]["externalTrafficPolicy"], "Local")
                    self.assertEqual(item["spec"]["sessionAffinity"], "ClientIP")

    def test_a_scaled_workload_has_no_fixed_size_and_the_scaler_finds_it(self):
        for _, _, objects in self.each():
            scalers = {
                item["spec"]["scaleTargetRef"]["name"]: item
                for item in objects
                if item["kind"] == "HorizontalPodAutoscaler"
            }
            for item in chart.workloads(objects):
                scaler = scalers.pop(item["metadata"]["name"], None)
                if scaler:
                    self.assertNotIn("replicas", item["spec"])
                    self.assertEqual(scaler["spec"]["scaleTargetRef"]["kind"], item["kind"])
                elif item["kind"] != "DaemonSet":
                    self.assertIn("replicas", item["spec"])
            self.assertEqual(scalers, {})

    def test_a_changed_config_makes_new_pods_and_a_changed_script_does_not(self):
        def sums(values):
            objects, _ = chart.render(values)
            return {
                chart.role_of(item): item["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
                for item in chart.workloads(objects)
            }

        values = chart.presets()["external-nats"]
        before = sums(values)
        values["routes"]["script"] += "\n// more\n"
        self.assertEqual(sums(values), before)
        values["worker"]["config"] = {"routes": {"responder_timeout_ms": 250}}
        after = sums(values)
        self.assertEqual([role for role in chart.ROLES if after[role] != before[role]], ["worker"])

    def test_dashboards_and_rules_are_those_of_the_repository(self):
        objects, _ = chart.render(chart.presets()["full-monitoring"])
        boards = {path.name: path.read_bytes() for path in (chart.ROOT / "grafana/dashboards").glob("*.json")}
        found = {
            key: value.encode()
            for item in objects
            if item["metadata"].get("labels", {}).get("grafana_dashboard")
            for key, value in item["data"].items()
        }
        self.assertGreater(len(boards), 0)
        self.assertEqual(found, boards)
        (rule,) = [item for item in objects if item["kind"] == "PrometheusRule"]
        groups = [
            group
            for path in sorted((chart.ROOT / "grafana/rules").glob("*.yaml"))
            for group in yaml.safe_load(path.read_text())["groups"]
        ]
        self.assertEqual(rule["spec"]["groups"], groups)

    def test_alerts_and_dashboards_link_to_the_console_where_there_is_one(self):
        values, url = chart.presets()["full-monitoring"], "https://dfks.example.com/"
        plain, _ = chart.render(values)
        linked, _ = chart.render(chart.over(values, {"monitoring": {"consoleUrl": url}}))
        for before, after in zip(plain, linked, strict=True):
            if before["kind"] == "PrometheusRule":
                for rule in alerts(before):
                    self.assertNotIn("console", rule["annotations"])
                    rule["annotations"]["console"] = url
            elif before["metadata"].get("labels", {}).get("grafana_dashboard"):
                for item in (before, after):
                    item["data"] = {name: json.loads(text) for name, text in item["data"].items()}
                (board,) = before["data"].values()
                (found,) = after["data"].values()
                self.assertEqual([link["url"] for link in found["links"] if link["title"] == "Console"], [url])
                board["links"].insert(0, found["links"][0])
            self.assertEqual(before, after)
        self.assertEqual(sum(len(alerts(item)) for item in linked if item["kind"] == "PrometheusRule"), 23)

    def test_alerts_and_legends_name_pods(self):
        objects, _ = chart.render(chart.presets()["full-monitoring"])
        (monitor,) = [item for item in objects if item["kind"] == "ServiceMonitor"]
        named = {"sourceLabels": ["__meta_kubernetes_pod_name"], "targetLabel": "instance"}
        self.assertEqual(monitor["spec"]["endpoints"][0]["relabelings"], [named])

    def test_the_service_monitor_finds_one_service_a_role(self):
        objects, _ = chart.render(chart.presets()["full-monitoring"])
        (monitor,) = [item for item in objects if item["kind"] == "ServiceMonitor"]
        labels = monitor["spec"]["selector"]["matchLabels"]
        found = [
            item
            for item in objects
            if item["kind"] == "Service" and labels.items() <= item["metadata"]["labels"].items()
        ]
        self.assertEqual(sorted(chart.role_of(item) for item in found), sorted(chart.ROLES))
        for item in found:
            self.assertIn(monitor["spec"]["endpoints"][0]["port"], [port["name"] for port in item["spec"]["ports"]])

    def test_packaged_it_renders_the_same(self):
        with tempfile.TemporaryDirectory() as folder:
            archive = helm_python.package(str(chart.complete()), destination=folder)
            values = chart.presets()["full-monitoring"]
            with helm_python.Chart.load(archive) as packed, helm_python.Chart.load(str(chart.complete())) as plain:
                names = {"name": chart.RELEASE, "namespace": chart.NAMESPACE}
                self.assertEqual(packed.render(values, **names), plain.render(values, **names))

    def test_the_symbolic_links_of_the_chart_are_packaged_as_files(self):
        with helm_python.Chart.load(str(chart.CHART)) as plain:
            names = {item["name"] for item in plain.files}
        self.assertIn("files/dashboards/dfks-overview.json", names)
        self.assertIn("files/rules/dfks-alerts.yaml", names)


if __name__ == "__main__":
    unittest.main()
