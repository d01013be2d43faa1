"""deploy/nats/permissions.conf on a real server: what each user may and may not say and hear."""

import asyncio
import operator
import unittest

import chart
import nats
import nats_servers

PUBLISH = {
    # subject: who may
    "dfks.get": {"edge", "mi", "portal"},
    "dfks.set": {"portal", "mi"},
    "dfks.command.set": {"portal", "mi"},
    "dfks.set.example_com": {"tenant"},
    "dfks.get.example_com": {"tenant"},
    "dfks.command.set.example_com": {"tenant", "mi"},
    "dfks.set.other_example": set(),
    "dfks.get.other_example": set(),
    "dfks.command.set.other_example": {"mi"},
    "dfks.route.set": {"edge", "mi"},
    "dfks.watchers": {"worker", "mi", "portal"},
    "dfks.responder.auth.example_com": {"edge"},
    "dfks.responder.get.example_com.DoNotDisturb": {"worker"},
    "dfks.responder.set.example_com.DoNotDisturb": {"worker"},
    "dfks.responder.anybody": {"edge", "worker", "mi"},
    "$SRV.PING.dfks-worker": {"edge", "mi"},
    "dfks.resync": {"mi"},
    "dfks.end": {"mi"},
    "dfks.edge.resync.edge-0": {"mi"},
    "dfks.edge.end.edge-0": {"mi"},
    "dfks.why": {"mi"},
    "$SRV.STATS": {"mi"},
    "dfks.sip": set(),
    "dfks.responders": {"mi"},
    "dfks.responders.forget": set(),
    "dfks.event.subscription.example_com": {"edge"},
    "dfks.event.feature.example_com.DoNotDisturb": {"edge", "mi"},
    "dfks.event.notify.example_com": {"edge"},
    "dfks.event.refused.example_com": {"edge", "mi"},
    "dfks.event.refused.unknown": {"edge", "mi"},
    "dfks.event.hand.unknown": {"edge", "worker", "mi"},
    "dfks.status": {"mi"},
    "dfks.log": {"mi"},
    "$JS.API.CONSUMER.CREATE.DFKS_DEAD.read-1": {"mi"},
    "$JS.API.STREAM.MSG.DELETE.DFKS_DEAD": {"mi"},
    "$JS.API.STREAM.MSG.DELETE.DFKS_EVENTS": set(),
    "dfks.notify.edge-0": {"edge", "mi"},
    "dfks.timer.at.sip=3Aalice.DoNotDisturb": {"mi"},
    "dfks.timer.due.sip=3Aalice.DoNotDisturb": set(),
    "$JS.API.STREAM.CREATE.DFKS_TIMERS": {"mi"},
    "$JS.API.STREAM.UPDATE.DFKS_TIMERS": {"mi"},
    "$JS.API.STREAM.MSG.GET.DFKS_TIMERS": {"mi"},
    "$JS.API.CONSUMER.MSG.NEXT.DFKS_TIMERS.due": {"mi"},
    "dfks.dead.command": {"edge", "mi"},
    "$KV.dfks-subscriptions.abc": {"edge"},
    "$KV.dfks-features.sip=3Aalice": {"worker"},
    "$KV.dfks-edges.edge-0": {"edge"},
    "$KV.dfks-responders.set.example_com.DoNotDisturb": {"worker"},
    "$JS.API.CONSUMER.CREATE.KV_dfks-responders.x.$KV.dfks-responders.>": {"worker"},
    "$JS.API.STREAM.CREATE.KV_dfks-responders": {"edge", "worker", "mi"},
    "$JS.API.STREAM.MSG.GET.KV_dfks-edges": {"edge"},
    "$JS.API.STREAM.CREATE.KV_dfks-edges": {"edge", "worker", "mi"},
    "$JS.API.STREAM.INFO.DFKS_EVENTS": {"edge", "worker", "mi"},
    "$JS.API.STREAM.CREATE.DFKS_EVENTS": {"edge", "worker", "mi"},
    "$JS.API.STREAM.CREATE.OTHER": set(),
    "$JS.API.STREAM.DELETE.DFKS_EVENTS": set(),
    "$JS.API.STREAM.PURGE.KV_dfks-features": set(),
    "$JS.API.STREAM.UPDATE.DFKS_EVENTS": set(),
    "$JS.API.CONSUMER.MSG.NEXT.DFKS_NOTIFY.edge-0": {"edge"},
    "$JS.API.CONSUMER.MSG.NEXT.DFKS_COMMANDS.mi": {"mi"},
    "$JS.API.DIRECT.GET.KV_dfks-features.x": {"worker"},
    "$JS.API.STREAM.INFO.KV_dfks-features": {"edge", "worker", "mi"},
    "$JS.API.STREAM.MSG.GET.KV_dfks-features": {"worker"},
    "$JS.API.CONSUMER.CREATE.KV_dfks-features.watchers-1.$KV.dfks-features.>": {"edge"},
    "$JS.API.CONSUMER.DELETE.KV_dfks-features.watchers-1": {"edge"},
    "$JS.API.CONSUMER.DELETE.KV_dfks-features.tell": {"edge", "mi"},
    "$JS.API.CONSUMER.MSG.NEXT.DFKS_EVENTS.example_com": {"tenant", "mi"},
    "$JS.API.CONSUMER.INFO.DFKS_EVENTS.example_com": {"tenant"},
    "$JS.ACK.DFKS_EVENTS.example_com.1.1.1.1.0": {"tenant"},
    "$JS.API.CONSUMER.MSG.NEXT.DFKS_EVENTS.other_example": {"mi"},
    "$JS.API.CONSUMER.DELETE.DFKS_EVENTS.why-1": {"mi"},
    "$JS.ACK.DFKS_EVENTS.other_example.1.1.1.1.0": set(),
    "$JS.API.CONSUMER.CREATE.DFKS_EVENTS": set(),
    "$JS.API.CONSUMER.CREATE.DFKS_EVENTS.example_com": {"mi"},
    "$JS.API.CONSUMER.CREATE.DFKS_EVENTS.example_com.dfks.event.>": set(),
    "$JS.API.CONSUMER.DURABLE.CREATE.DFKS_EVENTS.example_com": set(),
    "$JS.API.STREAM.MSG.GET.DFKS_EVENTS": set(),
    "$JS.API.STREAM.MSG.GET.DFKS_NOTIFY": {"mi"},
    "$JS.API.DIRECT.GET.DFKS_EVENTS": set(),
    "_INBOX_edge.x.1": set(),
    "elsewhere": set(),
}

