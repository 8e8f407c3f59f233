// The cast: everybody, how the last tick went, what they think.

import { h, put } from "./dom.js";
import { ask, poll } from "./api.js";
import { count, fixed, percent, plural, usd } from "./format.js";
import { choice, face, failure, outcome, pageHead, personaLink, stars, table, when } from "./parts.js";

export function show(place, { signal, search, setSearch }) {
  const filter = { q: search.get("q") ?? "", archetype: search.get("archetype") ?? "" };
  const trouble = h("div");
  const made = table(
    "The cast, the last thirty days",
    [
      { name: "Persona", isHead: true, value: (row) => row.name, show: (row) => h("div", { class: "who" }, face(row.name, row.persona_id), h("div", null, personaLink(row.persona_id, row.name), h("div", { class: "quiet" }, row.email))) },
      { name: "Archetype", value: (row) => row.archetype },
      { name: "Acts", value: (row) => row.cadence, show: (row) => h("span", null, row.cadence, h("div", { class: "quiet" }, row.time_zone)) },
      { name: "Last tick", value: (row) => row.last_active_at, show: (row) => h("span", null, when(row.last_active_at), " ", row.halted ? outcome("halted") : row.ticks ? outcome(row.last_outcome) : null) },
      { name: "Ticks", isNumber: true, value: (row) => row.ticks, show: (row) => count(row.ticks) },
      { name: "Calls", isNumber: true, value: (row) => row.calls, show: (row) => count(row.calls) },
      { name: "Went wrong", isNumber: true, value: (row) => (row.calls ? row.errors / row.calls : 0), show: (row) => (row.calls ? percent(row.errors / row.calls) : "–") },
      { name: "Stars", value: (row) => row.stars_mean, show: (row) => h("span", null, stars(row.stars_mean), h("div", { class: "quiet" }, row.ratings ? `${fixed(row.stars_mean, 2)} from ${plural(row.ratings, "rating")}` : "")) },
      { name: "Cost", isNumber: true, value: (row) => row.cost_micro_usd, show: (row) => usd(row.cost_micro_usd) },
    ],
    { query: "personas.list", params: { limit: 500 }, nats: { name: "personas.list", said: { limit: 500 } } },
    "Nobody fits.",
  );
  const text = h("input", { type: "search", value: filter.q, on: { input: () => change({ q: text.value }) } });
  const kinds = h("div");
  const lede = h("span", null, "Everybody who uses your app on your behalf.");
  put(place, pageHead("Personas", lede), trouble, h("div", { class: "row" }, h("label", null, "Name or email", text), kinds), made.node);

  let all = { items: [] };
  function change(next) {
    Object.assign(filter, next);
    setSearch(filter);
    draw();
  }
  function draw() {
    const needle = filter.q.toLowerCase();
    const rows = all.items.filter((row) => (!filter.archetype || row.archetype === filter.archetype) && `${row.name} ${row.email}`.toLowerCase().includes(needle));
    made.show(rows, all);
  }
  poll(
    signal,
    5000,
    (signal) => ask("personas.list", { limit: 500 }, signal),
    (page) => {
      const isFirst = all.items.length !== page.items.length;
      all = page;
      put(trouble);
      lede.textContent = `${plural(page.items.length, "persona")}, each a real account that logs in, uses the app and says what it thinks.`;
      if (isFirst) {
        const archetypes = [...new Set(page.items.map((row) => row.archetype))].sort();
        put(kinds, choice("Archetype", [["", "all"], ...archetypes.map((name) => [name, name])], filter.archetype, (archetype) => change({ archetype })));
      }
      draw();
    },
    (error) => put(trouble, failure(error)),
  );
}
