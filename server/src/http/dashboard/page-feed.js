// The live feed: every event as it happens, with filters, a pause, and a mark where something was missed.

import { h, put } from "./dom.js";
import { ask } from "./api.js";
import { clock, count, fixed, full, plural } from "./format.js";
import { openFeed, rate } from "./live.js";
import { line, subjectOf } from "./prose.js";
import { choice, eventLink, pageHead, personaLink, traceLink } from "./parts.js";

// Lines on the page, and kept aside while it is paused; older ones are let go.
const SHOWN = 300;
const ASIDE = 2000;
const KINDS = [["", "everything"], ["persona", "personas"], ["session", "gateway"], ["record", "app data"]];
const TONES = [["", "all"], ["bad", "what went wrong"], ["warn", "odd or wrong"], ["good", "what worked"]];

export function show(place, { signal, search, setSearch }) {
  const filter = { kind: search.get("kind") ?? "", tone: search.get("tone") ?? "", q: search.get("q") ?? "" };
  const state = h("span", { class: "pill", role: "status" }, "connecting");
  const speed = h("span", { class: "quiet num" });
  const list = h("ol", { class: "feed", "aria-label": "Events, newest first" });
  const text = h("input", { type: "search", value: filter.q, on: { input: () => change({ q: text.value }) } });
  const pause = h("button", { "aria-pressed": "false", on: { click: () => hold(!isHeld) } }, "Pause");
  const perSecond = rate(10);
  const names = new Map();
  let kept = [];
  let aside = [];
  let isHeld = false;
  let isPast = true;
  let elided = 0;
  let fresh = [];
  let isDue = false;

  put(
    place,
    pageHead("Live feed", "What happens, as the log takes it. Numbers are places in the log; each leads to the event.", h("div", { class: "row" }, state, speed)),
    h("div", { class: "row" }, choice("From", KINDS, filter.kind, (kind) => change({ kind })), choice("Show", TONES, filter.tone, (tone) => change({ tone })), h("label", null, "With the words", text), pause),
    h("section", { class: "card" }, list),
  );

  function change(next) {
    Object.assign(filter, next);
    setSearch(filter);
    draw();
  }

  function hold(held) {
    isHeld = held;
    pause.setAttribute("aria-pressed", String(held));
    if (!held) {
      kept = [...aside.reverse(), ...kept].slice(0, ASIDE);
      aside = [];
    }
    label();
    draw();
  }

  function label() {
    pause.textContent = isHeld ? `Go on (${count(aside.length)} wait)` : "Pause";
  }

  const fits = (entry) =>
    entry.gap !== undefined ||
    ((!filter.kind || entry.kind === filter.kind) &&
      (!filter.tone || entry.tone === filter.tone || (filter.tone === "warn" && entry.tone === "bad")) &&
      (!filter.q || entry.searched.includes(filter.q.toLowerCase())));

  const nodeOf = (entry) => (entry.node ??= entry.gap === undefined ? item(entry) : gapMark(entry));
  const nothing = h("li", null, h("span", { class: "quiet" }, "Nothing fits yet."));

  // What is new goes on top of what is there: drawing three hundred lines anew twenty times a second would cost the
  // very time that makes a feed live.
  const shownSoon = (entries) => {
    // A page in the background is not drawn, for as long as it is.
    fresh = [...fresh, ...entries].slice(-ASIDE);
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      const nodes = fresh.filter(fits).slice(-SHOWN).map(nodeOf).reverse();
      fresh = [];
      if (nodes.length === 0) return;
      nothing.remove();
      list.prepend(...nodes);
      while (list.children.length > SHOWN) list.lastChild.remove();
    });
  };

  function draw() {
    fresh = [];
    const entries = [];
    for (const entry of kept) {
      if (fits(entry)) entries.push(entry);
      if (entries.length >= SHOWN) break;
    }
    put(list, entries.length ? entries.map(nodeOf) : nothing);
  }

  function item({ item, tone, who, text, id, kind }) {
    return h(
      "li",
      { class: tone },
      eventLink(item.seq),
      h("time", { datetime: item.time, title: item.time ? full(item.time) : null }, item.time ? clock(item.time) : ""),
      h("span", null, who ? personaLink(id, who) : h("span", { class: "quiet" }, KINDS.find(([known]) => known === kind)?.[1] ?? kind)),
      h("span", null, h("span", { class: "what" }, text), " ", h("span", { class: "quiet" }, item.type), " ", item.tick ? traceLink(item.tick) : null),
    );
  }

  function gapMark({ gap }) {
    return h("li", { class: "gap" }, gap);
  }

  function add(entries) {
    if (isHeld) {
      aside.push(...entries);
      // What is older than the page can hold is counted and let go.
      if (aside.length > ASIDE) aside.splice(0, aside.length - ASIDE);
      label();
      return;
    }
    kept = [...entries.toReversed(), ...kept].slice(0, ASIDE);
    shownSoon(entries);
  }

  ask("personas.list", { limit: 500 }, signal)
    .then((page) => page.items.forEach((persona) => names.set(persona.persona_id, persona.name)))
    .catch(() => {})
    .finally(() => {
      if (signal.aborted) return;
      openFeed(signal, {
        state(word) {
          state.textContent = word === "live" ? "live" : "away, trying again";
          state.className = `pill ${word === "live" ? "good" : "warn"}`;
        },
        gap(from, to) {
          add([{ gap: `${plural(to - from, "commit")} after #${from} went by while this page was away: they are in the log and not here.` }]);
        },
        frame({ items, events, elided: left, after, seq }) {
          if (!isPast) perSecond.note(events);
          isPast = false;
          const entries = items.map((item) => {
            const { kind, id } = subjectOf(item);
            if (item.type === "PersonaEnrolled") names.set(id, item.data?.name);
            const told = line(item, () => names.get(id) ?? "");
            return { ...told, item, kind, id, searched: `${told.who} ${told.text} ${item.type} ${JSON.stringify(item.data)}`.toLowerCase() };
          });
          if (left > 0) {
            elided += left;
            entries.push({ gap: `${plural(left, "event")} between #${after} and #${seq} came too fast to show.` });
          }
          add(entries);
        },
      });
    });
  const counting = setInterval(() => {
    speed.textContent = `${fixed(perSecond.now(), 1)} events a second${elided ? `, ${count(elided)} left out` : ""}`;
  }, 1000);
  signal.addEventListener("abort", () => clearInterval(counting));
  draw();
}
