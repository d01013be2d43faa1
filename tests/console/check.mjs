// The console in a browser, against a running dfks, by keyboard alone: node check.mjs DFKS [FOLDER for pictures]
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { subscribe } from './phone.mjs';
import { TOKEN, start } from './product.mjs';

const require = createRequire(resolve('.tools/node/package.json'));
const { chromium } = require('playwright-core');
const axe = require.resolve('axe-core/axe.min.js');

const [binary, pictures] = process.argv.slice(2);
const ALICE = 'sip:alice@example.com';
const WITHIN_MS = 15_000;
const DESKTOP = { width: 1280, height: 860 };
const PHONE = { width: 390, height: 844 };
/** The pictures that documents show; DRAW_ALL=1: every page. */
const DRAWN = /^(presentity-.*|change-desktop-light|now-phone-dark|fleet-desktop-dark)$/;

const product = await start(resolve(binary));
const folder = mkdtempSync(join(tmpdir(), 'dfks-browser-'));
const browser = await chromium.launchPersistentContext(folder, {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'],
  viewport: DESKTOP,
  colorScheme: 'light',
  reducedMotion: 'reduce',
});
const page = browser.pages()[0] ?? (await browser.newPage());
page.setDefaultTimeout(WITHIN_MS);

const problems = [];
// a wrong token is answered 401, which a browser writes into its console
let isRefusalWanted = false;
page.on('console', (message) => {
  const isWanted = isRefusalWanted && message.text().includes('401');
  if (['error', 'warning'].includes(message.type()) && !isWanted) problems.push(`console: ${message.text()}`);
});
page.on('pageerror', (error) => problems.push(`page: ${error.stack ?? error}`));
page.on('request', (request) => {
  if (!request.url().replace(/^blob:/, '').startsWith(product.http)) problems.push(`asked elsewhere: ${request.url()}`);
  if (/alice|sip:|sip%3A/i.test(request.url())) problems.push(`a presentity in an address: ${request.url()}`);
});

const said = (text) => process.stdout.write(`ok  ${text}\n`);
const sees = (selector, text) => page.locator(selector, text ? { hasText: text } : {}).first().waitFor();

