// One persona's story: saw, did, felt, rated; as prose, along time, and as data.

import { h, put } from "./dom.js";
import { ask } from "./api.js";
import { count, fixed, moment, ms, plural, usd } from "./format.js";
import { blame, did, felt, saw, shared } from "./prose.js";
import { copyButtons, eventLink, face, facts, failure, outcome, pageHead, quiet, stars, traceLink, when } from "./parts.js";

export function show(place, { signal, about, search, setSearch }) {
  const view = { view: search.get("view") ?? "prose" };
  const head = h("div", null, pageHead("A persona", "…"));
  const story = h("div", { class: "stack" });
  const more = h("button", { class: "more", hidden: true, on: { click: () => load() } }, "Earlier ticks");
  const params = { persona: about };
  let ticks = [];
  let cursor;
  let seq;
  const views = [["prose", "As prose"], ["timeline", "Along time"], ["json", "As data"]].map(([key, title]) =>
    h("button", { "aria-pressed": String(view.view === key), "data-view": key, on: { click: () => change(key) } }, title),
  );
  put(
    place,
    head,
    h("div", { class: "row" }, views, copyButtons("the story", () => ({ items: ticks, as_of_seq: seq }), "personas.story", params)),
    story,
    more,
  );

  function change(key) {
    view.view = key;
    setSearch({ view: key === "prose" ? "" : key });
    for (const button of views) button.setAttribute("aria-pressed", String(button.dataset.view === key));
    draw();
  }

  async function load() {
    more.disabled = true;
    try {
      const page = await ask("personas.story", { ...params, cursor }, signal);
      ticks = [...ticks, ...page.items];
      ({ next_cursor: cursor, as_of_seq: seq } = page);
      more.hidden = !cursor;
      draw();
    } catch (error) {
      if (error.name !== "AbortError") put(story, failure(error));
    }
    more.disabled = false;
  }

  function draw() {
    const tell = { prose: card, timeline: lanes, json: (tick) => h("pre", { tabindex: "0", "aria-label": `tick ${tick.number} as data` }, JSON.stringify(tick, null, 2)) }[view.view] ?? card;
    put(story, ticks.length === 0 ? quiet("It has not acted yet.") : null, ticks.map((tick) => frame(tick, tell(tick))));
  }

  ask("personas.get", params, signal)
    .then(({ persona, feedback }) => put(head, describe(persona, feedback)))
    .catch((error) => error.name !== "AbortError" && put(head, pageHead("A persona", null), failure(error)));
  load();
}

function describe(persona, feedback) {
  document.title = `${persona.name} · Dramatis`;
  const mix = Object.entries(persona.module_mix).sort((a, b) => b[1] - a[1]).map(([module]) => module);
  return h(
    "div",
    { class: "stack" },
    h("div", { class: "who" }, face(persona.name, persona.persona_id), pageHead(persona.name, `${persona.archetype} · acts ${persona.cadence} in ${persona.time_zone} · likes ${mix.slice(0, 3).join(", ")}`)),
    persona.halted ? h("p", { class: "error" }, `Stays down: ${persona.halted}`) : null,
    facts([
      ["Ticks", count(persona.ticks), ["last one ", when(persona.last_active_at)]],
      ...feedback.map((module) => [module.module, fixed(module.avg_rating, 2), [stars(module.avg_rating), ` ${plural(module.count, "rating")}`]]),
    ]),
    h("details", null, h("summary", null, "What it is told to be"), h("p", { class: "note" }, persona.system_prompt)),
  );
}

function frame(tick, ...inside) {
  return h(
    "article",
    { class: "card tick", "aria-label": `Tick ${tick.number}` },
    h(
      "header",
      null,
      h("h2", null, `Tick ${tick.number}`, " ", h("span", { class: "quiet" }, moment(tick.started_at))),
      h("div", { class: "row" }, h("span", { class: "pill plain" }, `${tick.trigger}, ${tick.model ?? tick.brain}`), tick.cost_micro_usd ? h("span", { class: "pill plain" }, usd(tick.cost_micro_usd)) : null, outcome(tick.outcome)),
    ),
    tick.reason ? h("p", { class: "note" }, tick.reason) : null,
    ...inside,
    h("div", { class: "links" }, eventLink(tick.stream_seq, `event #${tick.stream_seq}`), traceLink(tick.tick_id, `trace of tick ${tick.number}`)),
  );
}

