// A page of an origin that the client does not list gets nothing from the token
// endpoint, and cannot read a response.
import { CLIENT_ID, ISSUER, check, control, launch, open } from "./browser.mjs";

const browser = await launch();
try {
  const context = await browser.newContext();
  const { page } = await open(context, "localStorage");
  const { token } = await control("/client-token", { sub: "mallory" });
  const result = await page.evaluate((t) => window.app.signIn(t).catch((e) => String(e)), token);
  check(typeof result === "string" && result.includes("Failed to fetch"), "the page could read an answer:", result);
  const { sessions } = await control("/sessions?sub=mallory");
  check(sessions.length === 0, "the request created a session at", ISSUER, CLIENT_ID);
} finally {
  await browser.close();
}
