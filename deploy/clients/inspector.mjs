// The MCP Inspector's command line: a process a call.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { MCP_CANARY, MCP_TOKEN, MCP_URL } from './session.mjs';

const manifest = join(dirname(createRequire(import.meta.url).resolve('node/package.json')), '../@modelcontextprotocol/inspector/package.json');
const bin = Object.values(JSON.parse(readFileSync(manifest)).bin)[0];
const inspector = join(dirname(manifest), bin);

function call(...args) {
  const fixed = ['--cli', MCP_URL, '--transport', 'http', '--header', `Authorization: Bearer ${MCP_TOKEN}`];
  const env = { ...process.env, MCP_INSPECTOR_SECRET_STORE: 'memory' };
  const shown = execFileSync(process.execPath, [inspector, ...fixed, '--stored-auth-only', '--format', 'json', '--method', ...args], { env });
  return JSON.parse(shown);
}

const listed = call('tools/list');
assert.equal((listed.tools ?? listed.result.tools).length, 11);
const created = call('tools/call', '--tool-name', 'todo.create', '--tool-arg', `title=${MCP_CANARY}`);
assert.equal((created.structuredContent ?? created.result.structuredContent).task.title, MCP_CANARY);
