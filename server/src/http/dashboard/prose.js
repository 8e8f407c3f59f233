// A tick told as a person would tell it: saw, did, felt, rated.

import { count, ms, plural } from "./format.js";

const SEEN = {
  "habits.list": "looked at its habits",
  "spaces.list": "looked at where it is at home",
  "todo.list": "went through its tasks",
  "notes.search": "searched its notes",
};
const DONE = {
  "habits.create": "began a habit",
  "habits.update": "changed a habit",
  "habits.archive": "put a habit away",
  "todo.create": "wrote down a task",
  "todo.complete": "ticked off a task",
  "notes.create": "wrote a note",
  "journal.add": "wrote in its journal",
};
const looks = (tool) => SEEN[tool] !== undefined || /[._](list|search|get|read|find|show|query)\b/.test(tool);

const TIMES = ["", "", " twice", " three times", " four times", " five times"];

function told(actions, words, otherwise) {
  const tools = new Map();
  for (const action of actions) tools.set(action.tool_name, (tools.get(action.tool_name) ?? 0) + 1);
  const parts = [...tools].map(([tool, times]) => `${words[tool] ?? `${otherwise} ${tool}`}${TIMES[times] ?? ` ${count(times)} times`}`);
  return sentence(parts);
}

function sentence(parts) {
  if (parts.length === 0) return "";
  const text = parts.length === 1 ? parts[0] : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}

/** What it looked at, and what it was told when something went wrong. */
export function saw(tick) {
  const seen = tick.actions.filter((action) => looks(action.tool_name));
  return told(seen, SEEN, "looked with") || (tick.actions.length === 0 ? "Nothing: it called no tool." : "It looked at nothing before it acted.");
}

export function did(tick) {
  const done = tick.actions.filter((action) => !looks(action.tool_name));
  const retries = tick.actions.filter((action) => action.retry_of).length;
  const text = told(done, DONE, "used") || "It changed nothing.";
  return retries ? `${text} It tried ${plural(retries, "call")} again.` : text;
}

/** How it went, from errors, waiting and our friction score; each error with what the persona was told. */
export function felt(tick) {
  const frictions = tick.ratings.map((rating) => rating.friction).filter((friction) => friction !== null);
  const worst = Math.max(0, ...frictions);
  const errors = tick.actions.filter((action) => action.result === "error");
  const unknown = tick.actions.filter((action) => action.result === "unknown").length;
  const slow = tick.actions.filter((action) => action.latency_ms >= 2000);
  const mood =
    tick.actions.length === 0 ? "Idle" : worst >= 0.7 ? "Thwarted" : worst >= 0.4 ? "Irritated" : worst >= 0.15 || errors.length ? "A little slowed" : "At ease";
  const parts = [];
  if (errors.length === 0 && unknown === 0 && tick.actions.length) parts.push("everything worked");
  if (errors.length) parts.push(`${plural(errors.length, "call")} of ${count(tick.actions.length)} went wrong`);
  if (unknown) parts.push(`nobody knows what came of ${plural(unknown, "call")}`);
  if (slow.length) parts.push(`it waited ${ms(Math.max(...slow.map((action) => action.latency_ms)))} for ${slow[0].tool_name}`);
  return { mood, text: parts.length ? `${mood}: ${parts.join("; ")}.` : `${mood}.`, errors };
}

const FAULT = { app: "the app’s fault", persona: "its own slip", infra: "the line’s fault" };
const MISTAKES = { "missing-required": "left something out", "wrong-type": "gave the wrong kind of value" };

export function blame(action) {
  const slip = action.mistake ? (MISTAKES[action.mistake] ?? action.mistake.replaceAll("-", " ")) : null;
  return [FAULT[action.cause] ?? "", slip ? `it ${slip}` : ""].filter(Boolean).join(": ");
}

const FOUND = { kept: "found what a partner had put there", broken: "did not find what a partner had put there", void: "need not look: it was changed before" };

