// Signs in with the link of an email, adds a passkey to a user who signed in with a
// password, and signs in with the passkey.
import { check, launch } from "../../internal/testbrowser/browser.mjs";

const { PAGE, LINK } = process.env;
const browser = await launch();
try {
  const page = await (await browser.newContext()).newPage();
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("WebAuthn.enable");
  const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true,
      isUserVerified: true, automaticPresenceSimulation: true,
    },
  });
  await page.goto(LINK);

  // press returns the answer that the page shows.
  async function press(button) {
    await page.evaluate(() => { document.getElementById("answer").textContent = ""; });
    await page.getByRole("button", { name: button, exact: true }).click();
    await page.waitForFunction(() => document.getElementById("answer").textContent);
    return page.locator("#answer").textContent();
  }

  check(page.url() === PAGE + "/", "the link stays in the history:", page.url());
  const linked = JSON.parse(await press("Sign in with the link"));
  let answer = await press("Sign in with the link");
  check(answer.includes("/link/redeem: 401"), "the link was valid twice:", answer);

  await page.goto(PAGE);
  answer = await press("Add a passkey");
  check(answer.includes("401"), "a user who is not signed in added a passkey:", answer);
  answer = await press("Sign in with a passkey");
  check(answer.includes("NotAllowedError"), "there was a passkey:", answer);

  await page.getByLabel("Password").fill("correct horse battery staple");
  const first = JSON.parse(await press("Sign in with a password"));
  check(first.sub === linked.sub && first.amr.join() === "pwd", "not the same user:", first, linked);
  answer = await press("Add a passkey");
  check(answer.includes("Passkey added"), "the passkey was not added:", answer);
  answer = await press("Add a passkey");
  check(answer.includes("InvalidStateError"), "the authenticator got a second passkey:", answer);

  await page.reload();
  for (let i = 0; i < 2; i++) {
    const claims = JSON.parse(await press("Sign in with a passkey"));
    check(claims.sub === first.sub && claims.sid !== first.sid, "not the same user in another session:", claims, first);
    check(claims.acr === "phr" && claims.amr.join() === "swk", "not by passkey:", claims);
  }

  await devtools.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
  answer = await press("Sign in with a passkey");
  check(answer.includes("NotAllowedError"), "the user was not verified:", answer);
  await devtools.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });

  // A copy of the passkey was used: its counter is ahead of the authenticator's.
  const { credentials } = await devtools.send("WebAuthn.getCredentials", { authenticatorId });
  await devtools.send("WebAuthn.removeCredential", { authenticatorId, credentialId: credentials[0].credentialId });
  await devtools.send("WebAuthn.addCredential", { authenticatorId, credential: { ...credentials[0], signCount: 1 } });
  answer = await press("Sign in with a passkey");
  check(answer.includes("/passkey: 401"), "a cloned passkey was accepted:", answer);
} finally {
  await browser.close();
}