/** Moves on by Tab until the element has the focus. */
async function tabTo(selector) {
  const wanted = page.locator(selector).first();
  await wanted.waitFor();
  for (let tries = 0; tries < 150; tries += 1) {
    if (await wanted.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press('Tab');
  }
  assert.fail(`${selector} is not reached by Tab`);
}

async function isAccessible(name) {
  await page.evaluate(await (await import('node:fs/promises')).readFile(axe, 'utf8'));
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  const found = violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map(({ target }) => target.join(' ')).join(', ')}`);
  assert.deepEqual(found, [], `axe finds something on ${name}`);
}

/** Each page at each size, light and dark: looked at by axe, drawn where a folder is given. */
async function looks(name) {
  for (const [size, viewport] of [['desktop', DESKTOP], ['phone', PHONE]]) {
    for (const colorScheme of ['light', 'dark']) {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await isAccessible(`${name}, ${size}, ${colorScheme}`);
      const isWide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
      assert.ok(!isWide, `${name} is wider than a ${size}`);
      const picture = `${name}-${size}-${colorScheme}`;
      if (pictures && (process.env.DRAW_ALL || DRAWN.test(picture))) await page.screenshot({ path: join(pictures, `console-${picture}.png`) });
    }
  }
  await page.setViewportSize(DESKTOP);
  await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
  said(`${name}: nothing found by axe, no sideways scrolling, at two sizes, light and dark`);
}

async function follows() {
  await page.keyboard.press('/');
  await page.keyboard.type('alice@example.com');
  await page.keyboard.press('Enter');
  await sees('h1', ALICE);
  await sees('.head .pill', 'In step');
  await sees('.live.good', 'live');
  assert.equal(await page.locator('.phones > .phone').count(), 2);
  said('somebody is looked up, and all is in step');

  await product.dfks('set', ALICE, 'DND', 'on', '--actor', 'helpdesk');
  await sees('.key.on .key-name', 'DND');
  await sees('.event', 'DND off → on');
  await sees('.event', 'helpdesk');
  await sees('.event', 'phone confirmed DND');
  said('a change is followed live');
}

async function opensTheLadder() {
  await tabTo('.event:has-text("DND off → on") .way');
  await page.keyboard.press('Enter');
  await sees('h1', 'A change’s whole way');
  await sees('.head .pill', 'Told');
  await sees('.step', 'helpdesk');
  assert.equal(await page.locator('.step', { hasText: 'NOTIFY' }).filter({ hasText: '200' }).count(), 2);
  const isDrawn = await page.locator('.ladder img').evaluate((image) => image.decode().then(() => image.naturalWidth > 100));
  assert.ok(isDrawn, 'the picture of the ladder');
  said('its whole way is opened: who asked, each step, both NOTIFYs');
}

/** A command that nobody can carry out, kept until somebody decides. */
async function gaveUp() {
  await product.dfks('set', ALICE, 'Foo', 'on', '--durable', '--id', 'order-4711');
  await goTo('d', 'Dead letters');
  await page.keyboard.press('r');
  await sees('.letter', 'order-4711');
}

async function replays(isUnlocked) {
  await tabTo('.letter button[aria-label^="Replay"]');
  await page.keyboard.press('Enter');
  if (!isUnlocked) {
    await sees('dialog', 'Unlock actions');
    await page.keyboard.press('Escape');
    await page.locator('dialog').waitFor({ state: 'detached' });
    await sees('.letter', 'order-4711');
    return said('a dead letter is not replayed without the token');
  }
  await sees('.toast', 'is published again.');
  return said('a dead letter is replayed with it');
}

async function goTo(key, heading) {
  await page.locator('#page').focus();
  await page.keyboard.press('g');
  await page.keyboard.press(key);
  await sees('h1', heading);
}

async function lookUp() {
  await page.locator('#page').focus();
  await page.keyboard.press('/');
  await page.keyboard.press('ControlOrMeta+A');
  await page.keyboard.type('alice@example.com');
  await page.keyboard.press('Enter');
  await sees('h1', ALICE);
  await sees('.live.good', 'live');
}

async function acts(phones) {
  await tabTo('[data-key="resync-all"]');
  await page.keyboard.press('Enter');
  await sees('dialog', 'Unlock actions');
  await isAccessible('the dialog');
  await page.keyboard.press('Escape');
  await page.locator('dialog').waitFor({ state: 'detached' });
  said('without the token nothing is done');

  await page.keyboard.press('u');
  await sees('dialog', 'Unlock actions');
  isRefusalWanted = true;
  await page.keyboard.type('not the token');
  await page.keyboard.press('Enter');
  await sees('.problem', 'That is not the token.');
  isRefusalWanted = false;
  await page.keyboard.press('ControlOrMeta+A');
  await page.keyboard.type(TOKEN);
  await page.keyboard.press('Tab');
  await page.keyboard.type('mia');
  await page.keyboard.press('Enter');
  await sees('#lock', 'unlocked');
  const before = phones[0].bodies.length;
  await tabTo('[data-key="resync-all"]');
  await page.keyboard.press('Enter');
  await sees('.toast', '2 phones are told everything again.');
  await sees('.event', 'is told everything again by console mia 127.0.0.1:');
  assert.ok(phones[0].bodies.length > before, 'the phone was told');
  said('with the token the phones are told again, and the event says who asked');

  await tabTo('[data-key="set-CallForwardingBusy"]');
  await page.keyboard.press('Enter');
  await sees('dialog', 'Set Forward when busy');
  await page.keyboard.press('Tab');
  await page.keyboard.type('sip:bob@example.com');
  await page.keyboard.press('Enter');
  await sees('.toast', 'Forward when busy is on: 2 phones are told.');
  await sees('.key.on .key-note', 'to sip:bob@example.com');
  said('a feature is set');
}

async function fails(phones) {
  phones[1].status = 500;
  await product.dfks('set', ALICE, 'CFNA', 'on', '--value', 'forwardTo=sip:desk@example.com', '--value', 'ringCount=4');
  await sees('.finding.bad', 'NOTIFY failed');
  await sees('.key.bad', 'answered 500');
  await sees('.head .pill.bad');
  said('a phone that answers 500 is said to be behind, with the next step');
}

async function tails() {
  await goTo('e', 'Events as they happen');
  await tabTo('#tail-domain');
  await page.keyboard.type('other.example');
  await page.keyboard.press('Enter');
  await sees('.live.good', 'live');
  await product.dfks('set', ALICE, 'DND', 'off');
  await product.dfks('set', 'sip:carol@other.example', 'DND', 'on');
  await sees('.event', 'sip:carol@other.example');
  assert.equal(await page.locator('.event', { hasText: ALICE }).count(), 0);
  said('the events of one domain are shown, and no other');
}

try {
  const phones = [
    await subscribe(product.sip, ALICE, 'Yealink SIP-T46U 108.86.0.20'),
    await subscribe(product.sip, ALICE, 'PolyVVX-VVX_450-UA/6.4.3.5156'),
  ];
  await page.goto(`${product.http}/`);
  await sees('h1', 'Why is this lamp dark?');
  await sees('.finding', 'Every role answers');
  await looks('first');
  await follows();
  await opensTheLadder();
  await looks('change');
  await gaveUp();
  await replays(false);
  await lookUp();
  await acts(phones);
  await goTo('d', 'Dead letters');
  await looks('dead');
  await replays(true);
  await lookUp();
  await fails(phones);
  await page.locator('.toast').last().waitFor({ state: 'detached' });
  await looks('presentity');
  await tails();
  await looks('events');
  await goTo('l', 'Fleet');
  await sees('th', 'edge-a');
  await looks('fleet');
  await goTo('f', 'Flow');
  await sees('td', '/s');
  await looks('flow');
  await goTo('n', 'Why is this lamp dark?');
  await sees('.finding.warn', 'given up on');
  await looks('now');
  assert.deepEqual(problems, []);
  said('no error in the console, no request elsewhere, no presentity in an address');
} catch (error) {
  process.stderr.write(`${error.stack}\n${problems.join('\n')}\n${await page.locator('body').innerText().catch(() => '')}\n`);
  await page.screenshot({ path: join(tmpdir(), 'dfks-console-failed.png') }).catch(() => {});
  process.exitCode = 1;
} finally {
  await browser.close();
  rmSync(folder, { recursive: true, force: true });
  await product.stop();
  process.exit();
}
