// The TypeScript SDK, second generation, in the era its argument names: legacy (sessions) or auto (newest).
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { MCP_URL, requestInit, tryOut } from './session.mjs';

const options = process.argv[2] === 'auto' ? { versionNegotiation: { mode: 'auto' } } : {};
const client = new Client({ name: 'typescript-v2', version: '1.0.0' }, options);
await client.connect(new StreamableHTTPClientTransport(new URL(MCP_URL), { requestInit }));
await tryOut(client);
await client.close();
