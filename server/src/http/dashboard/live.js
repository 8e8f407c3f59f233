// The live feed of the server: frames of events, and what was missed between them.

/**
 * Opens the feed until `signal` ends. `frame({items, events, elided, after, seq})` for each frame; `gap(from, to)` when
 * commits lie between two frames that nobody sent; `state("live" | "away")` as the connection comes and goes.
 */
export function openFeed(signal, { frame, gap, state }) {
  const source = new EventSource("/api/v1/feed");
  let last;
  source.addEventListener("open", () => state?.("live"));
  source.addEventListener("error", () => state?.("away"));
  source.addEventListener("message", (message) => {
    const said = JSON.parse(message.data);
    // What came twice, because a connection was lost after it, is not shown twice.
    const items = last === undefined ? said.items : said.items.filter((item) => item.seq > last);
    if (last !== undefined && said.after > last) gap?.(last, said.after);
    if (last === undefined || said.seq > last) last = said.seq;
    frame({ ...said, items });
  });
  signal.addEventListener("abort", () => source.close());
  return source;
}

/** How many a second came in the last `seconds`, from counts noted as they came. */
export function rate(seconds = 10) {
  let notes = [];
  const began = performance.now();
  return {
    note(count) {
      notes.push([performance.now(), count]);
    },
    now() {
      const at = performance.now();
      notes = notes.filter(([time]) => at - time <= seconds * 1000);
      const over = Math.min(seconds, Math.max(1, (at - began) / 1000));
      return notes.reduce((sum, [, count]) => sum + count, 0) / over;
    },
  };
}