SUBSCRIBE = {
    # (subject, queue): who may
    ("dfks.get", "dfks-worker"): {"worker"},
    ("dfks.get", ""): set(),
    ("dfks.get.*", "dfks-worker"): {"worker"},
    ("dfks.get.example_com", "dfks-worker"): {"worker"},
    ("dfks.get.example_com", ""): set(),
    ("dfks.set.*", "dfks-mi"): {"mi"},
    ("dfks.set.example_com", ""): set(),
    ("dfks.command.set.example_com", ""): set(),
    ("dfks.route.set", "dfks-worker"): {"worker"},
    ("dfks.responders", ""): {"worker"},
    ("dfks.responders.forget", "dfks-worker"): {"worker"},
    ("dfks.responders.forget", ""): set(),
    ("dfks.set", "dfks-mi"): {"mi"},
    ("dfks.set", ""): set(),
    ("dfks.watchers", ""): {"edge"},
    ("dfks.status", ""): {"edge", "worker", "mi"},
    ("dfks.log", ""): {"edge", "worker", "mi"},
    ("dfks.resync", "dfks-mi"): {"mi"},
    ("dfks.resync", ""): set(),
    ("dfks.end", "dfks-mi"): {"mi"},
    ("dfks.why", "dfks-mi"): {"mi"},
    ("dfks.why", ""): set(),
    ("dfks.sip", ""): {"edge"},
    ("dfks.edge.resync.edge-0", ""): {"edge"},
    ("dfks.edge.end.edge-0", ""): {"edge"},
    ("dfks.responder.get.example_com.*", "billing"): {"responder", "tenant"},
    ("dfks.responder.set.example_com.DoNotDisturb", "billing"): {"responder", "tenant"},
    ("dfks.responder.auth.example_com", ""): {"responder", "tenant"},
    ("dfks.responder.get.other_example.*", "billing"): {"responder"},
    ("dfks.responder.auth.other_example", ""): {"responder"},
    ("dfks.responder.*.*.DoNotDisturb", ""): {"responder"},
    ("dfks.event.>", ""): {"portal", "observer", "mi"},
    ("dfks.event.*.example_com", ""): {"portal", "observer", "tenant", "mi"},
    ("dfks.event.*.example_com.>", ""): {"portal", "observer", "tenant", "mi"},
    ("dfks.event.feature.example_com.DoNotDisturb", ""): {"portal", "observer", "tenant", "mi"},
    ("dfks.event.*.other_example", ""): {"portal", "observer", "mi"},
    ("dfks.event.feature.other_example.>", ""): {"portal", "observer", "mi"},
    ("dfks.event.feature.*.*", ""): {"portal", "observer", "mi"},
    ("dfks.>", ""): set(),
    ("dfks.notify.*", ""): set(),
    ("$KV.dfks-subscriptions.>", ""): set(),
    ("$SRV.PING", ""): {"edge", "worker", "mi"},
    ("_INBOX_edge.x.*", ""): {"edge"},
    ("_INBOX_worker.x.*", ""): {"worker"},
    ("_INBOX_mi.x.*", ""): {"mi"},
    ("_INBOX_tenant.x.*", ""): {"tenant"},
    ("_INBOX_operator.x.*", ""): set(),
    ("_INBOX_cli.x.*", ""): {"portal"},
    ("_INBOX.>", ""): {"portal"},
    (">", ""): set(),
}
USERS = ("edge", "worker", "mi", "responder", "portal", "observer", "tenant")


