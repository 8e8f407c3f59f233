// Tools: which fail, which are slow, which confuse; and the calls themselves.

import { h, put } from "./dom.js";
import { ask, poll } from "./api.js";
import { count, ms, percent, plural } from "./format.js";
import { choice, eventLink, failure, outcome, pageHead, pagedTable, personaLink, table, traceLink, when } from "./parts.js";

const DAYS = [["1", "a day"], ["7", "7 days"], ["30", "30 days"], ["366", "a year"]];

export function show(place, { signal, search, setSearch }) {
  const filter = { days: search.get("days") ?? "30", tool: search.get("tool") ?? "", result: search.get("result") ?? "" };
  const params = { days: filter.days };
  const trouble = h("div");
  const made = table(
    "Tools",
    [
      { name: "Tool", isHead: true, value: (row) => row.tool, show: (row) => h("span", null, h("code", null, row.tool), h("div", { class: "quiet" }, row.module)) },
      { name: "Calls", isNumber: true, value: (row) => row.calls, show: (row) => count(row.calls) },
      { name: "Went wrong", isNumber: true, value: (row) => row.error_rate, show: (row) => h("span", null, percent(row.error_rate), h("div", { class: "quiet" }, `${count(row.errors)} in all`)) },
      { name: "App’s fault", isNumber: true, value: (row) => row.errors_app, show: (row) => count(row.errors_app) },
      { name: "Line’s fault", isNumber: true, value: (row) => row.errors_infra, show: (row) => count(row.errors_infra) },
      { name: "Confusion", isNumber: true, value: (row) => row.confusion, show: (row) => h("span", null, percent(row.confusion), h("div", { class: "quiet" }, plural(row.errors_persona, "slip"))) },
      { name: "Half within", isNumber: true, value: (row) => row.p50_ms, show: (row) => ms(row.p50_ms) },
      { name: "95 % within", isNumber: true, value: (row) => row.p95_ms, show: (row) => ms(row.p95_ms) },
      { name: "Hit", isNumber: true, value: (row) => row.personas_affected, show: (row) => `${count(row.personas_affected)} of ${count(row.personas)}` },
      { name: "Was told last", show: (row) => (row.example_error ? h("div", { class: "long" }, row.example_error, " ", eventLink(row.example_seq)) : "–") },
    ],
    { query: "tools.stats", params, nats: { name: "tools.stats" } },
    "No tool was called in that time.",
  );
  const edges = table(
    "Edge input, by field",
    [
      { name: "Tool", isHead: true, value: (row) => row.tool, show: (row) => h("code", null, row.tool) },
      { name: "Field", value: (row) => row.field, show: (row) => (row.field === "*" ? "the whole call" : h("code", null, row.field)) },
      { name: "Classes seen", isNumber: true, value: (row) => row.classes, show: (row) => count(row.classes) },
      { name: "Taken", isNumber: true, value: (row) => row.accepted, show: (row) => count(row.accepted) },
      { name: "Refused", isNumber: true, value: (row) => row.refused, show: (row) => count(row.refused) },
      { name: "Not stood", value: (row) => row.bad.length, show: (row) => (row.bad.length ? h("span", { class: "pill bad" }, row.bad.join(", ")) : "–") },
    ],
    { query: "tools.edges", params: {} },
    "Nobody has brought any. `dramatis seed --chaos` brings in two who do.",
  );
  const calls = h("div");
  put(
    place,
    pageHead("Tools", "Errors, latency and confusion. A slip is a call that was wrong the way a person can be: refusing it well is the app at work, letting it through is not."),
    h("div", { class: "row" }, choice("Over", DAYS, filter.days, (days) => change({ days }))),
    trouble,
    made.node,
    edges.node,
    h("div", { class: "row" }, choice("Calls", [["", "all"], ["error", "that went wrong"], ["unknown", "nobody knows of"], ["ok", "that worked"]], filter.result, (result) => change({ result }))),
    calls,
  );

  function change(next) {
    Object.assign(filter, next);
    params.days = filter.days;
    setSearch({ ...filter, days: filter.days === "30" ? "" : filter.days });
    if (next.days) look();
    else drawCalls();
  }

  function drawCalls() {
    put(
      calls,
      pagedTable(
        "Calls, newest first",
        [
          { name: "Event", show: (row) => eventLink(row.stream_seq) },
          { name: "When", show: (row) => when(row.created_at) },
          { name: "Persona", show: (row) => personaLink(row.persona_id, row.persona_name) },
          { name: "Tool", show: (row) => h("code", null, row.tool_name) },
          { name: "Came to", show: (row) => outcome(row.result) },
          { name: "Took", isNumber: true, show: (row) => ms(row.latency_ms) },
          { name: "Was told", show: (row) => h("div", { class: "long" }, row.error_message ?? "") },
          { name: "Trace", show: (row) => traceLink(row.tick_id) },
        ],
        "actions.recent",
        { limit: 50, tool: filter.tool, result: filter.result },
        ask,
        signal,
        { name: "actions.recent", said: { limit: 50 } },
      ),
    );
  }
  const look = poll(signal, 10000, (signal) => ask("tools.stats", params, signal), (answer) => (put(trouble), made.show([...answer.tools].sort((a, b) => b.error_rate - a.error_rate || b.calls - a.calls), answer)), (error) => put(trouble, failure(error)));
  poll(signal, 60000, (signal) => ask("tools.edges", {}, signal), (answer) => edges.show(byField(answer.items), answer), (error) => put(trouble, failure(error)));
  drawCalls();
}

/** The ledger's rows summed up by tool and field. */
function byField(rows) {
  const fields = new Map();
  for (const row of rows) {
    const key = `${row.tool} ${row.field}`;
    const sum = fields.get(key) ?? { tool: row.tool, field: row.field, classes: 0, accepted: 0, refused: 0, bad: [] };
    sum.classes += 1;
    sum.accepted += row.accepted;
    sum.refused += row.refused;
    if (row.altered + row.broke + row.unanswered > 0) sum.bad.push(row.class);
    fields.set(key, sum);
  }
  return [...fields.values()];
}
