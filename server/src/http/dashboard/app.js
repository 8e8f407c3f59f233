// The frame: who is signed in, where one is, which page is shown.

import { h, put } from "./dom.js";
import { onSignedOut, session } from "./api.js";
import { announce, failure } from "./parts.js";

const PAGES = [
  ["Stage", [
    ["overview", "Overview", () => import("./page-overview.js")],
    ["personas", "Personas", () => import("./page-personas.js")],
    ["feed", "Live feed", () => import("./page-feed.js")],
  ]],
  ["Insight", [
    ["findings", "Findings", () => import("./page-findings.js")],
    ["heatmap", "Heat-map", () => import("./page-heatmap.js")],
    ["tools", "Tools", () => import("./page-tools.js")],
    ["spend", "Spend", () => import("./page-spend.js")],
  ]],
  ["Machinery", [
    ["gateway", "Gateway", () => import("./page-gateway.js")],
    ["projections", "Projections", () => import("./page-projections.js")],
    ["replay", "Replay", () => import("./page-replay.js")],
    ["system", "System", () => import("./page-system.js")],
    ["api", "API", () => import("./page-api.js")],
  ]],
];
// Pages one comes to from another, and the entry of the menu they belong to.
const DETAILS = {
  personas: ["personas", () => import("./page-story.js")],
  events: ["feed", () => import("./page-event.js")],
  traces: ["personas", () => import("./page-trace.js")],
};

const app = document.getElementById("app");
let shown = new AbortController();
let frame;

applyTheme();
onSignedOut(() => {
  session.forget();
  showDoor();
});
window.addEventListener("hashchange", () => frame && route(true));
start();

async function start() {
  if (!session.wasSignedIn()) return showDoor();
  try {
    showFrame(await session.current());
  } catch (error) {
    if (error.status === 401 || error.status === 403) {
      session.forget();
      return showDoor();
    }
    put(app, h("main", { id: "main" }, h("h1", null, "Dramatis"), failure(error)));
    setTimeout(start, 3000);
  }
}

async function showDoor() {
  shown.abort();
  frame = null;
  const { door } = await import("./page-signin.js");
  document.title = "Sign in · Dramatis";
  put(app, door(showFrame));
}

function showFrame(user) {
  const main = h("main", { id: "main", tabindex: "-1" });
  const links = new Map();
  const rail = h(
    "div",
    { class: "rail" },
    h("a", { class: "brand", href: "#/overview" }, h("img", { src: "/dashboard/icon.svg", alt: "" }), "Dramatis"),
    h("button", { class: "menu", "aria-expanded": "false", "aria-controls": "pages", on: { click: (event) => unfold(event.currentTarget) } }, "Menu"),
    h("nav", { id: "pages", "aria-label": "Pages" }, PAGES.map(([group, pages]) =>
      h("section", null, h("h2", null, group), h("ul", null, pages.map(([name, title]) => {
        const link = h("a", { href: `#/${name}` }, title);
        links.set(name, link);
        return h("li", null, link);
      })))),
    ),
    h(
      "div",
      { class: "foot" },
      h("span", null, user.email),
      h(
        "div",
        null,
        h("button", { class: "small", on: { click: nextTheme } }, `Light: ${theme()}`),
        h("button", { class: "small", on: { click: nextZone } }, `Times: ${localStorage.getItem("dramatis-zone") ?? "local"}`),
        h("button", { class: "small", on: { click: signOut } }, "Sign out"),
      ),
    ),
  );
  frame = { main, rail, links };
  const skip = h("button", { class: "skip", on: { click: () => main.focus() } }, "Skip to the page");
  put(app, h("div", { class: "shell" }, skip, h("header", { class: "rail-holder" }, rail), main));
  route(false);
}

function unfold(button) {
  const isOpen = frame.rail.classList.toggle("open");
  button.setAttribute("aria-expanded", String(isOpen));
}

async function route(isMove) {
  shown.abort();
  shown = new AbortController();
  const { signal } = shown;
  const [path, search = ""] = location.hash.replace(/^#\//, "").split("?");
  const [name = "", ...rest] = path.split("/").map((part) => decode(part));
  const about = rest.join("/");
  const listed = PAGES.flatMap(([, pages]) => pages).find(([known]) => known === (name || "overview"));
  const [entry, load] = about && DETAILS[name] ? DETAILS[name] : listed ? [listed[0], listed[2]] : ["overview", PAGES[0][1][0][2]];
  for (const [known, link] of frame.links) {
    if (known === entry) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  frame.rail.classList.remove("open");
  frame.rail.querySelector(".menu").setAttribute("aria-expanded", "false");
  const place = h("div", { class: "stack" });
  try {
    const page = await load();
    if (signal.aborted) return;
    put(frame.main, place);
    page.show(place, { signal, about, search: new URLSearchParams(search), setSearch });
  } catch (error) {
    if (signal.aborted) return;
    put(frame.main, h("h1", null, "This page cannot be shown"), failure(error));
  }
  const title = place.querySelector("h1")?.textContent ?? "Dramatis";
  document.title = `${title} · Dramatis`;
  if (isMove) {
    frame.main.focus({ preventScroll: true });
    window.scrollTo(0, 0);
    announce(title);
  }
}

// Filters are part of the address, so that a view can be sent to somebody; changing one does not load the page anew.
function setSearch(params) {
  const said = new URLSearchParams(Object.entries(params).filter(([, value]) => value)).toString();
  const path = location.hash.split("?")[0] || "#/overview";
  history.replaceState(null, "", said ? `${path}?${said}` : path);
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

async function signOut() {
  shown.abort();
  await session.signOut();
  showDoor();
}

// --- looks --------------------------------------------------------------------------------

function theme() {
  const kept = localStorage.getItem("dramatis-theme");
  return kept === "light" || kept === "dark" ? kept : "auto";
}

function applyTheme() {
  if (theme() === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme();
}

function nextTheme(event) {
  const next = { auto: "light", light: "dark", dark: "auto" }[theme()];
  localStorage.setItem("dramatis-theme", next);
  applyTheme();
  event.currentTarget.textContent = `Light: ${next}`;
}

function nextZone() {
  localStorage.setItem("dramatis-zone", localStorage.getItem("dramatis-zone") === "utc" ? "local" : "utc");
  location.reload();
}
