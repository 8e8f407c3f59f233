// Passes requests on to MCP_URL and adds MCP_TOKEN to those that carry none: the suite itself has no option for it.
// Everything else stays as it is, streams and lost connections too. Prints its own address.
import http from 'node:http';

const { hostname, port } = new URL(process.env.MCP_URL);
const token = process.env.MCP_TOKEN;

const proxy = http.createServer((asked, answer) => {
  const headers = { ...asked.headers };
  if (token && !headers.authorization) headers.authorization = `Bearer ${token}`;
  const passedOn = http.request({ hostname, port, method: asked.method, path: asked.url, headers }, (answered) => {
    answer.writeHead(answered.statusCode, answered.rawHeaders);
    answered.pipe(answer);
  });
  passedOn.on('error', () => {
    if (!answer.headersSent) answer.writeHead(502);
    answer.end();
  });
  answer.on('close', () => passedOn.destroy());
  asked.pipe(passedOn);
});
proxy.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${proxy.address().port}/mcp`));
