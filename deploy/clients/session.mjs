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
