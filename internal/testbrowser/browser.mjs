// Shared by the scripts in this folder: a browser, the page of the test, and the control
// port of the test server.
import { chromium } from "playwright-core";

export const { ISSUER, CONTROL, CLIENT_ID, PAGE, CHROMIUM } = process.env;

export async function launch() {
  return chromium.launch({
    executablePath: CHROMIUM,
    headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"],
  });
}

// control sends a request to the control port.
export async function control(path, body) {
  const response = await fetch(CONTROL + path, body === undefined ? {} : { method: "POST", body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

// open opens the app in a new page and waits for its first refresh.
export async function open(context, store) {
  const page = await context.newPage();
  const address = new URL(PAGE);
  address.search = new URLSearchParams({ issuer: ISSUER, client_id: CLIENT_ID, store });
  await page.goto(address.href);
  await page.waitForFunction(() => window.app);
  return { page, opened: await page.evaluate(() => window.app.opened) };
}

export function check(holds, message, ...details) {
  if (!holds) throw new Error([message, ...details.map((d) => JSON.stringify(d))].join(" "));
}
