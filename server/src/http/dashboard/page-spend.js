// What models cost, beside the budgets.

import { h, put } from "./dom.js";
import { ask, poll } from "./api.js";
import { count, day, plural, usd } from "./format.js";
import { facts, failure, pageHead, personaLink, table } from "./parts.js";

export function show(place, { signal }) {
  const numbers = h("div");
  const trouble = h("div");
  const params = { days: 30 };
  const source = { query: "spend.summary", params };
  const days = table("By day", [
    { name: "Day", isHead: true, value: (row) => row.day, show: (row) => day(row.day) },
    { name: "Brain", value: (row) => row.model ?? row.brain },
    { name: "Ticks", isNumber: true, value: (row) => row.ticks, show: (row) => count(row.ticks) },
    { name: "Cost", isNumber: true, value: (row) => row.cost_micro_usd, show: (row) => usd(row.cost_micro_usd) },
    { name: "A tick", isNumber: true, value: (row) => row.cost_micro_usd / row.ticks, show: (row) => usd(Math.round(row.cost_micro_usd / row.ticks)) },
  ], source, "No tick in thirty days.");
  const personas = table("By persona", [
    { name: "Persona", isHead: true, value: (row) => row.name, show: (row) => personaLink(row.persona_id, row.name) },
    { name: "Ticks", isNumber: true, value: (row) => row.ticks, show: (row) => count(row.ticks) },
    { name: "Cost", isNumber: true, value: (row) => row.cost_micro_usd, show: (row) => usd(row.cost_micro_usd) },
  ], source, "No tick in thirty days.");
  put(place, pageHead("Spend", "What the models behind the cast cost. The simulated brain costs nothing."), trouble, numbers, h("div", { class: "grid" }, days.node, personas.node));
  poll(
    signal,
    10000,
    (signal) => ask("spend.summary", params, signal),
    (answer) => {
      const { budgets } = answer;
      const share = budgets.day_usd > 0 ? answer.today_micro_usd / 1e6 / budgets.day_usd : 0;
      put(trouble);
      put(
        numbers,
        facts([
          ["Today", usd(answer.today_micro_usd), h("progress", { max: 1, value: Math.min(1, share), "aria-label": `today: ${usd(answer.today_micro_usd)} of $${budgets.day_usd}` })],
          ["Budget of a day", `$${budgets.day_usd.toFixed(2)}`, `$${budgets.persona_day_usd.toFixed(2)} for one persona`],
          ["Budget of a month", `$${budgets.month_usd.toFixed(2)}`, `$${budgets.tick_usd.toFixed(2)} for one tick`],
          ["Thirty days", usd(answer.total_micro_usd), answer.ticks_unknown ? `and ${plural(answer.ticks_unknown, "tick")} whose cost nobody knows` : "of all ticks"],
        ]),
      );
      days.show(answer.days, answer);
      personas.show(answer.personas, answer);
    },
    (error) => put(trouble, failure(error)),
  );
}
