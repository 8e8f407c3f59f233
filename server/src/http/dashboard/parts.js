// The pieces pages are made of.

import { h, s, put } from "./dom.js";
import { count, fixed, ago, full } from "./format.js";
import { queryPath } from "./api.js";

// --- telling ------------------------------------------------------------------------------

let region;

/** Says something to everybody: shown to no one's eye, read aloud by screen readers. */
export function announce(text) {
  if (!region) {
    region = h("div", { class: "sr", role: "status", "aria-live": "polite" });
    document.body.append(region);
  }
  region.textContent = text;
}

export function pageHead(title, lede, ...aside) {
  return h("div", { class: "head" }, h("div", null, h("h1", null, title), lede ? h("p", { class: "lede" }, lede) : null), ...aside);
}

export function card(title, ...children) {
  return h("section", { class: "card" }, h("header", null, h("h2", null, title)), ...children);
}

export function failure(error) {
  return h("p", { class: "error", role: "alert" }, error.message);
}

export function quiet(...text) {
  return h("p", { class: "quiet" }, ...text);
}

// --- words and figures --------------------------------------------------------------------

export function stars(value) {
  if (value === null || value === undefined) return h("span", { class: "quiet" }, "–");
  const full = Math.round(value);
  return h(
    "span",
    { class: "stars", role: "img", "aria-label": `${fixed(value, value % 1 ? 1 : 0)} of 5 stars` },
    "★".repeat(full) + "☆".repeat(5 - full),
  );
}

const OUTCOMES = {
  completed: "good", ok: "good", up: "good", running: "good", ready: "good", done: "good",
  abandoned: "warn", limit: "warn", deferred: "warn", unknown: "warn", pending: "warn", standby: "warn", interrupted: "warn", cancelled: "warn",
  failed: "bad", error: "bad", refused: "bad", halted: "bad", down: "bad",
};

export function outcome(word) {
  return word ? h("span", { class: `pill ${OUTCOMES[word] ?? ""}` }, word) : h("span", { class: "quiet" }, "under way");
}

export function when(time) {
  return time ? h("time", { datetime: time, title: full(time) }, ago(time)) : h("span", { class: "quiet" }, "never");
}

export const hueOf = (text) => [...String(text)].reduce((sum, char) => (sum * 31 + char.codePointAt(0)) % 360, 7);

export function face(name, id, isActing) {
  const initials = String(name || "?").trim().split(/\s+/).slice(0, 2).map((word) => [...word][0] ?? "").join("").toUpperCase();
  return h("span", { class: isActing ? "face acting" : "face", "aria-hidden": "true", vars: { "--hue": hueOf(id) } }, initials || "?");
}

export const personaLink = (id, name) => h("a", { href: `#/personas/${encodeURIComponent(id)}` }, name || "(nameless)");
export const eventLink = (seq, text) => h("a", { href: `#/events/${encodeURIComponent(seq)}`, class: "num" }, text ?? `#${seq}`);
export const traceLink = (tick, text) => h("a", { href: `#/traces/${encodeURIComponent(tick)}` }, text ?? "trace");

/** A small line of values; `null` leaves a gap. */
export function spark(values, label, low = 1, high = 5) {
  const [width, height] = [112, 28];
  const at = (value, index) => [
    values.length < 2 ? width / 2 : (index / (values.length - 1)) * (width - 6) + 3,
    height - 3 - ((value - low) / (high - low)) * (height - 6),
  ];
  const points = values.map((value, index) => (value === null || value === undefined ? null : at(value, index)));
  let path = "";
  let isDown = false;
  for (const point of points) {
    if (!point) continue;
    path += `${isDown ? "L" : "M"}${point[0].toFixed(1)} ${point[1].toFixed(1)}`;
    isDown = true;
  }
  const last = points.findLast((point) => point);
  return s(
    "svg",
    { class: "spark", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    s("line", { x1: 0, x2: width, y1: height - 1, y2: height - 1 }),
    path ? s("path", { d: path }) : null,
    last ? s("circle", { cx: last[0], cy: last[1], r: 2.6 }) : null,
  );
}

export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(Boolean).map(([term, value, small]) => h("div", null, h("dt", null, term), h("dd", null, value, small ? h("small", null, small) : null))));
}

export function choice(label, options, value, onChange) {
  const select = h(
    "select",
    { on: { change: () => onChange(select.value) } },
    options.map(([key, text]) => h("option", { value: key, selected: key === value }, text)),
  );
  return h("label", null, label, select);
}

