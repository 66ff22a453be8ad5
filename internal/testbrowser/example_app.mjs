// The example app: live across tabs and devices, step-up, sign-out everywhere, at 360 px
// and without script. With SHOTS set to a folder, it stores a picture of each page there.
import { PAGE, check, launch } from "./browser.mjs";

const { SHOTS } = process.env;
const browser = await launch();

// device opens a browser of its own.
async function device(options) {
  const context = await browser.newContext(options);
  context.on("page", (page) => {
    page.on("pageerror", (error) => check(false, "the page failed:", String(error)));
    page.on("console", (m) => check(!/Content.Security.Policy/i.test(m.text()), "the page breaks its policy:", m.text()));
    page.on("request", (r) => check(r.url().startsWith(PAGE), "a request to another origin:", r.url()));
  });
  return context;
}

async function tab(context) {
  const page = await context.newPage();
  await page.goto(PAGE);
  return page;
}

async function signIn(page, user, method, name) {
  await page.getByLabel("Your name").fill(user);
  await page.getByLabel("Name of this device").fill(name);
  await page.getByRole("button", { name: `Sign in with a ${method}` }).click();
  await page.getByText(`Hello, ${user}`).waitFor();
}

const fits = async (page) => check(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the page scrolls sideways:", page.url());

async function shot(page, name) {
  if (SHOTS) await page.screenshot({ path: `${SHOTS}/${name}.png`, fullPage: true });
}

// ended waits for the message, which appears without a reload.
async function ended(page, why) {
  await page.getByRole("dialog", { name: "You are signed out" }).getByText(why).waitFor({ timeout: 10_000 });
  check(await page.evaluate(() => window.marked), "the page was reloaded");
  check(!(await page.getByText("Your orders").isVisible()), "the account is still visible");
}
const mark = (page) => page.evaluate(() => { window.marked = true; });

try {
  const laptop = await device({ viewport: { width: 1280, height: 800 } });
  const phone = await device({ viewport: { width: 360, height: 740 }, colorScheme: "dark" });
  const first = await tab(laptop);
  await shot(first, "app-signed-out-light-1280");
  await signIn(first, "erin", "password", "");
  await first.getByText("Cast iron teapot").waitFor();
  const second = await tab(laptop);
  await second.getByText("Hello, erin").waitFor();

  // A transfer requires a passkey, which a password is not.
  await first.getByRole("button", { name: "Send credit" }).click();
  await first.getByRole("button", { name: "Cancel" }).click();
  await first.getByText("Nothing was sent.").waitFor();
  await first.getByRole("button", { name: "Send credit" }).click();
  await first.getByRole("dialog", { name: "Is it you?" }).waitFor();
  await shot(first, "app-step-up-light-1280");
  await first.getByRole("button", { name: "Use my passkey" }).click();
  await first.getByText("You sent € 5.00 to Bob.").waitFor();

  // A device that signs in appears in the list of the others.
  const mobile = await tab(phone);
  await fits(mobile);
  await shot(mobile, "app-signed-out-dark-360");
  await signIn(mobile, "erin", "passkey", "<b>Erin's phone</b>");
  await first.getByText("<b>Erin's phone</b>").waitFor();
  await mobile.getByText("Cast iron teapot").waitFor();
  await fits(mobile);
  await shot(first, "app-light-1280");
  await shot(mobile, "app-dark-360");

  // The phone signs the laptop out: both of its tabs say so.
  await mark(first);
  await mark(second);
  await mobile.getByRole("button", { name: /^Sign out Chrome on Linux/ }).click();
  await mobile.getByText("That device is signed out.").waitFor();
  await first.bringToFront();
  await ended(first, "You were signed out on another device.");
  await shot(first, "app-ended-light-1280");
  await second.bringToFront();
  await ended(second, "You were signed out on another device.");
  await second.getByRole("link", { name: "Continue" }).click();
  await second.getByRole("alert").getByText("You were signed out on another device.").waitFor();

  // A tab that shows the sign-in form follows a sign-in of another tab; a sign-out too.
  await first.getByRole("link", { name: "Continue" }).click();
  await signIn(second, "erin", "passkey", "");
  await first.getByText("Hello, erin").waitFor();
  await mark(first);
  await second.getByRole("button", { name: "Sign out", exact: true }).click();
  await second.getByText("You are signed out.").waitFor();
  await ended(first, "You signed out in another tab.");

  // Sign-out everywhere says how many devices it was.
  await signIn(second, "erin", "passkey", "");
  await mark(mobile);
  await second.getByRole("button", { name: "Sign out everywhere" }).click();
  await second.getByText("You are signed out everywhere: on 2 devices.").waitFor();
  await mobile.bringToFront();
  await ended(mobile, "You were signed out on another device.");
  await shot(mobile, "app-ended-dark-360");

  // Without script: sign in, see the devices, sign out.
  const plain = await tab(await device({ javaScriptEnabled: false, viewport: { width: 360, height: 740 } }));
  await plain.getByLabel("Your name").fill("frank");
  await plain.getByRole("button", { name: "Sign in with a password" }).click();
  await plain.getByText("This device").waitFor();
  await shot(plain, "app-light-360");
  await plain.getByRole("button", { name: "Sign out", exact: true }).click();
  await plain.getByText("You are signed out.").waitFor();
} finally {
  await browser.close();
}
