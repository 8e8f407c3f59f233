// The door: who is in, what was refused, which servers are mounted behind it.

import { h, put } from "./dom.js";
import { ask, poll } from "./api.js";
import { count, ms, percent } from "./format.js";
import { eventLink, facts, failure, outcome, pageHead, pagedTable, personaLink, table, when } from "./parts.js";

export function show(place, { signal }) {
  const numbers = h("div");
  const trouble = h("div");
  const params = { days: 7 };
  const source = { query: "gateway.stats", params };
  const outcomes = table("What came of calls", [
    { name: "Came to", isHead: true, value: (row) => row.outcome, show: (row) => h("span", null, outcome(row.outcome), " ", row.fault ?? "") },
    { name: "Calls", isNumber: true, value: (row) => row.calls, show: (row) => count(row.calls) },
    { name: "Share", isNumber: true, value: (row) => row.share, show: (row) => percent(row.share) },
  ], source, "No call in seven days.");
  const rules = table("Refusals by rule", [
    { name: "Rule", isHead: true, value: (row) => row.rule, show: (row) => h("code", null, row.rule) },
    { name: "Mode", value: (row) => row.mode },
    { name: "Refusals", isNumber: true, value: (row) => row.refusals, show: (row) => count(row.refusals) },
  ], source, "Nothing was refused.");
  const mounts = table("Mounted servers", [
    { name: "Name", isHead: true, value: (row) => row.name },
    { name: "State", value: (row) => row.is_up, show: (row) => outcome(row.is_up ? "up" : "down") },
    { name: "Tools", isNumber: true, value: (row) => row.tools, show: (row) => count(row.tools) },
    { name: "Sessions", isNumber: true, value: (row) => row.sessions, show: (row) => count(row.sessions) },
    { name: "Waits for approval", show: (row) => row.quarantined.join(", ") || "–" },
    { name: "Cannot be offered", show: (row) => row.unusable.join(", ") || "–" },
    { name: "Trouble", show: (row) => h("div", { class: "long" }, row.problem ?? "–") },
  ], source, "No other server is mounted.");
  const owner = (row) => (row.persona_name ? personaLink(row.user_id, row.persona_name) : h("code", null, row.user_id));
  put(
    place,
    pageHead("Gateway", "One door for people’s clients and for personas: sessions, refusals, and the servers mounted behind it. No token and no argument is ever shown."),
    trouble,
    numbers,
    h("div", { class: "grid" }, outcomes.node, rules.node),
    mounts.node,
    pagedTable("Refused calls, newest first", [
      { name: "Event", show: (row) => eventLink(row.stream_seq) },
      { name: "When", show: (row) => when(row.refused_at) },
      { name: "Caller", show: owner },
      { name: "Tool", show: (row) => h("code", null, row.tool) },
      { name: "Rule", show: (row) => h("code", null, row.rule) },
      { name: "Mode", show: (row) => row.mode },
    ], "gateway.refusals", { limit: 25 }, ask, signal, null, "Nothing was refused."),
    pagedTable("Sessions, newest first", [
      { name: "Event", show: (row) => eventLink(row.stream_seq) },
      { name: "Opened", show: (row) => when(row.opened_at) },
      { name: "Whose", show: owner },
      { name: "Client", show: (row) => h("div", { class: "long" }, row.client) },
      { name: "Protocol", show: (row) => row.protocol },
      { name: "Ended", show: (row) => (row.closed_at ? h("span", null, when(row.closed_at), " ", row.close_reason) : outcome("running")) },
    ], "gateway.sessions", { limit: 25 }, ask, signal),
  );
  poll(
    signal,
    5000,
    (signal) => ask("gateway.stats", params, signal),
    (answer) => {
      put(trouble);
      put(numbers, facts([
        ["Open sessions", count(answer.now.sessions), `${count(answer.sessions)} opened in seven days`],
        ["Under way", count(answer.now.requests_under_way), answer.now.draining ? "new ones are turned away" : "requests"],
        ["Calls", count(answer.calls), "in seven days"],
        ["Inside", ms(answer.p50_ms), `95 % within ${ms(answer.p95_ms)}`],
        ["Tools", count(answer.now.tools), `and ${count(answer.mounts.reduce((sum, mount) => sum + mount.tools, 0))} mounted`],
      ]));
      outcomes.show(answer.outcomes.map((row) => ({ ...row, share: row.calls / Math.max(1, answer.calls) })), answer);
      rules.show(answer.refusals, answer);
      mounts.show(answer.mounts, answer);
    },
    (error) => put(trouble, failure(error)),
  );
}
