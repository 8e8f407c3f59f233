// Looks at the live feed in Chromium while others write, and measures from each event's time to the frame in which it
// is painted. Prints one line of JSON.

import { launch, signInWith } from "./chromium.mjs";

const { DASHBOARD_API: API, DASHBOARD_TOKEN: TOKEN, SECONDS = "20" } = process.env;

const { browser, close } = await launch(60_000);
try {
  const page = await browser.newPage();
  await page.goto(`${API}/`);
  await signInWith(page, TOKEN);
  await page.goto(`${API}/#/feed`);
  await page.getByText("live", { exact: true }).waitFor();
  await page.locator(".feed li a").first().waitFor();
  const seen = await page.evaluate(async (seconds) => {
    const [known, lags, gaps] = [new WeakSet(document.querySelectorAll(".feed li")), [], []];
    const look = () => {
      const fresh = [...document.querySelectorAll(".feed li")].filter((line) => !known.has(line));
      for (const line of fresh) known.add(line);
      // What is in the document now is in the frame after this one.
      requestAnimationFrame(() =>
        requestAnimationFrame(() => {
          const now = Date.now();
          for (const line of fresh) {
            const time = line.querySelector("time")?.getAttribute("datetime");
            if (time) lags.push(now - Date.parse(time));
            else gaps.push(line.textContent);
          }
        }),
      );
    };
    const observer = new MutationObserver(look);
    observer.observe(document.querySelector(".feed"), { childList: true });
    const began = performance.now();
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    observer.disconnect();
    return { lags: lags.sort((a, b) => a - b), gaps, took: (performance.now() - began) / 1000 };
  }, Number(SECONDS));
  const at = (share) => seen.lags[Math.min(seen.lags.length - 1, Math.floor(seen.lags.length * share))];
  console.log(JSON.stringify({
    events: seen.lags.length,
    events_per_second: Math.round(seen.lags.length / seen.took),
    p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99), max_ms: seen.lags.at(-1),
    gap_marks: seen.gaps.length,
  }));
} finally {
  await close();
}
