// One commit of the log, as it stands there.

import { h, put } from "./dom.js";
import { ask } from "./api.js";
import { full } from "./format.js";
import { line, subjectOf } from "./prose.js";
import { card, copyButtons, eventLink, failure, pageHead, personaLink, quiet, traceLink } from "./parts.js";

export function show(place, { signal, about }) {
  const seq = Number(about);
  put(place, pageHead(`Event #${about}`, "…"));
  ask("events.get", { seq: about }, signal)
    .then((commit) => draw(commit))
    .catch((error) => error.name !== "AbortError" && put(place, pageHead(`Event #${about}`, null), failure(error)));

  function draw(commit) {
    const { kind, id } = subjectOf(commit);
    put(
      place,
      pageHead(`Event #${commit.seq}`, "One commit: stored whole or not at all. App data and sealed arguments stay in the log.", h("div", { class: "row" }, seq > 1 ? eventLink(seq - 1, "← before") : null, eventLink(seq + 1, "after →"))),
      h(
        "section",
        { class: "card" },
        h("header", null, h("h2", null, "The commit"), copyButtons("the event", () => commit, "events.get", { seq: about })),
        h(
          "dl",
          { class: "pairs" },
          [
            ["Subject", h("code", null, commit.subject)],
            ["Time", commit.time ? full(commit.time) : "–"],
            kind === "persona" ? ["Persona", personaLink(id, id)] : null,
            commit.tick ? ["Tick", traceLink(commit.tick, commit.tick)] : null,
            ["Commit", h("code", null, commit.commit ?? "–")],
            ["Correlation", h("code", null, commit.correlation ?? "–")],
            ["Causation", h("code", null, commit.causation ?? "–")],
            ["Trace parent", h("code", null, commit.traceparent ?? "–")],
          ].filter(Boolean).map(([term, value]) => [h("dt", null, term), h("dd", null, value)]),
        ),
        commit.undecodable ? h("p", { class: "error" }, commit.undecodable) : null,
      ),
      commit.events.map((event) =>
        card(`${event.ordinal}. ${event.type}`, quiet(line({ ...event, subject: commit.subject }, () => "It").text), h("pre", { tabindex: "0", "aria-label": `data of ${event.type}` }, JSON.stringify(event.data, null, 2)), event.hidden.length ? quiet(`Not shown: ${event.hidden.join(", ")}`) : null),
      ),
    );
  }
}
