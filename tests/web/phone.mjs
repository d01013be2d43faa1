// A phone of a browser's SIP library, told on stdin what to do: node phone.mjs jssip|sip.js ws://HOST:PORT PRESENTITY
//
//   subscribe, press on|off, refresh, unsubscribe     "ready" at first; then a line for each lamp of each NOTIFY, and "ended"
//
// The libraries are as they are published; of the two, only SIP.js has no call for a SUBSCRIBE with a body in a dialog: its dialog has.
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';

const require = createRequire(resolve('package.json'));
globalThis.WebSocket = require('ws'); // Node has none of its own before 22

const [library, server, presentity] = process.argv.slice(2);
const EVENT = 'as-feature-event';
const TYPE = 'application/x-as-feature-event+xml';
const ACCEPT = `${TYPE}, multipart/mixed`;
const say = (line) => process.stdout.write(`${line}\n`);

const dnd = (on) =>
  `<?xml version="1.0" encoding="ISO-8859-1"?>\r\n<SetDoNotDisturb xmlns="http://www.ecma-international.org/standards/ecma-323/csta/ed3">` +
  `<device/><doNotDisturbOn>${on}</doNotDisturbOn></SetDoNotDisturb>`;

function show(body) {
  const lamps = [...(body ?? '').matchAll(/<doNotDisturbOn>(true|false)<\/doNotDisturbOn>/g)].map(([, on]) => `DoNotDisturb ${on}`);
  const forwards = [...(body ?? '').matchAll(/<forwardingType>(\w+)<\/forwardingType><forwardStatus>(\w+)</g)].map(([, kind, on]) => `${kind} ${on}`);
  [...lamps, ...forwards].forEach(say);
}

function jssip() {
  const JsSIP = require('jssip');
  const socket = new JsSIP.WebSocketInterface(server);
  const ua = new JsSIP.UA({ sockets: [socket], uri: presentity, register: false });
  let subscriber;
  const subscribe = () => {
    subscriber = ua.subscribe(presentity, EVENT, ACCEPT, { expires: 600, contentType: TYPE, params: {} });
    subscriber.on('notify', (isFinal, request, body) => show(body));
    subscriber.on('terminated', (code, reason) => say(`ended ${code} ${reason}`));
    subscriber.subscribe();
  };
  ua.on('connected', () => say('ready'));
  ua.start();
  return {
    subscribe,
    press: (on) => subscriber.subscribe(dnd(on)),
    refresh: () => subscriber.subscribe(),
    unsubscribe: () => subscriber.terminate(),
  };
}

async function sipJs() {
  const { UserAgent, Subscriber } = await import(resolve('node_modules/sip.js/lib/index.js'));
  const uri = UserAgent.makeURI(presentity);
  const agent = new UserAgent({ uri, transportOptions: { server }, logLevel: 'error' });
  await agent.start();
  let subscriber;
  const subscribe = () => {
    subscriber = new Subscriber(agent, uri, EVENT, { expires: 600, extraHeaders: [`Accept: ${ACCEPT}`] });
    subscriber.delegate = {
      onNotify: (notification) => {
        notification.accept();
        show(notification.request.body);
      },
    };
    subscriber.stateChange.addListener((state) => state === 'Terminated' && say('ended'));
    subscriber.subscribe();
  };
  say('ready');
  const body = (on) => ({ contentDisposition: 'render', contentType: TYPE, content: dnd(on) });
  return {
    subscribe,
    press: (on) => {
      const contact = `Contact: ${agent.contact}`;
      subscriber._dialog.subscribe(undefined, { extraHeaders: [`Event: ${EVENT}`, 'Expires: 600', contact], body: body(on) });
    },
    refresh: () => subscriber.subscribe(),
    unsubscribe: () => subscriber.unsubscribe(),
  };
}

const phone = library === 'jssip' ? jssip() : await sipJs();
for await (const line of createInterface({ input: process.stdin })) {
  const [word, argument] = line.split(' ');
  phone[word](argument === 'on');
}
process.exit(0);
