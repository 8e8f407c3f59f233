// Chromium with a profile of its own, and the way into the dashboard.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

/** A browser that calls nobody by itself; `close` also takes its profile away. */
export async function launch(patience) {
  const profile = mkdtempSync(join(tmpdir(), "dashboard-"));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    chromiumSandbox: false,
    args: ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  browser.setDefaultTimeout(patience);
  const close = async () => {
    await browser.close();
    rmSync(profile, { recursive: true, force: true });
  };
  return { browser, close };
}

/** Signs in on a page that shows the way in, and waits for the first page. */
export async function signInWith(page, token) {
  await page.getByLabel("Token", { exact: true }).fill(token);
  await page.getByRole("button", { name: "Sign in with the token" }).click();
  await page.getByRole("heading", { level: 1, name: /stage/ }).waitFor();
}
