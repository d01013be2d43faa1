// A whole dfks for the console's test, on free ports of loopback, with a token for actions.
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const run = promisify(execFile);
const STARTS_WITHIN_MS = 60_000;

export const TOKEN = 'a-token-of-the-test';

export async function start(binary) {
  const folder = mkdtempSync(join(tmpdir(), 'dfks-console-'));
  writeFileSync(join(folder, 'token'), `${TOKEN}\n`);
  const config = [
    '[nats]',
    'embedded_listen = "127.0.0.1:0"',
    'data_dir = "data"',
    '[sip]',
    'listen = ["udp:127.0.0.1:0"]',
    'edge_id = "edge-a"',
    '[mi]',
    'http = ""',
    '[http]',
    'listen = "127.0.0.1:0"',
    'token_file = "token"',
    '[log]',
    'format = "json"',
  ];
  writeFileSync(join(folder, 'dfks.toml'), `${config.join('\n')}\n`);
  const env = { NATS_SERVER_BIN: resolve('.tools/bin/nats-server'), ...process.env };
  const child = spawn(binary, ['run', '--config', join(folder, 'dfks.toml')], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'], env });
  const log = [];
  const running = new Promise((done, failed) => {
    setTimeout(() => failed(new Error(`it does not run:\n${log.join('\n')}`)), STARTS_WITHIN_MS).unref();
    child.on('exit', () => failed(new Error(`it ended:\n${log.join('\n')}`)));
    createInterface({ input: child.stderr }).on('line', (line) => {
      log.push(line);
      const fields = line.startsWith('{') ? JSON.parse(line) : {};
      const said = fields.fields ?? fields;
      if (said.message === 'running') done(said);
    });
  });
  const { http, nats, sip } = await running;
  const dfks = async (...args) => (await run(binary, [...args, '--nats', nats], { cwd: folder })).stdout;
  const stop = async () => {
    const ended = new Promise((done) => child.on('exit', done));
    child.kill('SIGTERM');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  return { pid: child.pid, http, nats, sip: sip.replace('udp:', ''), dfks, stop, log };
}
