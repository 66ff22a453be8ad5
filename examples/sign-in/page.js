const issuer = document.documentElement.dataset.issuer;
let accessToken; // in memory: this page forgets it when it is closed

async function post(path, body, headers) {
  const response = await fetch(path, { method: "POST", body, headers });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
  return text && JSON.parse(text);
}

// exchange turns a client token into a session.
async function exchange({ client_token }) {
  const tokens = await post(issuer + "/token", new URLSearchParams({
    grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
    client_id: "web",
    audience: "backend",
    subject_token: client_token,
    subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
  }));
  accessToken = tokens.access_token;
  return JSON.parse(atob(accessToken.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
}

async function passkey() {
  const { publicKey } = await post("/passkey/options");
  const credential = await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(publicKey) });
  return exchange(await post("/passkey", JSON.stringify(credential)));
}

async function addPasskey() {
  const headers = { Authorization: `Bearer ${accessToken}` };
  const { publicKey } = await post("/passkey/add/options", null, headers);
  const credential = await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(publicKey) });
  await post("/passkey/add", JSON.stringify(credential), headers);
  return "Passkey added.";
}

function on(id, event, action) {
  const element = document.getElementById(id);
  element.addEventListener(event, async (e) => {
    e.preventDefault();
    const answer = document.getElementById("answer");
    answer.textContent = "";
    try {
      answer.textContent = JSON.stringify(await action(event === "submit" && new URLSearchParams(new FormData(element))), null, 2);
    } catch (error) {
      answer.textContent = String(error);
    }
  });
}

on("password", "submit", async (form) => exchange(await post("/password", form)));
on("link", "submit", async (form) => (await post("/link", form)) || "Look into your mailbox.");
on("passkey", "click", passkey);
on("add", "click", addPasskey);

const link = new URLSearchParams(location.hash.slice(1)).get("link");
if (link) {
  history.replaceState(null, "", "/"); // the token stays out of the history
  document.getElementById("redeem").hidden = false;
  on("redeem", "submit", async () => exchange(await post("/link/redeem", new URLSearchParams({ token: link }))));
}
