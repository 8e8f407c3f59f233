// Servers of other makers behind the gateway, over standard input and output and over HTTP, in the era the argument names.
import assert from 'node:assert/strict';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { MCP_URL, requestInit } from './session.mjs';

const options = process.argv[2] === 'auto' ? { versionNegotiation: { mode: 'auto' } } : {};
const client = new Client({ name: 'mounted', version: '1.0.0' }, options);
await client.connect(new StreamableHTTPClientTransport(new URL(MCP_URL), { requestInit }));
const names = (await client.listTools()).tools.map((tool) => tool.name);
for (const name of ['todo.create', 'memory.create_entities', 'memory.read_graph', 'everything.echo']) {
  assert.ok(names.includes(name), `${name} in ${names}`);
}
const name = `Zebra-${process.argv[2]}`;
const entities = [{ name, entityType: 'animal', observations: ['has stripes'] }];
const created = await client.callTool({ name: 'memory.create_entities', arguments: { entities } });
assert.notEqual(created.isError, true, JSON.stringify(created));
const graph = await client.callTool({ name: 'memory.read_graph', arguments: {} });
assert.ok(JSON.stringify(graph).includes(name));
const echoed = await client.callTool({ name: 'everything.echo', arguments: { message: 'hello' } });
assert.match(echoed.content[0].text, /hello/);
const refused = await client.callTool({ name: 'everything.echo', arguments: { message: 7 } });
assert.equal(refused.isError, true);
await client.close();
