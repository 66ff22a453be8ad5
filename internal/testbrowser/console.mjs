// The console in a browser. The argument names what to test: pages, keyboard, script-off,
// link, live, forms, claims or explain.
import { createRequire } from "module";
import { readFile } from "fs/promises";
import { launch, check } from "./browser.mjs";
import { pages as all } from "./console_pages.mjs";

// SCREENSHOTS names a folder for screenshots, and ONLY the pages to open, separated by
// commas.
const { CONSOLE, KEY, LINK, IDS, EXCHANGE, CLIENT_TOKEN, SCREENSHOTS, ONLY } = process.env;
const pages = all.filter(([name]) => !ONLY || ONLY.split(",").includes(name));
const ids = JSON.parse(IDS);
const at = (path) => CONSOLE + path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(ids[name]));
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const browser = await launch();
try {
  await { pages: everyPage, keyboard, "script-off": scriptOff, link, live, forms, claims, explain }[process.argv[2]]();
} finally {
  await browser.close();
}

// newPage returns a page that fails the test on what a page of the console never does.
async function newPage(options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const faults = [];
  page.on("console", (message) => {
    const expected = /Failed to load resource: the server responded with a status of 4/.test(message.text());
    if (message.type() === "error" && !expected) faults.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => faults.push(`error: ${error}`));
  page.on("dialog", (dialog) => { faults.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (protocol !== "data:" && origin !== new URL(CONSOLE).origin) faults.push(`request to ${request.url()}`);
  });
  if (options.javaScriptEnabled !== false) {
    await context.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => console.error(`CSP ${event.violatedDirective} ${event.blockedURI}`));
    });
  }
  return { page, context, done: () => check(faults.length === 0, "faults", page.url(), faults) };
}

