// The TypeScript SDK, first generation: a session, ended in good order.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { isPatience, MCP_URL, requestInit, tryOut, tryPatience } from './session.mjs';

const transport = new StreamableHTTPClientTransport(new URL(MCP_URL), { requestInit });
const client = new Client({ name: 'typescript-v1', version: '1.0.0' });
await client.connect(transport);
const call = (name, signal) => client.callTool({ name, arguments: {} }, undefined, { signal });
await (isPatience ? tryPatience(call) : tryOut(client));
await transport.terminateSession();
await client.close();
