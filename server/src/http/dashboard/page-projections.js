// The tables: how far they are, what they hold, and what could not be folded.

import { h, put } from "./dom.js";
import { ask, call, poll } from "./api.js";
import { bytes, count, plural } from "./format.js";
import { announce, eventLink, facts, failure, outcome, pageHead, table } from "./parts.js";

const NAMES = {
  personas: "Personas", ticks: "Ticks", ticks_interrupted: "Ticks interrupted", actions: "Calls", actions_pending: "Calls under way",
  actions_unknown: "Calls nobody knows of", feedback: "Ratings", records: "Records", sessions: "Sessions", refusals: "Refusals",
  calls: "Calls at the gateway", calls_pending: "Under way at the gateway", parked: "Parked",
};

export function show(place, { signal }) {
  const numbers = h("div");
  const trouble = h("div");
  const source = { query: "projections.status", params: {}, nats: { name: "projections.status" } };
  const retry = h("button", { on: { click: again } }, "Fold them again");
  const parked = table("Parked commits", [
    { name: "Event", isHead: true, value: (row) => row.seq, show: (row) => eventLink(row.seq) },
    { name: "Step", value: (row) => row.stage },
    { name: "Subject", value: (row) => row.subject, show: (row) => h("code", null, row.subject) },
    { name: "Why", show: (row) => h("div", { class: "long" }, row.reason) },
    { name: "Again", show: (row) => (results.has(row.seq) ? results.get(row.seq) : "–") },
  ], source, "Nothing is parked: every commit is in the tables.");
  const rows = table("What the tables hold", [
    { name: "Table", isHead: true, value: (row) => row.name },
    { name: "Rows", isNumber: true, value: (row) => row.rows, show: (row) => count(row.rows) },
  ], source);
  let results = new Map();
  put(
    place,
    pageHead("Projections", "Every table is a fold of the log. What cannot be folded is parked with its reason, never skipped.", h("div", { class: "row" }, retry, h("a", { class: "button", href: "#/replay" }, "Replay"))),
    trouble,
    numbers,
    parked.node,
    rows.node,
  );

  async function again() {
    retry.disabled = true;
    try {
      const { items } = await call("POST", "/api/v1/parked/retry");
      results = new Map(items.map((item) => [item.seq, JSON.stringify(item.outcome)]));
      announce(items.length ? `${plural(items.length, "commit")} tried again` : "Nothing was parked");
    } catch (error) {
      put(trouble, failure(error));
    }
    retry.disabled = false;
    look();
  }

  const look = poll(
    signal,
    3000,
    (signal) => ask("projections.status", {}, signal),
    (answer) => {
      const { status, log, counts, checkpoint } = answer;
      put(trouble, status.reason ? h("p", { class: "error" }, status.reason) : null);
      put(numbers, facts([
        ["State", outcome(status.state), status.state === "standby" ? "another process folds" : "of the fold"],
        ["Lag", count(answer.lag_events), "commits behind the log"],
        ["Folded", `#${count(checkpoint?.seq ?? 0)}`, checkpoint ? `of stream ${checkpoint.stream_name}` : "nothing yet"],
        ["Log", `#${count(log.last_seq)}`, `${plural(log.messages, "commit")}, ${bytes(log.bytes)}`],
        ["Parked", count(counts.parked), "could not be folded"],
      ]));
      parked.show(answer.parked, answer);
      rows.show(Object.entries(NAMES).map(([key, name]) => ({ name, rows: counts[key] })), answer);
    },
    (error) => put(trouble, failure(error)),
  );
}
