// Module by archetype: who likes what, and how sure one can be of it.

import { h, put } from "./dom.js";
import { ask } from "./api.js";
import { count, fixed, plural } from "./format.js";
import { choice, copyButtons, eventLink, failure, pageHead, personaLink, quiet, stars, traceLink, when } from "./parts.js";

const SOURCES = { model: "a model’s opinion", simulated: "the published formula", external: "a runner outside" };
const DAYS = [["7", "7 days"], ["30", "30 days"], ["90", "90 days"], ["366", "a year"]];

// Nine steps from 1 to 5; the number is always printed beside the colour.
const step = (mean) => Math.max(0, Math.min(8, Math.round((mean - 1) * 2)));

export function show(place, { signal, search, setSearch }) {
  const filter = { days: search.get("days") ?? "30", source: search.get("source") ?? "", module: search.get("module") ?? "", archetype: search.get("archetype") ?? "" };
  const controls = h("div", { class: "row" });
  const map = h("section", { class: "card" }, quiet("…"));
  const detail = h("div", { "aria-live": "polite" });
  put(place, pageHead("Heat-map", "How each kind of person finds each part of the app: mean stars, with the interval that 95 of 100 such samples would cover."), controls, map, detail);

  async function load() {
    try {
      const answer = await ask("feedback.heatmap", { days: filter.days, source: filter.source }, signal);
      draw(answer);
    } catch (error) {
      if (error.name !== "AbortError") put(map, failure(error));
    }
  }

  function change(next) {
    Object.assign(filter, next);
    setSearch({ ...filter, days: filter.days === "30" ? "" : filter.days });
  }

  function draw(answer) {
    put(
      controls,
      choice("Over", DAYS, filter.days, (days) => (change({ days }), load())),
      answer.sources.length ? choice("Rated by", answer.sources.map(({ source, ratings }) => [source, `${SOURCES[source] ?? source} (${count(ratings)})`]), answer.source, (source) => (change({ source }), load())) : null,
    );
    const modules = [...new Set(answer.cells.map((cell) => cell.module))];
    const archetypes = [...new Set(answer.cells.map((cell) => cell.archetype))].sort();
    const cells = new Map(answer.cells.map((cell) => [`${cell.module}\n${cell.archetype}`, cell]));
    const buttons = [];
    const select = (cell, button) => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      change({ module: cell.module, archetype: cell.archetype });
      look(cell);
    };
    const one = (module, archetype) => {
      const cell = cells.get(`${module}\n${archetype}`);
      if (!cell) return h("td", null, h("span", { class: "none" }, h("span", { class: "sr" }, "no ratings"), "–"));
      const button = h(
        "button",
        {
          class: `c${step(cell.stars_mean)}${cell.is_few ? " few" : ""}`,
          "aria-pressed": "false",
          "data-module": module,
          "data-archetype": archetype,
          "data-mean": cell.stars_mean,
          "data-ratings": cell.ratings,
          on: { click: () => select(cell, button) },
        },
        h("strong", null, fixed(cell.stars_mean, 2)),
        h("span", null, cell.half_width === null ? "± ?" : `± ${fixed(cell.half_width, 2)}`),
        h("span", null, `n ${count(cell.ratings)}`, h("span", { class: "sr" }, ` stars of ${module} by ${archetype}${cell.is_few ? ", from few ratings" : ""}`)),
      );
      buttons.push(button);
      return h("td", null, button);
    };
    const title = "Mean stars by module and archetype";
    put(
      map,
      h("header", null, h("h2", null, title), copyButtons("the heat-map", () => answer, "feedback.heatmap", { days: filter.days, source: filter.source })),
      answer.cells.length === 0
        ? quiet("No ratings in that time.")
        : h(
            "div",
            { class: "scroll", role: "region", tabindex: "0", "aria-label": title },
            h(
              "table",
              { class: "heat" },
              h("caption", { class: "sr" }, title),
              h("thead", null, h("tr", null, h("td"), archetypes.map((name) => h("th", { scope: "col" }, name.replaceAll("-", " "))))),
              h("tbody", null, modules.map((module) => h("tr", null, h("th", { scope: "row" }, module), archetypes.map((archetype) => one(module, archetype))))),
            ),
          ),
      h("p", { class: "scale" }, "1 star", h("span", { "aria-hidden": "true" }, [0, 1, 2, 3, 4, 5, 6, 7, 8].map((index) => h("i", { class: `c${index}` }))), `5 stars. Hatched: fewer than ${answer.enough} ratings, so one more may turn it.`),
    );
    const wanted = buttons.find((button) => button.dataset.module === filter.module && (!filter.archetype || button.dataset.archetype === filter.archetype));
    if (wanted && filter.archetype) select(cells.get(`${wanted.dataset.module}\n${wanted.dataset.archetype}`), wanted);
  }

  async function look(cell) {
    const most = Math.max(...cell.stars);
    const said = h("ul", { class: "list" }, h("li", { class: "quiet" }, "…"));
    put(
      detail,
      h(
        "section",
        { class: "card" },
        h("header", null, h("h2", null, `${cell.module}, by ${cell.archetype}`), h("span", { class: "quiet" }, `${plural(cell.ratings, "rating")} by ${plural(cell.personas, "persona")}${cell.friction_mean === null ? "" : `, friction ${fixed(cell.friction_mean, 2)}`}`)),
        h("div", { class: "grid" }, h("div", { class: "dist" }, [5, 4, 3, 2, 1].map((star) => [stars(star), h("span", { class: "bar", vars: { "--share": cell.stars[star - 1] / most } }), h("span", { class: "num" }, count(cell.stars[star - 1]))])), h("div", { class: "stack" }, h("h3", null, "What was said, the lowest first"), said)),
      ),
    );
    try {
      const page = await ask("feedback.recent", { module: cell.module, archetype: cell.archetype, limit: 100 }, signal);
      const lowest = page.items.filter((rating) => rating.state === "rated").sort((a, b) => a.rating - b.rating || b.stream_seq - a.stream_seq).slice(0, 6);
      put(said, lowest.map((rating) => h("li", null, personaLink(rating.persona_id, rating.persona_name), " ", stars(rating.rating), " ", h("span", { class: "quiet" }, when(rating.created_at)), h("div", { class: "note" }, rating.notes), h("div", { class: "links" }, eventLink(rating.stream_seq, `event #${rating.stream_seq}`), traceLink(rating.tick_id)))));
    } catch (error) {
      if (error.name !== "AbortError") put(said, h("li", null, failure(error)));
    }
  }
  load();
}
