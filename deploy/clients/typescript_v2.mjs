// The TypeScript SDK, second generation, in the era its argument names: legacy (sessions) or auto (newest).
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { isPatience, MCP_URL, requestInit, tryOut, tryPatience } from './session.mjs';

const options = process.argv[2] === 'auto' ? { versionNegotiation: { mode: 'auto' } } : {};
const client = new Client({ name: 'typescript-v2', version: '1.0.0' }, options);
await client.connect(new StreamableHTTPClientTransport(new URL(MCP_URL), { requestInit }));
const call = (name, signal) => client.callTool({ name, arguments: {} }, { signal });
await (isPatience ? tryPatience(call) : tryOut(client));
await client.close();
