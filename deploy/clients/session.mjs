// What every TypeScript client is put through.
import assert from 'node:assert/strict';

export const { MCP_URL, MCP_TOKEN, MCP_CANARY } = process.env;
export const requestInit = { headers: { Authorization: `Bearer ${MCP_TOKEN}` } };

export async function tryOut(client) {
  const { tools } = await client.listTools();
  assert.equal(tools.length, 11);
  const created = await client.callTool({ name: 'todo.create', arguments: { title: MCP_CANARY } });
  assert.equal(created.structuredContent.task.title, MCP_CANARY);
  const listed = await client.callTool({ name: 'todo.list', arguments: {} });
  assert.deepEqual(listed.structuredContent.tasks.map((task) => task.title), [MCP_CANARY]);
  const refused = await client.callTool({ name: 'todo.create', arguments: {} });
  assert.equal(refused.isError, true);
  assert.match(refused.content[0].text, /title/);
}

const pause = () => new Promise((resolve) => setTimeout(resolve, 50));

// Waits until so many calls of `test_slow` are under way on the server.
export async function slowCallsBecome(count, call) {
  for (const until = Date.now() + 20_000; Date.now() < until; await pause()) {
    const { content } = await call('test_slow_count');
    if (Number(content[0].text) === count) return;
  }
  assert.fail(`it did not come to ${count} calls in twenty seconds`);
}

// Cancelling and coming back, against the fixtures of deploy/conformance. `call` takes a tool's name and a signal.
export async function tryPatience(call) {
  const { content } = await call('test_reconnection');
  assert.match(content[0].text, /another connection/);
  const stop = new AbortController();
  const slow = call('test_slow', stop.signal);
  const given = assert.rejects(slow);
  await slowCallsBecome(1, call);
  stop.abort('the user changed their mind');
  await given;
  await slowCallsBecome(0, call);
}

// Which of the two is asked for.
export const isPatience = process.env.MCP_TRIAL === 'patience';
