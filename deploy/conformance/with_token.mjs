// Adds MCP_TOKEN to every request that goes to MCP_URL: the suite itself has no option for it. Loaded before the
// suite with `node --import`; covers `fetch` and everything else that uses the process's one dispatcher.
const { MCP_URL, MCP_TOKEN } = process.env;
const { origin } = new URL(MCP_URL);
const slot = Symbol.for('undici.globalDispatcher.1');

// The dispatcher is made at the first use.
await fetch('data:,');
const dispatcher = globalThis[slot];

function withToken(headers) {
  if (Array.isArray(headers)) return [...headers, 'authorization', `Bearer ${MCP_TOKEN}`];
  const all = headers?.[Symbol.iterator] ? Object.fromEntries(headers) : { ...headers };
  return { ...all, authorization: `Bearer ${MCP_TOKEN}` };
}

globalThis[slot] = new Proxy(dispatcher, {
  get(target, name) {
    const member = target[name];
    if (name !== 'dispatch') return typeof member === 'function' ? member.bind(target) : member;
    return (options, handler) => {
      const isOurs = String(options.origin) === origin;
      return target.dispatch(isOurs ? { ...options, headers: withToken(options.headers) } : options, handler);
    };
  },
});
