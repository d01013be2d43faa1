// What ten open pages of the console cost: pages.mjs [DFKS]. 20 phones, a change each 50 ms for each, with and without the pages in turn.
// Prints medians of processor time a change (the whole process, its edge thread) and of the reply to dfks.set.
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { start } from '../tests/console/product.mjs';
import { subscribe } from '../tests/console/phone.mjs';

const { connect, StringCodec } = createRequire(resolve('.tools/node/package.json'))('nats');
const PHONES = 20;
const EVERY_MS = 50;
const ROUND_MS = 6000;
const ROUNDS = 6;
const PAGES = 10;
const TICKS = 100; // of a second, as Linux counts them

const product = await start(resolve(process.argv[2] ?? 'target/release/dfks'));
const bus = await connect({ servers: product.nats });
const text = StringCodec();
const phones = [];
for (let at = 0; at < PHONES; at++) phones.push(await subscribe(product.sip, `sip:user${at}@example.com`, 'bench'));

const spent = (path) => {
  const fields = readFileSync(path, 'utf8').split(') ').at(-1).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
};
const tasks = `/proc/${product.pid}/task`;
const edge = readdirSync(tasks).find((task) => readFileSync(`${tasks}/${task}/comm`, 'utf8').startsWith('edge'));
const cpu = () => [spent(`/proc/${product.pid}/stat`), spent(`${tasks}/${edge}/stat`)];
const middle = (numbers) => numbers.toSorted((one, other) => one - other)[Math.floor(numbers.length / 2)];

async function changes(forMs) {
  const end = Date.now() + forMs;
  const took = [];
  const before = cpu();
  const turns = phones.map(async (_, at) => {
    for (let status = 1; Date.now() < end; status = 1 - status) {
      const began = performance.now();
      const change = { presentity: `sip:user${at}@example.com`, feature: 'DoNotDisturb', status };
      const reply = await bus.request('dfks.set', text.encode(JSON.stringify(change)), { timeout: 5000 });
      if (JSON.parse(text.decode(reply.data)).error) throw new Error(text.decode(reply.data));
      took.push(performance.now() - began);
      await new Promise((done) => setTimeout(done, Math.max(0, EVERY_MS - (performance.now() - began))));
    }
  });
  await Promise.all(turns);
  const [whole, ofEdge] = cpu().map((after, at) => (1e6 * (after - before[at])) / took.length);
  return { whole, edge: ofEdge, reply: 1000 * middle(took) };
}

function open() {
  const closing = new AbortController();
  const post = (errand, body) =>
    fetch(`${product.http}/api/${errand}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
      signal: closing.signal,
    });
  const follow = async (filter) => {
    for await (const _ of (await post('tail', filter)).body);
  };
  for (let page = 0; page < PAGES; page++) {
    const of = page % 2 ? {} : { presentity: `sip:user${page}@example.com` };
    follow(of).catch(() => {});
    const look = () => post(page % 2 ? 'flow' : 'fleet', {}).then((answer) => answer.text()).catch(() => {});
    const timer = setInterval(look, page % 2 ? 2000 : 5000);
    closing.signal.addEventListener('abort', () => clearInterval(timer));
  }
  return () => closing.abort();
}

await changes(2000);
const found = { without: [], with: [] };
for (let round = 0; round < ROUNDS; round++) {
  found.without.push(await changes(ROUND_MS));
  const close = open();
  await new Promise((done) => setTimeout(done, 500));
  found.with.push(await changes(ROUND_MS));
  close();
  await new Promise((done) => setTimeout(done, 500));
}
for (const [what, unit] of [['edge', 'µs of the edge thread a change'], ['whole', 'µs of the process a change'], ['reply', 'µs to the reply']]) {
  const [without, beside] = ['without', 'with'].map((how) => middle(found[how].map((round) => round[what])));
  const more = (100 * (beside / without - 1)).toFixed(1);
  console.log(`${unit}: ${without.toFixed(0)} without, ${beside.toFixed(0)} with ${PAGES} pages (${more} %), medians of ${ROUNDS}`);
}
await bus.close();
for (const phone of phones) phone.close();
await product.stop();
process.exit();
