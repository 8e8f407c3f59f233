// The API description, read from the server that answers it.

import { h, put } from "./dom.js";
import { call } from "./api.js";
import { plural } from "./format.js";
import { failure, pageHead } from "./parts.js";
import { shape } from "./schema.js";

const ORDER = ["get", "post", "put", "patch", "delete"];

export function show(place, { signal, search, setSearch }) {
  const list = h("div", { class: "stack" });
  const text = h("input", { type: "search", value: search.get("q") ?? "", on: { input: () => (setSearch({ q: text.value }), draw()) } });
  let document = { paths: {} };
  put(place, pageHead("API", "Everything this server answers over HTTP. Every error is a problem (RFC 9457) with a stable code; lists come in pages with next_cursor.", h("a", { class: "button", href: "/openapi.json" }, "openapi.json")), h("div", { class: "row" }, h("label", null, "With the words", text)), list);

  function draw() {
    const needle = text.value.toLowerCase();
    const all = Object.entries(document.paths)
      .flatMap(([path, methods]) => Object.entries(methods).map(([method, about]) => ({ path, method, about })))
      .filter(({ path, about }) => `${path} ${about.summary}`.toLowerCase().includes(needle))
      .sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : ORDER.indexOf(a.method) - ORDER.indexOf(b.method)));
    put(list, h("p", { class: "quiet", role: "status" }, plural(all.length, "address", "addresses")), all.map(one));
  }

  function one({ path, method, about }) {
    const named = document.components?.schemas ?? {};
    const body = about.requestBody?.content?.["application/json"]?.schema;
    const answers = Object.entries(about.responses).flatMap(([status, response]) => Object.entries(response.content ?? {}).map(([kind, { schema }]) => ({ status, kind, schema })));
    const code = (title, schema) => schema && [h("h3", null, title), h("pre", { tabindex: "0", "aria-label": `${title}: ${method} ${path}` }, shape(schema, named))];
    return h(
      "details",
      { class: "card" },
      h("summary", null, h("code", null, `${method.toUpperCase()} ${path}`), " ", about.summary),
      h(
        "dl",
        { class: "pairs" },
        [
          ["For", about.security ? (about.description ?? "whoever holds a token") : "everybody"],
          ["Takes", about.parameters?.length ? about.parameters.map((parameter) => `${parameter.name} (${parameter.in}${parameter.required ? ", must be said" : ""})`).join(", ") : "nothing in its address"],
          ["Answers", Object.entries(about.responses).map(([status, response]) => (response.description ? `${status} ${response.description}` : status)).join(", ")],
          ...(answers.length && !answers.some(({ schema }) => schema) ? [["As", answers.map(({ kind }) => kind).join(", ")]] : []),
        ].map(([term, value]) => [h("dt", null, term), h("dd", null, value)]),
      ),
      code("Takes", body),
      answers.map(({ status, kind, schema }) => code(`${status}, ${kind}`, schema)),
    );
  }
  call("GET", "/openapi.json", undefined, signal)
    .then((read) => {
      document = read;
      draw();
    })
    .catch((error) => error.name !== "AbortError" && put(list, failure(error)));
}