// --- copying ------------------------------------------------------------------------------

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    announce(`${what} copied`);
    return true;
  } catch {
    // A page that is not on a secure address may not write to the clipboard: then it is shown to be copied by hand.
    const area = h("textarea", { readonly: true, "aria-label": what });
    area.value = text;
    const dialog = h("dialog", { "aria-label": what }, area, h("p", null, h("button", { on: { click: () => dialog.close() } }, "Close")));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    area.select();
    return false;
  }
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/**
 * Buttons that copy what is shown as JSON, as the `curl` and as the `nats req` that ask for it. `nats` is the question as the
 * micro service takes it, where it has one: a name and what is said, which is less than over HTTP.
 */
export function copyButtons(title, answer, query, params = {}, nats) {
  const button = (text, what, make) =>
    h("button", {
      class: "small",
      "aria-label": `Copy ${title} as ${what}`,
      on: {
        click: async (event) => {
          const was = event.currentTarget;
          if (await copy(make(), what)) {
            was.textContent = "copied";
            setTimeout(() => (was.textContent = text), 1200);
          }
        },
      },
    }, text);
  return h(
    "div",
    { class: "copy" },
    button("JSON", "JSON", () => JSON.stringify(answer(), null, 2)),
    button("curl", "curl", () => `curl -sS -H "Authorization: Bearer $DRAMATIS_TOKEN" ${quoted(location.origin + queryPath(query, params))}`),
    nats ? button("nats", "nats req", () => `nats req dramatis.query.${nats.name} ${quoted(JSON.stringify(nats.said ?? {}))}`) : null,
  );
}

// --- tables -------------------------------------------------------------------------------

/**
 * A table in a card. `columns`: {name, value(row), show(row)?, isNumber?, isHead?}; a column with `value` can be
 * sorted by. `source`: {query, params, nats} for copying. Gives {node, show(rows, answer)}.
 */
export function table(title, columns, source, empty = "Nothing yet.") {
  let rows = [];
  let answer = {};
  let order = null;
  const body = h("tbody");
  const heads = columns.map((column, index) => {
    const attributes = { scope: "col", class: column.isNumber ? "n" : "" };
    if (!column.value) return h("th", attributes, column.name);
    return h("th", attributes, h("button", { type: "button", on: { click: () => sort(index) } }, column.name));
  });
  const none = quiet(empty);
  const scroller = h(
    "div",
    { class: "scroll", role: "region", tabindex: "0", "aria-label": title },
    h("table", null, h("caption", { class: "sr" }, title), h("thead", null, h("tr", null, heads)), body),
  );
  const node = h(
    "section",
    { class: "card" },
    h("header", null, h("h2", null, title), source ? copyButtons(title, () => answer, source.query, source.params, source.nats) : null),
    scroller,
    none,
  );
  function sort(index) {
    order = order?.index === index ? { index, down: !order.down } : { index, down: Boolean(columns[index].isNumber) };
    draw();
    announce(`sorted by ${columns[index].name}, ${order.down ? "descending" : "ascending"}`);
  }
  function draw() {
    const shown = [...rows];
    if (order) {
      const { value } = columns[order.index];
      const sign = order.down ? -1 : 1;
      shown.sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === y) return 0;
        if (x === null || x === undefined) return 1;
        if (y === null || y === undefined) return -1;
        return (x < y ? -1 : 1) * sign;
      });
    }
    heads.forEach((head, index) => {
      if (columns[index].value) head.setAttribute("aria-sort", order?.index === index ? (order.down ? "descending" : "ascending") : "none");
    });
    put(
      body,
      shown.map((row) =>
        h("tr", null, columns.map((column) => {
          const cell = column.show ? column.show(row) : column.value(row);
          return h(column.isHead ? "th" : "td", { scope: column.isHead ? "row" : null, class: column.isNumber ? "n" : null }, cell ?? "–");
        })),
      ),
    );
    none.hidden = shown.length > 0;
    scroller.hidden = shown.length === 0;
  }
  draw();
  return {
    node,
    show(next, whole) {
      rows = next;
      answer = whole ?? next;
      draw();
    },
  };
}

/** A table whose rows come in pages from a query, with a button for more. */
export function pagedTable(title, columns, query, params, ask, signal, nats, empty) {
  const made = table(title, columns, { query, params, nats }, empty);
  const more = h("button", { class: "more", hidden: true, on: { click: () => load() } }, "Show more");
  made.node.append(more);
  let items = [];
  let cursor;
  async function load() {
    more.disabled = true;
    try {
      const page = await ask(query, { ...params, cursor }, signal);
      items = [...items, ...page.items];
      cursor = page.next_cursor;
      made.show(items, { items, as_of_seq: page.as_of_seq });
      more.hidden = !cursor;
      if (items.length > page.items.length) announce(`${count(items.length)} rows`);
    } catch (error) {
      if (error.name !== "AbortError") made.node.append(failure(error));
    }
    more.disabled = false;
  }
  load();
  return made.node;
}