async function signIn(page) {
  await page.goto(at("/console/sign-in"));
  await page.fill("#secret", KEY);
  await page.click("#sign-in button");
  await page.waitForURL(/\/console\/t\//);
}

// Every page, in both schemes, wide and narrow.
async function everyPage() {
  const failed = [];
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1280, 360]) {
      const { page, context, done } = await newPage({ colorScheme, viewport: { width, height: 800 } });
      await signIn(page);
      for (const [name, path, status = 200] of pages) {
        const what = `${name} ${colorScheme} ${width}`;
        const expect = (holds, ...details) => { if (!holds) failed.push([what, ...details]); };
        const response = await page.goto(at(path));
        expect(response.status() === status, response.status());
        if (["events", "client", "issuer", "settings"].includes(name)) await page.evaluate(() => document.querySelectorAll("details.recorded, details.card, details.rarer").forEach((details) => { details.open = true; }));
        if ((colorScheme === "light") === (width > 500)) { // it takes seconds, and the width decides little
          const found = await page.evaluate(`${axe}; axe.run(document, {resultTypes: ["violations"]})`);
          const serious = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
          expect(serious.length === 0, serious.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.slice(0, 3).map((n) => n.html) })));
        }
        const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        expect(wider <= 0, "is wider than the window by", wider);
        expect(await page.locator("h1").count() === 1, "needs one heading of the first level");
        expect(await page.evaluate(() => !document.querySelector("[style]")), "has an inline style");
        const broken = await page.evaluate(() => [...document.querySelectorAll(".button, button")].filter((b) => b.checkVisibility() && !/\s/.test(b.textContent.trim()) && b.offsetHeight > 36).map((b) => b.textContent));
        expect(broken.length === 0, "breaks a word of a button", broken);
        if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/${name}-${colorScheme}-${width}.png`, fullPage: true });
        done();
      }
      await context.close();
    }
  }
  check(failed.length === 0, "faults:", ...failed);
}

// Signing in, opening a session and ending it with the keyboard alone.
async function keyboard() {
  const { page, done } = await newPage({ viewport: { width: 1280, height: 800 } });
  const focused = () => page.evaluate(() => document.activeElement.textContent.trim() || document.activeElement.id);
  const tabTo = async (wanted) => {
    for (let i = 0; i < 60; i++) {
      await page.keyboard.press("Tab");
      const visible = await page.evaluate(() => {
        const style = getComputedStyle(document.activeElement);
        return document.activeElement.matches(":focus-visible") && (style.outlineStyle !== "none" || style.boxShadow !== "none");
      });
      check(visible, "the focus is not visible on", await focused());
      if ((await focused()) === wanted) return;
    }
    throw new Error(`Tab never reaches ${wanted}`);
  };
  await page.goto(at("/console/sign-in"));
  await tabTo("Skip to the content");
  await tabTo("secret");
  await page.keyboard.type(KEY);
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/console\/t\//);
  await tabTo("Sessions");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/sessions$/);
  await tabTo("carol");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/sessions\/[^/]+$/);
  await tabTo("End session");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/end$/);
  await tabTo("confirm");
  await page.keyboard.type("carol");
  await page.keyboard.press("Enter");
  await page.getByText("The session has ended.").waitFor();
  done();
}

// Every page works without script.
async function scriptOff() {
  const { page, done } = await newPage({ javaScriptEnabled: false, viewport: { width: 360, height: 740 } });
  await page.goto(at("/console/sign-in"));
  await page.fill("#secret", LINK.split("#")[1]); // the code is typed
  await page.click("#sign-in button");
  await page.getByText("Sign in as browser?").waitFor();
  await page.click("#sign-in button");
  await page.waitForURL(/\/console\/t\//);
  for (const [name, path, status = 200] of pages) {
    const response = await page.goto(at(path));
    check(response.status() === status, name, response.status());
    check(await page.locator("button[data-copy]:visible, button[data-follow]:visible").count() === 0, name, "shows a button that needs a script");
  }
  await page.goto(at("/console/t/{tenant}/sessions"));
  await page.fill("[name=user]", "dave");
  await page.click("form[role=search] button");
  await page.click("tbody a");
  await page.getByText("End session").click();
  await page.fill("#confirm", "somebody else");
  await page.click("button.danger");
  await page.getByText("must be dave").waitFor();
  await page.fill("#confirm", "dave");
  await page.click("button.danger");
  await page.getByText("The session has ended.").waitFor();
  await page.click(".menu.right summary");
  await page.getByText("Sign out", { exact: true }).click();
  await page.waitForURL(/\/sign-in/);
  done();
}

// A link signs in when the operator presses the button, and its code leaves the URL.
async function link() {
  const { page, context, done } = await newPage();
  await page.goto(LINK);
  await page.getByText("Sign in as browser?").waitFor();
  check(!page.url().includes("lk_cl_"), "the code is still in the URL", page.url());
  check(!(await context.cookies()).some(({ name }) => /^latchkey-console-\d+$/.test(name)), "the page has signed in on its own");
  await page.keyboard.press("Enter"); // the button has the focus
  await page.waitForURL(/\/console\/t\//);
  const cookie = (await context.cookies()).find(({ name }) => /^latchkey-console-\d+$/.test(name));
  check(cookie?.httpOnly && cookie.sameSite === "Strict", "the cookie", cookie);
  check(await page.evaluate(() => document.cookie) === "", "a script can read a cookie");
  // Opening another link while signed in says so first.
  await page.goto(LINK);
  await page.getByText("You are signed in as").waitFor();
  await page.getByText("sign-in link is not valid").waitFor();
  done();
}

// The page of events shows a new one without a reload.
async function live() {
  const { page, done } = await newPage();
  await signIn(page);
  await page.goto(at("/console/t/{tenant}/events?type=session.created"));
  await page.getByText("Follow live").click();
  await page.getByText("Following").waitFor();
  await page.waitForTimeout(1500);
  const response = await fetch(EXCHANGE);
  check(response.ok, "exchange", response.status);
  await page.locator("#events tr", { hasText: "erin" }).first().waitFor({ timeout: 15000 });
  check(await page.locator("#events script").count() === 0, "the row contains a script");
  done();
}

// A page of another origin cannot send a form, and a form that is wrong says so.
async function forms() {
  const { page, context, done } = await newPage();
  await signIn(page);
  await page.goto(at("/console/t/{tenant}/new-destination"));
  await page.fill("#id", "Not An Id");
  await page.fill("#url", "https://hooks.example.com/");
  await page.click("button.primary");
  await page.getByText("Nothing was changed.").waitFor();
  check(await page.locator(".field.wrong #id").count() === 1, "the field is not marked");
  check(await page.inputValue("#url") === "https://hooks.example.com/", "the form has lost a value");
  done();
  // From a sandbox, the browser sends Origin: null; from a file, too.
  const evil = await context.newPage();
  await evil.setContent(`<iframe sandbox="allow-forms allow-scripts" srcdoc='<form method="post" action="${at("/console/sign-out")}"><input name="form_token" value="x"></form><script>document.forms[0].submit()</script>'></iframe>`);
  await evil.waitForTimeout(1000);
  await page.goto(at("/console/t/{tenant}/sessions"));
  check(page.url().endsWith("/sessions"), "the operator was signed out", page.url());
  await page.fill("[name=user]", "carol");
  await page.click("form[role=search] button");
  await page.waitForURL(/\?/);
  check(page.url().endsWith("/sessions?user=carol"), "the address of a search:", page.url());
}

// Expressions are checked while they are typed, their variables are completed, and they
// are saved; the overview is read again by itself.
async function claims() {
  const { page, done } = await newPage();
  await signIn(page);
  await page.goto(at("/console/t/{tenant}/clients/web/claims"));
  await page.getByText("Every expression can be read.").waitFor();
  await page.locator("#allow").fill("token.sub != 'mallory' && usr.plan == 1");
  await page.getByText("Line 1, column 27: undeclared reference to 'usr'").waitFor();
  await page.getByText("1 expression cannot be read.").waitFor();
  await page.locator("#allow").fill("token.sub != 'mallory'");
  await page.getByText("Every expression can be read.").waitFor();
  check(await page.getByText("undeclared").count() === 0, "the fault is still shown");

  await page.locator("#n-0").fill("method");
  await page.locator("#v-0").click();
  await page.keyboard.type("sess");
  await page.getByRole("option", { name: "session" }).waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.type(".am");
  await page.getByRole("option", { name: "amr" }).waitFor();
  await page.keyboard.press("Enter");
  check(await page.locator("#v-0").inputValue() === "session.amr", "completed:", await page.locator("#v-0").inputValue());
  await page.locator("#sub").fill("<b>somebody</b>");
  await page.locator("#how").selectOption("pwd otp");
  await page.getByText("The access token of <b>somebody</b>, who has not signed in yet").waitFor();
  await page.locator("#checked").getByText('"method": [').waitFor();
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Saved. The next token of each session has the new claims.").waitFor();
  check(await page.locator("#v-0").inputValue() === "session.amr", "the claim was not saved");

  const read = page.waitForResponse((response) => response.url().endsWith("/overview") && response.request().headers()["hx-request"] === "true", { timeout: 30_000 });
  await page.goto(at("/console/t/{tenant}/overview"));
  check((await read).status() === 200, "the overview is not read again");
  done();
}

// Explaining a token by keyboard, with a failed check.
async function explain() {
  const { page, done } = await newPage({ viewport: { width: 360, height: 800 } });
  await signIn(page);
  await page.goto(at("/console/t/{tenant}/explain"));
  await page.locator("#client").fill("web");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.insertText(CLIENT_TOKEN);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.getByText("This token would be refused:").waitFor();
  const failed = page.locator(".checks .failed");
  check((await failed.textContent()).includes("https://elsewhere.example.com"), "the failed check:", await failed.textContent());
  check(!page.url().includes("eyJ"), "the address contains the token");
  check(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the page scrolls sideways");
  done();
}
