// One tick from both sides: what the persona asked for, and what the gateway did about it.

import { h, put } from "./dom.js";
import { ask } from "./api.js";
import { count, moment, ms, plural } from "./format.js";
import { lanes } from "./page-story.js";
import { copyButtons, eventLink, facts, failure, outcome, pageHead, personaLink, table } from "./parts.js";

export function show(place, { signal, about }) {
  put(place, pageHead("Trace", "…"));
  const params = { tick: about };
  ask("ticks.trace", params, signal).then(draw).catch((error) => error.name !== "AbortError" && put(place, pageHead("Trace", null), failure(error)));

  function draw(trace) {
    const { tick, gateway } = trace;
    const inside = new Map(gateway.map((call) => [call.call_id, call]));
    const calls = table("Both sides", [
      { name: "Event", show: (row) => eventLink(row.stream_seq) },
      { name: "Tool", isHead: true, value: (row) => row.tool_name, show: (row) => h("code", null, row.tool_name) },
      { name: "To the persona", show: (row) => h("span", null, outcome(row.result), " ", ms(row.latency_ms)) },
      { name: "At the gateway", show: (row) => (row.call ? h("span", null, outcome(row.call.outcome), " ", ms(row.call.duration_ms), " ", row.call.fault ?? "") : "not on record") },
      { name: "Gateway’s event", show: (row) => (row.call ? eventLink(row.call.stream_seq) : "–") },
      { name: "Was told", show: (row) => h("div", { class: "long" }, row.error_message ?? "–") },
      { name: "Call", show: (row) => h("code", null, row.call_id) },
    ], { query: "ticks.trace", params }, "No call was made.");
    put(
      place,
      pageHead(`Trace of tick ${tick.number}`, ["Begun ", moment(tick.started_at), " by ", personaLink(tick.persona_id, "this persona"), "; thick bars are what the persona waited, thin ones the time inside the gateway."], outcome(tick.outcome)),
      facts([
        ["Calls", count(tick.actions.length), `${count(tick.actions.filter((action) => action.result === "error").length)} went wrong`],
        ["At the gateway", count(gateway.length), "on record there"],
        ["Took", tick.finished_at ? ms(new Date(tick.finished_at) - new Date(tick.started_at)) : "–", "from first to last"],
        ["Ratings", count(tick.ratings.length), tick.ratings.map((rating) => rating.module).join(", ")],
      ]),
      h("section", { class: "card" }, h("header", null, h("h2", null, "Along its own time"), copyButtons("the trace", () => trace, "ticks.trace", params)), lanes(tick, inside), h("div", { class: "links" }, eventLink(tick.stream_seq, `event #${tick.stream_seq}`), h("span", { class: "quiet" }, plural(new Set(gateway.map((call) => call.session_id)).size, "session")))),
      calls.node,
    );
    calls.show(tick.actions.map((action) => ({ ...action, call: inside.get(action.call_id) })), trace);
  }
}