function card(tick) {
  const { text, errors } = felt(tick);
  const links = (actions) => h("div", { class: "links" }, actions.slice(0, 8).map((action) => eventLink(action.stream_seq, `${action.tool_name} #${action.stream_seq}`)));
  const looked = tick.actions.filter((action) => /list|search/.test(action.tool_name));
  const acted = tick.actions.filter((action) => !looked.includes(action));
  return h(
    "div",
    { class: "acts" },
    h("section", null, h("h3", null, "Saw"), h("p", null, saw(tick)), links(looked)),
    h("section", null, h("h3", null, "Did"), h("p", null, did(tick)), links(acted)),
    tick.space_type ? h("section", null, h("h3", null, `In a ${tick.space_type} it shares`), h("p", null, shared(tick).join(" ") || "Nothing was waited for."), h("div", { class: "links" }, tick.expectations.slice(0, 8).map((row) => eventLink(row.looked_seq ?? row.stream_seq, `${row.kind} ${row.state} #${row.looked_seq ?? row.stream_seq}`)))) : null,
    h(
      "section",
      null,
      h("h3", null, "Felt"),
      h("p", null, text),
      h("ul", { class: "list" }, errors.slice(0, 4).map((action) => h("li", null, h("q", null, action.error_message), " said ", h("code", null, action.tool_name), ` (${blame(action)}) `, eventLink(action.stream_seq)))),
    ),
    h(
      "section",
      null,
      h("h3", null, "Rated"),
      tick.ratings.length === 0 ? h("p", null, "It rated nothing.") : null,
      h("ul", { class: "list" }, tick.ratings.map((rating) => h("li", null, h("strong", null, rating.module), " ", rating.state === "rated" ? stars(rating.rating) : h("span", { class: "pill warn" }, rating.state), h("div", { class: "said" }, rating.notes), h("div", { class: "links" }, eventLink(rating.stream_seq, `event #${rating.stream_seq}`))))),
    ),
  );
}

/** The tick's calls along its own time: where each began and how long it took. */
export function lanes(tick, inside = new Map()) {
  const start = new Date(tick.started_at).getTime();
  const ends = tick.actions.map((action) => new Date(action.created_at).getTime() + (action.latency_ms ?? 0));
  const end = Math.max(start + 1, tick.finished_at ? new Date(tick.finished_at).getTime() : 0, ...ends);
  const part = (from, took) => ({ "--from": Math.max(0, (from - start) / (end - start)).toFixed(4), "--width": (took / (end - start)).toFixed(4) });
  return h(
    "div",
    { class: "scroll", role: "region", tabindex: "0", "aria-label": `Calls of tick ${tick.number} along ${ms(end - start)}` },
    h(
      "div",
      { class: "lanes" },
      tick.actions.map((action) => {
        const call = inside.get(action.call_id);
        return [
          h("span", null, eventLink(action.stream_seq, action.tool_name)),
          h(
            "span",
            { class: "track" },
            h("i", { class: `to-${action.result}`, vars: part(new Date(action.created_at).getTime(), action.latency_ms ?? 0) }),
            call && call.duration_ms !== null ? h("i", { class: "inside", vars: part(new Date(call.started_at).getTime(), call.duration_ms) }) : null,
          ),
          h("span", { class: "num quiet" }, `${action.result} ${ms(action.latency_ms)}`),
        ];
      }),
      tick.actions.length === 0 ? quiet("No call was made.") : null,
    ),
    tick.ratings.length ? h("p", { class: "row" }, tick.ratings.map((rating) => h("span", { class: "pill plain" }, rating.module, " ", stars(rating.rating)))) : null,
  );
}
