// The house itself: how its parts are, how it is set up, who looked.

import { h, put } from "./dom.js";
import { ask, poll } from "./api.js";
import { bytes, count, lasting, ms } from "./format.js";
import { facts, failure, outcome, pageHead, table, when } from "./parts.js";

const shown = (value) => (value === null ? "–" : typeof value === "string" ? value : JSON.stringify(value));

export function show(place, { signal }) {
  const numbers = h("div");
  const trouble = h("div");
  const source = { query: "system.status", params: {} };
  const checks = table("Health", [
    { name: "Part", isHead: true, value: (row) => row.name },
    { name: "State", value: (row) => row.ok, show: (row) => outcome(row.ok ? "ok" : "down") },
    { name: "Answered in", isNumber: true, value: (row) => row.tookMs, show: (row) => ms(row.tookMs) },
    { name: "Says", show: (row) => h("div", { class: "long" }, Object.entries(row.facts).map(([key, value]) => `${key} ${shown(value)}`).join(", ")) },
  ], source);
  const settings = table("Settings", [
    { name: "Setting", isHead: true, value: (row) => row.key, show: (row) => h("code", null, row.key) },
    { name: "Value", value: (row) => shown(row.value), show: (row) => h("code", { class: "long" }, shown(row.value)) },
    { name: "From", value: (row) => row.source },
  ], source, "This server was started without any.");
  const events = table("Event types", [
    { name: "Type", isHead: true, value: (row) => row.type, show: (row) => h("code", null, row.type) },
    { name: "Version", isNumber: true, value: (row) => row.v },
  ], source);
  const audit = table("Who read or did what", [
    { name: "When", value: (row) => row.at, show: (row) => when(row.at) },
    { name: "Who", isHead: true, value: (row) => row.email },
    { name: "What", value: (row) => row.what, show: (row) => h("code", null, row.what) },
    { name: "About", show: (row) => h("div", { class: "long" }, row.about || "–") },
  ], { query: "audit.recent", params: {} });
  put(
    place,
    pageHead("System", "Versions, health, and every setting with where it came from. Secrets are masked. Reading is on record: once a minute for each question, here and in the log of the process.", h("div", { class: "row" }, h("a", { class: "button", href: "/metrics" }, "Metrics"), h("a", { class: "button", href: "#/api" }, "API"))),
    trouble,
    numbers,
    checks.node,
    audit.node,
    settings.node,
    events.node,
  );
  poll(
    signal,
    5000,
    async (signal) => [await ask("system.status", {}, signal), await ask("audit.recent", {}, signal)],
    ([answer, lines]) => {
      put(trouble);
      put(numbers, facts([
        ["Dramatis", answer.versions.dramatis, answer.environment],
        ["Up for", lasting(answer.uptime_seconds), answer.public_url],
        ["Log", `#${count(answer.log.last_seq)}`, `${answer.log.name}, ${bytes(answer.log.bytes)}`],
        ["MCP", answer.versions.mcp.at(-1), `and ${answer.versions.mcp.slice(0, -1).join(", ")}`],
        ["NATS", `≥ ${answer.versions.nats_server_at_least.join(".")}`, "the least server version"],
      ]));
      checks.show(answer.checks, answer);
      settings.show(answer.settings, answer);
      events.show(answer.versions.events, answer);
      audit.show(lines.items, lines);
    },
    (error) => put(trouble, failure(error)),
  );
}
