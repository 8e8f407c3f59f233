// What pages ask the server, and who is signed in.

/** What the server said when it said no. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `the server answered ${status}`);
    this.status = status;
    this.code = problem.code ?? "";
  }
}

const lost = new Set();

/** Calls `then` whenever the session turns out to be over. */
export function onSignedOut(then) {
  lost.add(then);
}

export async function call(method, path, body, signal) {
  let response;
  try {
    response = await fetch(path, {
      method,
      signal,
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { detail: "The server does not answer. It is asked again." });
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const refused = new Refused(response.status, answer);
  if (response.status === 401 && !path.endsWith("/session")) for (const then of lost) then();
  throw refused;
}

/** The address of a question, without what was not said. */
export function queryPath(name, params = {}) {
  const said = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const search = new URLSearchParams(said.map(([key, value]) => [key, String(value)])).toString();
  return `/api/v1/queries/${name}${search ? `?${search}` : ""}`;
}

export function ask(name, params, signal) {
  return call("GET", queryPath(name, params), undefined, signal);
}

// --- the session ---------------------------------------------------------------------------

const SESSION = "/api/v1/dashboard/session";
// Whether this browser signed in before; the cookie itself no script can see. It spares a stranger a request that
// could only fail.
const MARK = "dramatis-signed-in";

export const session = {
  wasSignedIn: () => localStorage.getItem(MARK) === "yes",
  async current() {
    const who = await call("GET", SESSION);
    return who.user;
  },
  async signIn(how) {
    const who = await call("POST", SESSION, how);
    localStorage.setItem(MARK, "yes");
    return who.user;
  },
  async signOut() {
    localStorage.removeItem(MARK);
    await call("DELETE", SESSION).catch(() => {});
  },
  forget() {
    localStorage.removeItem(MARK);
  },
};

// --- asking again and again ----------------------------------------------------------------

/**
 * Asks `ask(signal)` now and `every` ms after each answer, and hands the answer to `show`; a failure goes to `fail`.
 * A page nobody looks at is not asked for. Ends when `signal` does.
 */
export function poll(signal, every, ask, show, fail) {
  let timer;
  let busy = false;
  const look = async () => {
    if (signal.aborted || busy) return;
    clearTimeout(timer);
    if (document.hidden) return;
    busy = true;
    try {
      const answer = await ask(signal);
      if (!signal.aborted) show(answer);
    } catch (error) {
      if (!signal.aborted && error.name !== "AbortError") fail(error);
    }
    busy = false;
    if (!signal.aborted) timer = setTimeout(look, every);
  };
  document.addEventListener("visibilitychange", look, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  look();
  return look;
}
