// Replay: the log folded again beside the tables that are read, and swapped in at the end.

import { h, put } from "./dom.js";
import { ask, call, poll } from "./api.js";
import { count, fixed, full, lasting, plural } from "./format.js";
import { announce, failure, outcome, pageHead, table } from "./parts.js";

const STAGES = {
  idle: "No rebuild since this server began.",
  folding: "Folding beside the live tables; readers go on with the old ones.",
  done: "Swapped: the tables that are read are the new ones.",
  cancelled: "Stopped. What was folded is kept, and the next one goes on there.",
  failed: "Given up. The live tables are as they were.",
};

export function show(place, { signal }) {
  const trouble = h("div");
  const start = h("button", { class: "main", on: { click: () => act("POST", "The rebuild begins") } }, "Fold the log again");
  const stop = h("button", { on: { click: () => act("DELETE", "The rebuild is told to stop") } }, "Stop");
  const bar = h("progress", { max: 1, value: 0, "aria-label": "How much is folded" });
  const told = h("div", { class: "stack" });
  const source = { query: "replay.status", params: {} };
  const sums = table("Checksums", [
    { name: "Table", isHead: true, value: (row) => row.table, show: (row) => h("code", null, row.table) },
    { name: "Rows before", isNumber: true, value: (row) => row.rows, show: (row) => count(row.rows) },
    { name: "Checksum before", show: (row) => h("code", null, row.checksum) },
    { name: "Rows after", isNumber: true, show: (row) => (row.after ? count(row.after.rows) : "–") },
    { name: "Checksum after", show: (row) => (row.after ? h("code", null, row.after.checksum) : "–") },
    { name: "Compared", show: (row) => (row.after ? h("span", { class: `pill ${row.after.checksum === row.checksum ? "good" : "warn"}` }, row.after.checksum === row.checksum ? "equal" : "moved on") : "–") },
  ], source, "They are taken when a rebuild begins.");
  let last;
  put(
    place,
    pageHead("Replay", "Every table can be made again from the log. Reading never stops: the copy grows beside the live tables and takes their place in one transaction.", h("div", { class: "row" }, start, stop)),
    trouble,
    h("section", { class: "card" }, h("h2", null, "The rebuild"), bar, told),
    sums.node,
  );

  async function act(method, text) {
    try {
      draw(await call(method, "/api/v1/replay"));
      announce(text);
      put(trouble);
    } catch (error) {
      put(trouble, failure(error));
    }
    look();
  }

  function draw(status) {
    const isFolding = status.stage === "folding";
    start.disabled = isFolding;
    stop.disabled = !isFolding;
    bar.value = status.share;
    bar.dataset.stage = status.stage;
    put(
      told,
      h("p", null, outcome(status.stage === "folding" ? "running" : status.stage), " ", STAGES[status.stage]),
      status.stage === "idle"
        ? null
        : h(
            "dl",
            { class: "pairs num" },
            [
              ["Done", `${Math.floor(status.share * 100)} %, #${count(status.seq)} of #${count(status.target)}`],
              ["Events", `${plural(status.events, "event")}, ${fixed(status.events_per_second, 0)} a second`],
              isFolding ? ["Left", lasting(status.eta_seconds)] : ["Ended", status.ended_at ? full(status.ended_at) : "–"],
              ["Begun", `${full(status.started_at)} by ${status.started_by}`],
              status.stage === "done"
                ? ["Compared", status.is_equal === null ? `the log went on from #${count(status.before_seq)} to #${count(status.seq)} meanwhile, so the tables differ as they should` : status.is_equal ? `equal to the tables before, at #${count(status.seq)}` : "NOT equal to the tables before: they had been changed by hand, or folded by another program"]
                : null,
              status.stage === "done" ? ["Commits", status.chain_holds ? "all are the ones that were written" : "some are not the ones that were written: run dramatis verify"] : null,
              status.reason ? ["Why", status.reason] : null,
            ].filter(Boolean).map(([term, text]) => [h("dt", null, term), h("dd", null, text)]),
          ),
    );
    const after = new Map(status.after.map((sum) => [sum.table, sum]));
    sums.show(status.before.map((sum) => ({ ...sum, after: after.get(sum.table) })), status);
    if (last && last !== status.stage) announce(STAGES[status.stage]);
    last = status.stage;
  }

  // Four times a second while it folds, rarely otherwise.
  let skipped = 0;
  const look = poll(
    signal,
    250,
    (signal) => (last === "folding" || skipped++ % 8 === 0 ? ask("replay.status", {}, signal) : Promise.resolve(null)),
    (status) => {
      if (!status) return;
      put(trouble);
      draw(status);
    },
    (error) => put(trouble, failure(error)),
  );
}