async def violations(url, user, act):
    """What the server says against it.

    Then comes what nobody may: when that is refused, all before it has been said.
    """
    errors, is_over = [], asyncio.Event()

    async def note(error):
        if "the-end" in str(error):
            is_over.set()
        else:
            errors.append(str(error).lower())

    client = await nats.connect(
        url,
        user=user,
        password=f"{user}-secret",
        error_cb=note,
        allow_reconnect=False,
        inbox_prefix=f"_INBOX_{user}".encode(),
    )
    await act(client)
    await client.flush(10)
    await client.publish("the-end", b"")
    await asyncio.wait_for(is_over.wait(), 20)
    await client.close()
    return [error for error in errors if "permissions violation" in error]


class Permissions(unittest.TestCase):
    def test_each_user_may_what_it_needs_and_no_more(self):
        with nats_servers.Servers(1, permissions=chart.ROOT / "deploy/nats/permissions.conf") as servers:
            for user in USERS:
                for subject, may in PUBLISH.items():
                    with self.subTest(user=user, publish=subject):
                        act = operator.methodcaller("publish", subject, b"{}")
                        found = asyncio.run(violations(servers.url, user, act))
                        self.assertEqual(not found, user in may, found)
                for (subject, queue), may in SUBSCRIBE.items():
                    with self.subTest(user=user, subscribe=subject, queue=queue):
                        act = operator.methodcaller("subscribe", subject, queue)
                        found = asyncio.run(violations(servers.url, user, act))
                        self.assertEqual(not found, user in may, found)

    def test_the_operator_may_everything(self):
        with nats_servers.Servers(1, permissions=chart.ROOT / "deploy/nats/permissions.conf") as servers:

            async def everything():
                errors = []

                async def note(error):
                    errors.append(error)

                client = await nats.connect(servers.url, user="operator", password="operator-secret", error_cb=note)
                await client.subscribe(">")
                for subject in PUBLISH:
                    await client.publish(subject, b"{}")
                await client.flush(10)
                await client.close()
                return errors

            self.assertEqual(asyncio.run(everything()), [])

    def test_nobody_comes_in_without_a_password(self):
        with nats_servers.Servers(1, permissions=chart.ROOT / "deploy/nats/permissions.conf") as servers:

            async def come():
                async def quiet(_):
                    pass

                await nats.connect(servers.url, allow_reconnect=False, error_cb=quiet)

            with self.assertRaises(Exception) as caught:
                asyncio.run(come())
            self.assertIn("authorization", str(caught.exception).lower())


if __name__ == "__main__":
    unittest.main()
