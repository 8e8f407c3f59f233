// Drift and findings: what got worse, since when, what changed then, and the rows that show it.

import { h, put } from "./dom.js";
import { ask, poll } from "./api.js";
import { count, day, fixed, full, plural } from "./format.js";
import { copyButtons, eventLink, failure, pageHead, personaLink, quiet, spark, table, when } from "./parts.js";

const KINDS = {
  regression: ["bad", "fails more often"],
  "rated-worse": ["warn", "rated worse"],
  "unhelpful-errors": ["warn", "refusals that do not help"],
  "new-error": ["bad", "a new error"],
  "edge-case": ["bad", "does not stand edge input"],
  "accepted-mistake": ["warn", "a mistake taken as right"],
  "broken-expectation": ["bad", "not there for others"],
};
// Rows of evidence shown with a finding; the JSON has the rest.
const EVIDENCE = 6;

const raterName = (rater) => [rater.model ?? rater.brain ?? rater.source, rater.prompt_version === null ? "" : `prompt ${rater.prompt_version}`, `rubric ${rater.rubric_version}`].filter(Boolean).join(", ");
const chance = (value) => (value === null || value === undefined ? "" : value < 0.001 ? "p < 0.001" : `p ${value.toFixed(3)}`);

export function show(place, { signal }) {
  const trouble = h("div");
  const list = h("div", { class: "stack" });
  const source = { query: "findings.report", params: {} };
  const changed = table("What changed", [
    { name: "When", isHead: true, value: (row) => row.at, show: (row) => h("time", { datetime: row.at, title: full(row.at) }, day(row.at)) },
    { name: "What", value: (row) => row.what },
    { name: "More", show: (row) => h("div", { class: "long" }, row.more) },
    { name: "Event", show: (row) => (row.seq ? eventLink(row.seq) : "–") },
  ], source, "No deployment is marked and no rater changed. `dramatis mark deploy NAME` marks one.");
  const trends = table("Modules, week by week, each rater by itself", [
    { name: "Module", isHead: true, value: (row) => row.module },
    { name: "Rated by", value: (row) => raterName(row.rater) },
    { name: "Stars now", isNumber: true, value: (row) => row.stars_mean, show: (row) => fixed(row.stars_mean, 2) },
    { name: "Against itself", show: (row) => spark(row.weeks.map((week) => (week.is_thin ? null : week.difference)), `${row.module}: stars against each persona’s own baseline by week, ${row.weeks.map((week) => (week.is_thin ? "too few" : fixed(week.difference, 2))).join(", ")}`, -2, 2) },
    { name: "Says", value: (row) => row.verdict.is, show: (row) => h("span", { class: `pill ${row.verdict.is === "worse" ? "warn" : row.verdict.is === "steady" ? "good" : ""}` }, row.verdict.is.replaceAll("_", " ")) },
  ], source, "No ratings to compare yet.");
  const lede = h("span", null, "What got worse, since when, and what shows it.");
  put(place, pageHead("Findings", lede), trouble, list, changed.node, trends.node);

  poll(
    signal,
    15000,
    (signal) => ask("findings.report", {}, signal),
    ({ report, as_of_seq }) => {
      put(trouble);
      if (!report) return put(list, quiet("Nobody has acted yet, so there is nothing to find."));
      const asOf = `as of ${full(report.as_of)}`;
      lede.textContent = report.findings.length ? `${plural(report.findings.length, "finding")} ${asOf}, each with the rows that show it.` : `Nothing crossed a rule ${asOf}.`;
      put(list, h("div", { class: "row" }, copyButtons("the findings", () => ({ report, as_of_seq }), "findings.report")), report.findings.length === 0 ? quiet("Every rule holds: no tool fails more often, no module is rated worse, no error is new.") : null, report.findings.map(card));
      const deploys = report.deploys.map((deploy) => ({ at: deploy.deployed_at, what: `deployed ${deploy.name}`, more: deploy.note ?? "", seq: deploy.stream_seq }));
      const raters = report.raters.map((meter) => ({ at: meter.first_at, what: "a rater began", more: raterName(meter.rater), seq: null }));
      changed.show([...deploys, ...raters].sort((a, b) => (a.at < b.at ? 1 : -1)), report);
      trends.show(report.modules, report);
    },
    (error) => put(trouble, failure(error)),
  );
}

function card(finding) {
  const [tone, word] = KINDS[finding.kind] ?? ["", finding.kind];
  return h(
    "article",
    { class: "card" },
    h("header", null, h("h2", null, finding.headline), h("div", { class: "row" }, h("span", { class: `pill ${tone}` }, word), h("span", { class: "pill plain" }, finding.tool ?? finding.module))),
    h("p", null, finding.detail),
    h(
      "p",
      { class: "quiet" },
      finding.since ? ["Since ", when(finding.since), finding.deploy ? `, right after ${finding.deploy}` : ""] : "It cannot be told since when",
      `; ${plural(finding.personas_affected, "persona")} met it${chance(finding.p_value) ? `, ${chance(finding.p_value)}` : ""}.`,
    ),
    h("div", { class: "links" }, finding.evidence.slice(0, EVIDENCE).map((row) => h("span", null, personaLink(row.persona_id, row.kind), " ", eventLink(row.stream_seq))), finding.evidence.length > EVIDENCE ? h("span", { class: "quiet" }, `and ${count(finding.evidence.length - EVIDENCE)} more`) : null),
  );
}
