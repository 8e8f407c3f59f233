// The example dashboard of docs/examples/nats-dashboard in Chromium, over WebSocket with a viewer's credential: a fresh
// event is on the built-in feed, in the persona's story after a reload and on this page, with one sequence; what went by
// while it was cut off is filled in; and a page of another origin gets no connection.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect, createServer as createProxy } from "node:net";
import { join, normalize } from "node:path";
import { launch, signInWith } from "./chromium.mjs";

const { DASHBOARD_API: API, DASHBOARD_TOKEN: TOKEN, DASHBOARD_VIEWER, DASHBOARD_WALL, DASHBOARD_WEBSOCKET, PICTURES } = process.env;
const VIEWER = JSON.parse(DASHBOARD_VIEWER);
const FOLDER = join(import.meta.dirname, "nats-dashboard");
const PATIENCE = 60_000;
const troubles = [];

const wall = await serve(Number(new URL(DASHBOARD_WALL).port));
const elsewhere = await serve(0);
const line = await cuttable(Number(new URL(DASHBOARD_WEBSOCKET).port));
const { browser, close } = await launch(PATIENCE);
try {
  await otherOrigin();
  const page = await signIn(wall.address);
  await oneTruth(page);
  await gap(page);
  await page.close();
} finally {
  await close();
  for (const server of [wall, elsewhere, line]) server.close();
}
for (const trouble of troubles) console.error(`  trouble: ${trouble}`);
process.exit(troubles.length ? 1 : 0);

/** The folder of the example, as any server of files would serve it. */
async function serve(port) {
  const server = createServer((request, response) => {
    const path = normalize(new URL(request.url, "http://x").pathname).replace(/\/$/, "/index.html");
    try {
      const type = path.endsWith(".html") ? "text/html" : "text/javascript";
      response.writeHead(200, { "content-type": type }).end(readFileSync(join(FOLDER, path)));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return { address: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

/** A way to `port` that can be cut and mended. */
async function cuttable(port) {
  const open = new Set();
  let isCut = false;
  const proxy = createProxy((client) => {
    if (isCut) return client.destroy();
    const server = connect(port, "127.0.0.1");
    for (const [one, other] of [[client, server], [server, client]]) {
      open.add(one);
      one.on("error", () => {}).on("close", () => (open.delete(one), other.destroy())).pipe(other);
    }
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  return {
    address: `ws://127.0.0.1:${proxy.address().port}`,
    cut() {
      isCut = true;
      for (const socket of open) socket.destroy();
    },
    mend: () => (isCut = false),
    close() {
      proxy.close();
      for (const socket of open) socket.destroy();
    },
  };
}

async function fill(page, address, password) {
  await page.goto(address);
  await page.getByLabel("Address").fill(line.address);
  await page.getByLabel("User").fill(VIEWER.user);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Connect" }).click();
}

/** Nobody connects from a page of an address that the house does not name, nor with a wrong password. */
async function otherOrigin() {
  const page = await browser.newPage();
  for (const [address, password] of [[elsewhere.address, VIEWER.password], [wall.address, "wrong"]]) {
    await fill(page, address, password);
    await page.waitForFunction(() => document.getElementById("state").textContent.startsWith("no connection"), undefined, { polling: 50 });
    assert.ok(await page.locator("#wall").isHidden());
  }
  await page.close();
  console.log("a page of another origin gets no connection, and a wrong password none either");
}

async function signIn(address) {
  const page = await browser.newPage();
  page.on("pageerror", (error) => troubles.push(`error: ${error.message}`));
  await fill(page, address, VIEWER.password);
  await page.locator("#wall").waitFor();
  await page.locator("#tools tr").first().waitFor();
  await page.locator("#modules tr").first().waitFor();
  return page;
}

async function ask(method, path, body) {
  const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" };
  const answer = await fetch(API + path, { method, headers, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.json();
}

async function tickOne() {
  const { items } = await ask("GET", "/api/v1/queries/personas.list");
  const email = items.find((persona) => persona.ticks > 0).email;
  const before = (await ask("GET", "/api/v1/queries/overview")).log_seq;
  const ticked = await ask("POST", "/api/v1/admin/runner/tick", { persona: email });
  assert.equal(ticked.succeeded, 1, JSON.stringify(ticked));
  return before;
}

/** Waits until the page outside shows the event. */
function onWall(page, seq, type) {
  return page.locator(`#feed li[data-seq="${seq}"][data-type="${type}"]`).first().waitFor();
}

async function oneTruth(page) {
  const built = await browser.newPage();
  await built.goto(`${API}/`);
  await signInWith(built, TOKEN);
  await built.goto(`${API}/#/feed`);
  await built.getByText("live", { exact: true }).waitFor();
  const before = await tickOne();
  const found = await built.waitForFunction((before) => {
    for (const line of document.querySelectorAll(".feed li")) {
      const seq = Number(line.querySelector("a")?.textContent.slice(1));
      if (seq > before && line.textContent.includes(" Rated ")) return { seq, persona: line.querySelector("a[href*=personas]").getAttribute("href") };
    }
    return false;
  }, before, { polling: 50 });
  const { seq, persona } = await found.jsonValue();
  await onWall(page, seq, "Rated");
  await built.goto(`${API}/${persona}`);
  await built.reload();
  await built.locator(`main a[href="#/events/${seq}"]`).first().waitFor();
  await built.close();
  if (PICTURES) await page.screenshot({ path: join(PICTURES, "wall.png") });
  console.log(`a rating is #${seq} on the built-in feed, in the story after a reload and on a page outside over NATS`);
}

/** The sequences of what others may hear since `after`, as the built-in feed tells them. */
async function heard(after) {
  const answer = await fetch(`${API}/api/v1/feed?after=${after}`, { headers: { authorization: `Bearer ${TOKEN}` } });
  const [seqs, decoder] = [new Set(), new TextDecoder()];
  let text = "";
  for await (const chunk of answer.body) {
    text += decoder.decode(chunk, { stream: true });
    const frames = text.split("\n\n");
    text = frames.pop();
    for (const frame of frames) {
      const data = frame.split("\n").find((line) => line.startsWith("data: "));
      if (!data) continue;
      const { items } = JSON.parse(data.slice(6));
      for (const { seq, subject } of items) if (/^dramatis\.(persona|session|deploy)\./.test(subject)) seqs.add(seq);
      if (items.some((item) => item.type === "TickFinished")) return [...seqs];
    }
  }
  throw new Error("the feed ended");
}

async function gap(page) {
  line.cut();
  await page.waitForFunction(() => document.getElementById("state").textContent.startsWith("lost since"), undefined, { polling: 50 });
  const after = await tickOne();
  const missed = await heard(after);
  assert.ok(missed.length >= 5, JSON.stringify(missed));
  assert.equal(await page.locator(`#feed li[data-seq="${missed[0]}"]`).count(), 0);
  line.mend();
  const last = missed.at(-1);
  await page.locator(`#feed li.filled[data-seq="${last}"]`).first().waitFor();
  const shown = await page.evaluate((after) => [...new Set([...document.querySelectorAll("#feed li")].map((line) => Number(line.dataset.seq)))].filter((seq) => seq > after), after);
  assert.deepEqual(shown.filter((seq) => seq <= last).sort((a, b) => a - b), missed.sort((a, b) => a - b));
  console.log(`cut off from a whole tick, the page outside filled ${missed.length} commits in, each once`);
}
