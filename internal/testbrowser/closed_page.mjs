// A page is closed during a refresh and opened again later. Its user is still signed in,
// with one chain of refresh tokens.
import { CLIENT_ID, ISSUER, check, control, launch, open } from "./browser.mjs";

const [store, interruption, waits] = process.argv.slice(2);

// The ways in which a page misses the response to a committed refresh.
const interruptions = {
  // The connection breaks, then the page is closed.
  async lost(page) {
    await control("/answers", { lose: 1 });
    const failed = await page.evaluate(() => window.app.refresh().then(() => false, () => true));
    check(failed, "the page received an answer that was lost");
    await page.close();
  },
  // The page is closed while the response is in transit.
  async closed(page) {
    await control("/answers", { hold: 1 });
    await page.evaluate(() => void window.app.refresh().catch(() => {}));
    await control("/answers/held", {});
    await page.close();
    await control("/answers/release", {});
  },
};

async function stillSignedIn(user, session, result) {
  check(result?.session === session, "the page is signed out:", result);
  const { sessions } = await control(`/sessions?sub=${user}`);
  check(sessions.length === 1 && sessions[0].id === session && sessions[0].live_chains === 1, "live sessions:", sessions);
}

const browser = await launch();
try {
  const context = await browser.newContext();
  const user = `${store}-${interruption}-${waits}`;
  let { page } = await open(context, store);
  const { token } = await control("/client-token", { sub: user });
  const { session } = await page.evaluate((t) => window.app.signIn(t), token);
  check(session, "nobody is signed in at", ISSUER, CLIENT_ID);
  for (const wait of waits.split(",")) {
    await interruptions[interruption](page);
    await control("/clock", { advance: wait });
    let opened;
    ({ page, opened } = await open(context, store));
    await stillSignedIn(user, session, opened);
    for (let i = 0; i < 9; i++) {
      await control("/clock", { advance: "1m" });
      await stillSignedIn(user, session, await page.evaluate(() => window.app.refresh()));
    }
  }
} finally {
  await browser.close();
}
