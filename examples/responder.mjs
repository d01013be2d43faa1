// A responder in Node: office hours decide Do Not Disturb, and people may override them. Needs the npm package `nats`.
// NATS_URL names the server; OFFICE=open|closed stands for the clock.
import { connect, JSONCodec } from "nats";

const json = JSONCodec();
const chosen = new Map(); // by presentity: what somebody pressed
const atNight = process.env.OFFICE === "closed" ? 1 : 0;

const bus = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222" });

function serve(subject, answer) {
  bus.subscribe(subject, {
    queue: "office-hours",
    callback: (error, msg) => {
      if (error) return;
      msg.respond(json.encode(answer(json.decode(msg.data))));
    },
  });
}

serve("dfks.responder.get.*.DoNotDisturb", ({ presentity }) => ({ status: chosen.get(presentity) ?? atNight }));

serve("dfks.responder.set.*.DoNotDisturb", ({ presentity, status, origin }) => {
  // The front desk has to be reachable: only a command may silence it.
  if (status === 1 && origin === "phone" && presentity.startsWith("sip:desk@")) {
    return { error: { code: 403, description: "the desk stays reachable" } };
  }
  chosen.set(presentity, status);
  // Who is not disturbed does not ring elsewhere either.
  return status === 1 ? { also: [{ feature: "CallForwardingBusy", status: 0 }] } : {};
});

await bus.flush();
console.log("ready");
