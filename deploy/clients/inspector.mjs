// The MCP Inspector: its command line, a process a call, and `mcpdo`, whose connections outlive its processes.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { slowCallsBecome, MCP_CANARY, MCP_TOKEN, MCP_URL } from './session.mjs';

const manifest = join(dirname(createRequire(import.meta.url).resolve('node/package.json')), '../@modelcontextprotocol/inspector/package.json');
const { bin } = JSON.parse(readFileSync(manifest));
const program = (name) => join(dirname(manifest), bin[name]);
// What it keeps is kept in a folder of the trial's own, whose connections end with it.
const env = { ...process.env, MCP_INSPECTOR_SECRET_STORE: 'file' };

function commandLine(...args) {
  const fixed = ['--cli', MCP_URL, '--transport', 'http', '--header', `Authorization: Bearer ${MCP_TOKEN}`];
  return [program('mcp-inspector'), ...fixed, '--stored-auth-only', '--format', 'json', '--method', ...args];
}

function call(...args) {
  const shown = JSON.parse(execFileSync(process.execPath, commandLine(...args), { env, stdio: ['ignore', 'pipe', 'ignore'] }));
  return shown.result ?? shown;
}

function mcpdo(...args) {
  return JSON.parse(execFileSync(process.execPath, [program('mcpdo'), ...args, '--format', 'json'], { env, stdio: ['ignore', 'pipe', 'ignore'] }));
}

// Lists, calls, and says so when a tool says no.
function tryOut() {
  assert.equal(call('tools/list').tools.length, 11);
  const created = call('tools/call', '--tool-name', 'todo.create', '--tool-arg', `title=${MCP_CANARY}`);
  assert.equal(created.structuredContent.task.title, MCP_CANARY);
  const refused = spawnSync(process.execPath, commandLine('tools/call', '--tool-name', 'todo.create'), { env, encoding: 'utf8' });
  assert.equal(refused.status, 5, 'its exit code for an error of the tool');
  assert.match(JSON.parse(refused.stdout).result.content[0].text, /title/);
}

// Gives a call up by ending the process that makes it.
async function giveUp(era) {
  const slow = spawn(process.execPath, commandLine('tools/call', '--tool-name', 'test_slow', '--protocol-era', era), { env, stdio: 'ignore' });
  const gone = once(slow, 'exit');
  await slowCallsBecome(1, tool);
  slow.kill('SIGTERM');
  await gone;
}

async function tool(name) {
  return call('tools/call', '--tool-name', name, '--protocol-era', 'modern');
}

async function tryPatience() {
  for (const era of ['legacy', 'modern']) {
    const { content } = call('tools/call', '--tool-name', 'test_reconnection', '--protocol-era', era);
    assert.match(content[0].text, /another connection/);
  }
  // In the revision without sessions a lost connection is how a call is cancelled. In a session it means nothing, and the
  // Inspector says nothing either: it sends no `notifications/cancelled` and ends no session, so such a call goes on.
  await giveUp('modern');
  await slowCallsBecome(0, tool);
}

// How often the Inspector may ask in a session that is gone before it opens another.
const TRIES_MAX = 5;
const spaces = (era) => spawnSync(process.execPath, [program('mcpdo'), `@${era}`, 'tools/call', 'spaces.list', '--format', 'json'], { env, encoding: 'utf8' });

// A connection in each era that was opened before the server was restarted goes on after it. The session of the earlier
// one is gone: the call that finds out is told so, and one of the next opens another.
function connection(stage) {
  for (const era of ['legacy', 'modern']) {
    if (stage === 'open') {
      const entry = { type: 'streamable-http', url: MCP_URL, headers: { Authorization: `Bearer ${MCP_TOKEN}` }, protocolEra: era };
      const file = join(env.HOME, `${era}.json`);
      writeFileSync(file, JSON.stringify({ mcpServers: { [era]: entry } }));
      assert.equal(mcpdo('connect', era, '--config', file).protocolEra, era);
    }
    let answer = spaces(era);
    for (let tries = 0; stage === 'again' && era === 'legacy' && answer.status !== 0 && tries < TRIES_MAX; tries += 1) {
      assert.match(answer.stderr, /no such session/);
      answer = spaces(era);
    }
    assert.equal(answer.status, 0, answer.stderr);
    assert.equal(JSON.parse(answer.stdout).structuredContent.spaces.length, 1);
  }
}

const trials = { '': tryOut, patience: tryPatience, open: () => connection('open'), again: () => connection('again') };
await trials[process.env.MCP_TRIAL ?? '']();