/** What a tick put into a shared space for others and what it found there, in sentences. */
export function shared(tick) {
  const made = tick.expectations.filter((row) => row.made_tick_id === tick.tick_id);
  const looked = tick.expectations.filter((row) => row.looked_tick_id === tick.tick_id && row.state !== "void");
  const by = (rows, name) => [...new Set(rows.map((row) => row[name]))].join(", ");
  return [
    looked.length ? `${plural(looked.filter((row) => row.state === "kept").length, "thing")} of ${count(looked.length)} that ${by(looked, "maker_name")} had put there ${looked.length === 1 ? "was" : "were"} there.` : "",
    made.length ? `${by(made, "partner_name")} ought to find ${plural(made.length, "thing")} it made.` : "",
  ].filter(Boolean);
}

/** An event of the feed in a few words, with how it is to be taken. */
export function line(item, nameOf) {
  const data = item.data ?? {};
  const who = nameOf(item);
  const say = (tone, text) => ({ tone, who, text });
  switch (item.type) {
    case "PersonaEnrolled": return say("good", `${data.name ?? "somebody"} joined the cast`);
    case "PersonaRevised": return say("", `${data.name ?? "somebody"} was described anew`);
    case "PersonaErased": return say("warn", "a persona was erased");
    case "PersonaHalted": return say("bad", `stays down: ${data.reason ?? ""}`);
    case "TickStarted": return say("", `began tick ${data.number} (${data.trigger})`);
    case "ToolCalled": return say("", `calls ${data.tool}${data.intent === "mistake" ? ", by mistake" : ""}${data.retry_of ? ", again" : ""}`);
    case "ToolReturned": return say("good", `was answered in ${ms(data.latency_ms)}`);
    case "ToolFailed": return say(data.cause === "persona" ? "warn" : "bad", `was refused: ${data.error ?? ""}`);
    case "ModelAsked": return say("", `asks ${data.model ?? "a model"} what to do`);
    case "ModelCalled": return say(data.error ? "bad" : "", `heard from ${data.model ?? "a model"} after ${ms(data.latency_ms)}`);
    case "Rated": return say(data.rating <= 2 ? "warn" : "good", `rates ${data.module} ${"★".repeat(data.rating ?? 0)} ${data.notes ?? ""}`);
    case "RatingFailed": return say("warn", `could not rate ${data.module}: ${data.reason ?? ""}`);
    case "TwinRated": return say("", `rates the twin known to be ${data.twin} ${"★".repeat(data.rating ?? 0)}`);
    case "EdgeTried": return say(data.verdict === "accepted" || data.verdict === "refused" ? "" : "bad", `brought ${String(data.class).replaceAll("-", " ")} to ${data.field} of ${data.tool}: ${data.verdict}`);
    case "DiaryWritten": return say("", "wrote its diary");
    case "SpaceEntered": return say("", `acts in a shared ${data.space_type}`);
    case "ExpectationRaised": return say("", "put something where its partners ought to find it");
    case "ExpectationChecked": return say(data.outcome === "broken" ? "bad" : "", FOUND[data.outcome] ?? "looked for what a partner had put there");
    case "TickFinished": return say(data.outcome === "failed" ? "bad" : "", `ended its tick: ${data.outcome}, ${plural(data.calls ?? 0, "call")}`);
    case "TickInterrupted": return say("warn", `was interrupted: ${data.reason ?? ""}`);
    case "SessionOpened": return say("", `opened a session with ${data.client || "a client"}`);
    case "SessionClosed": return say("", `closed a session (${data.reason})`);
    case "CallRefused": return say("bad", `may not call ${data.tool}: ${data.rule}`);
    case "CallStarted": return say("", `asks the gateway for ${data.tool}`);
    case "CallEnded": return say(data.outcome === "error" ? "warn" : "", `has an answer of the gateway: ${data.outcome}`);
    case "RecordChanged": return say("", `${data.op === "delete" ? "deletes from" : "writes to"} ${data.table}`);
    default: return say("warn", "something this page does not know");
  }
}

/** Who an item of the feed is about, from its subject. */
export function subjectOf(item) {
  const parts = String(item.subject ?? "").split(".");
  return { kind: parts[1] ?? "", id: parts.slice(2).join(".") };
}
