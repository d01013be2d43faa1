// Checks schemas/asyncapi.yaml as @asyncapi/parser does, references to the schema files included: node check-asyncapi.mjs FILE
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const require = createRequire(resolve('.tools/node/package.json'));
const { Parser, fromFile } = require('@asyncapi/parser');

const file = process.argv[2];
// the document is AsyncAPI 3.0; 3.1 changes nothing that the document uses
const expected = new Set(['asyncapi-latest-version']);
const parsed = await fromFile(new Parser(), file).parse();
const { document } = parsed;
const diagnostics = parsed.diagnostics.filter(({ code }) => !expected.has(code));
for (const { severity, code, message, path, source } of diagnostics) {
  console.log(`${['error', 'warning', 'information', 'hint'][severity]} ${code}: ${message} at ${source ?? ''}#/${path.join('/')}`);
}
if (!document || diagnostics.length) process.exit(1);
const messages = document.messages().all();
const payloads = messages.filter((message) => message.payload()?.properties());
console.log(`${document.channels().all().length} channels, ${document.operations().all().length} operations, ${messages.length} messages`);
if (payloads.length < messages.length / 2) throw new Error('the schemas are not referred to');
