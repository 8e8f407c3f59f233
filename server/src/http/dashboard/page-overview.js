// Tonight: who is on stage, how the modules fare, what it costs, what is wrong.

import { h, put } from "./dom.js";
import { ask, call, poll, queryPath } from "./api.js";
import { count, fixed, percent, plural, usd } from "./format.js";
import { openFeed, rate } from "./live.js";
import { line, subjectOf } from "./prose.js";
import { announce, card, copyButtons, eventLink, face, facts, failure, pageHead, personaLink, quiet, spark, stars, when } from "./parts.js";

const TICKER = 6;

export function show(place, { signal }) {
  const head = h("div");
  const numbers = h("div");
  const alarms = h("section", { class: "card" }, h("h2", null, "Alarms"));
  const stage = h("ul", { class: "list" });
  const scores = h("tbody");
  const spend = h("div", { class: "stack" });
  const ticker = h("ol", { class: "feed" });
  const trouble = h("div");
  const pause = h("button", { on: { click: () => act(answer?.cast.paused ? "resume" : "pause") } }, "Pause the schedule");
  const tick = h("button", { class: "main", on: { click: () => act("tick") } }, "Let everybody act now");
  const perSecond = rate(10);
  const names = new Map();
  let answer;

  put(
    place,
    head,
    trouble,
    numbers,
    h(
      "div",
      { class: "grid wide" },
      h(
        "div",
        { class: "stack" },
        h(
          "section",
          { class: "card" },
          h("header", null, h("h2", null, "Modules, the last seven days"), copyButtons("modules", () => answer?.scores, "feedback.summary", { days: 7 }, { name: "feedback.summary" })),
          h(
            "div",
            { class: "scroll", role: "region", tabindex: "0", "aria-label": "Modules" },
            h(
              "table",
              null,
              h("caption", { class: "sr" }, "Mean stars of each module"),
              h("thead", null, h("tr", null, ["Module", "Stars", "", "Seven days", "Ratings", "Friction"].map((name, index) => (name ? h("th", { scope: "col", class: index > 3 ? "n" : null }, name) : h("td", null))))),
              scores,
            ),
          ),
        ),
        h("section", { class: "card" }, h("header", null, h("h2", null, "On stage"), h("div", { class: "row" }, tick, pause)), stage),
      ),
      h("div", { class: "stack" }, alarms, h("section", { class: "card" }, h("h2", null, "Spend against budget"), spend), h("section", { class: "card ticker" }, h("header", null, h("h2", null, "Just now"), h("a", { href: "#/feed" }, "the whole feed")), ticker)),
    ),
  );

  const look = poll(
    signal,
    2000,
    (signal) => ask("overview", {}, signal),
    (next) => {
      answer = next;
      put(trouble);
      draw(next);
    },
    (error) => put(trouble, failure(error)),
  );

  let isPast = true;
  const feed = {
    frame({ items, events }) {
      if (!isPast) perSecond.note(events);
      isPast = false;
      // What a persona does is told by itself; that the gateway let it through says the same again.
      const isTwice = (item) => {
        const { kind, id } = subjectOf(item);
        return kind === "session" && names.has(id);
      };
      const lines = items.filter((item) => !isTwice(item)).slice(-TICKER).map((item) => {
        const { tone, who, text } = line(item, (item) => names.get(subjectOf(item).id) ?? "");
        return h("li", { class: tone }, eventLink(item.seq), h("span", { class: "what" }, [who, text].filter(Boolean).join(" ")));
      });
      ticker.prepend(...lines.reverse());
      while (ticker.children.length > TICKER) ticker.lastChild.remove();
    },
  };
  // What is told names who it was, so names come first; without them it is told all the same.
  ask("personas.list", { limit: 500 }, signal)
    .then((page) => page.items.forEach((persona) => names.set(persona.persona_id, persona.name)))
    .catch(() => {})
    .then(() => signal.aborted || openFeed(signal, feed));
  const counting = setInterval(() => answer && drawNumbers(answer), 1000);
  signal.addEventListener("abort", () => clearInterval(counting));

  async function act(what) {
    tick.disabled = what === "tick";
    try {
      if (what === "tick") {
        announce("Everybody acts");
        await call("POST", "/api/v1/admin/runner/tick", { all: true });
        announce("Everybody is done");
      } else {
        await call("POST", `/api/v1/admin/runner/${what}`);
      }
    } catch (error) {
      if (!signal.aborted) put(trouble, failure(error));
    }
    tick.disabled = false;
    look();
  }

  function draw(next) {
    const { cast } = next;
    put(head, pageHead(headline(next), lede(next), h("div", { class: "row" }, h("span", { class: `badge ${next.environment}` }, next.environment), h("span", { class: `pill ${next.lag_events > 100 ? "warn" : "good"}` }, next.lag_events ? `${plural(next.lag_events, "commit")} behind` : "up to date"))));
    drawNumbers(next);
    put(
      alarms,
      h("header", null, h("h2", null, "Alarms"), copyButtons("alarms", () => ({ items: next.alarms }), "alarms.list", {}, { name: "alarms.list" })),
      next.alarms.length === 0
        ? quiet("None. Nothing needs a person.")
        : h("ul", { class: "list" }, next.alarms.map((alarm) => h("li", { class: "alarm" }, h("span", { class: `pill ${alarm.severity === "page" ? "bad" : "warn"}` }, alarm.severity === "page" ? "now" : "soon"), h("span", null, alarm.text, " ", h("a", { href: `#/${alarm.page}` }, `See ${alarm.page}`))))),
    );
    pause.textContent = cast.paused ? "Resume the schedule" : "Pause the schedule";
    put(
      stage,
      cast.acting.length === 0 ? h("li", { class: "quiet" }, idle(next)) : null,
      cast.acting.map((persona) =>
        h("li", { class: "who" }, face(persona.name, persona.personaId ?? "", true), h("div", null, personaLink(persona.personaId ?? "", persona.name), ` is ${persona.doing}`, h("div", { class: "quiet" }, `tick ${persona.number} · ${plural(persona.calls, "call")}${persona.errors ? ` · ${count(persona.errors)} went wrong` : ""}`))),
      ),
      cast.waiting.length ? h("li", { class: "quiet" }, `${plural(cast.waiting.length, "persona")} more wait in the wings.`) : null,
    );
    put(
      scores,
      next.scores.modules.length === 0 ? h("tr", null, h("td", { colspan: 6, class: "quiet" }, "No ratings in these seven days.")) : null,
      next.scores.modules.map((module) =>
        h(
          "tr",
          null,
          h("th", { scope: "row" }, h("a", { href: `#/heatmap?module=${encodeURIComponent(module.module)}` }, module.module)),
          h("td", { class: "num" }, fixed(module.stars_mean, 2)),
          h("td", null, stars(module.stars_mean)),
          h("td", null, spark(module.days.map((day) => day.stars_mean), `${module.module}: mean stars by day, ${module.days.map((day) => fixed(day.stars_mean)).join(", ")}`)),
          h("td", { class: "n" }, count(module.ratings)),
          h("td", { class: "n" }, fixed(module.friction_mean, 2)),
        ),
      ),
    );
    const { budgets } = next.spend;
    put(
      spend,
      budget("Today", next.spend.today_micro_usd, budgets.day_usd),
      budget("This month", next.spend.month_micro_usd, budgets.month_usd),
      h("a", { href: "#/spend" }, "By day and by persona"),
    );
  }

  function drawNumbers(next) {
    const share = next.day.calls ? next.day.errors / next.day.calls : 0;
    put(
      numbers,
      facts([
        ["Personas", count(next.cast.personas), next.cast.paused ? "the schedule is paused" : `${count(next.cast.acting.length)} acting, ${count(next.cast.waiting.length)} waiting`],
        ["Events a second", fixed(perSecond.now(), 1), "over the last ten seconds"],
        ["Calls in a day", count(next.day.calls), `${percent(share)} went wrong`],
        ["Lag", count(next.lag_events), next.lag_events ? "commits behind the log" : "the tables are with the log"],
        ["Log", `#${count(next.log_seq)}`, "the last commit"],
      ]),
    );
  }
}

