// Makes one self-contained HTML page of schemas/asyncapi.yaml: node asyncapi-html.mjs FILE PAGE
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const require = createRequire(resolve('.tools/node/package.json'));
const { Parser, fromFile, stringify } = require('@asyncapi/parser');

const [file, page] = process.argv.slice(2);
const { document, diagnostics } = await fromFile(new Parser(), file).parse();
if (!document) throw new Error(diagnostics.map(({ message }) => message).join('\n'));

const part = (path) => readFileSync(resolve('.tools/node/node_modules/@asyncapi/react-component', path), 'utf8');
// neither may end the element that it stands in, nor load anything from elsewhere
const inScript = (text) => text.replaceAll('</script', '<\\/script').replaceAll('<!--', '<\\!--');
const style = part('styles/default.min.css').replaceAll('</style', '<\\/style');
if (/url\(\s*['"]?https?:/i.test(style) || /@import/i.test(style)) throw new Error('the style sheet loads something');
// everything stands in the page: whatever it tried to load, a browser refuses
const policy = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; form-action 'none'";
const config = { show: { errors: false, sidebar: true }, expand: { messageExamples: true }, sidebar: { showOperations: 'bySpec' } };

writeFileSync(page, `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${document.info().title()} ${document.info().version()}: subjects and messages</title>
<link rel="icon" href="data:,">
<style>body { margin: 0 }
${style}</style>
</head>
<body>
<div id="asyncapi">This page needs JavaScript.</div>
<script>${inScript(part('browser/standalone/without-parser.js'))}</script>
<script>AsyncApiStandalone.render({ schema: ${inScript(stringify(document))}, config: ${JSON.stringify(config)} }, document.getElementById('asyncapi'));</script>
</body>
</html>
`);
console.log(page);