function headline({ cast, alarms }) {
  const urgent = alarms.filter((alarm) => alarm.severity === "page").length;
  if (urgent) return `${plural(urgent, "thing")} ${urgent === 1 ? "needs" : "need"} you now`;
  if (cast.acting.length) return `${cast.acting.length === 1 ? `${cast.acting[0].name} is` : `${count(cast.acting.length)} personas are`} on stage`;
  return cast.personas === 0 ? "The stage is empty" : "The stage is quiet";
}

function lede({ cast, day, scores, alarms }) {
  if (cast.personas === 0) return ["Nobody is in the cast yet. ", h("code", null, "dramatis seed"), " brings ten personas."];
  const rated = scores.modules.filter((module) => module.ratings > 0);
  const worst = rated.reduce((worst, module) => (!worst || module.stars_mean < worst.stars_mean ? module : worst), null);
  return [
    `${plural(cast.personas, "persona")} made ${plural(day.calls, "call")} in a day, `,
    h("strong", null, day.errors ? `${count(day.errors)} of them went wrong` : "and all of them worked"),
    worst ? ["; least liked is ", h("strong", null, worst.module), ` at ${fixed(worst.stars_mean)} stars`] : "",
    ". ",
    alarms.length ? `${plural(alarms.length, "alarm")} ${alarms.length === 1 ? "stands" : "stand"}.` : "No alarm stands.",
  ];
}

function idle({ cast }) {
  const next = cast.next_due;
  return next ? ["Nobody acts. ", h("strong", null, next.name), Date.parse(next.at) < Date.now() ? " was due " : " is due ", when(next.at), cast.paused ? ", and the schedule is paused." : "."] : "Nobody acts.";
}

function budget(name, micro, limit) {
  const share = limit > 0 ? Math.min(1, micro / 1e6 / limit) : 0;
  const text = limit > 0 ? `${usd(micro)} of $${limit.toFixed(2)}` : `${usd(micro)}, no budget`;
  return h("div", null, h("div", { class: "row" }, h("span", null, name), h("strong", { class: "num" }, text)), h("progress", { max: 1, value: share, "aria-label": `${name}: ${text}` }));
}
