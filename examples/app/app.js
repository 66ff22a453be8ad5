// The page's own server adds the access token; the header proves that it is this
// page that asks.
const ask = (path, method) => fetch(path, { method, headers: { "Latchkey-CSRF": "1" } });

const say = (text) => { document.querySelector("#answer").textContent = text; };

// confirmed asks the user for a stronger proof, and says whether it was given.
async function confirmed() {
  const dialog = document.querySelector("#step-up");
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
  return dialog.returnValue === "yes" && (await ask("/step-up", "POST")).ok;
}

async function call(path, method) {
  let answer = await ask(path, method);
  const challenge = answer.headers.get("WWW-Authenticate") ?? "";
  if (answer.status === 401 && challenge.includes('error="insufficient_user_authentication"')) {
    say("The API asks for more: " + challenge);
    if (!(await confirmed())) return say("Not confirmed.");
    answer = await ask(path, method);
  }
  if (answer.status === 401) return location.reload(); // signed out somewhere else
  say(`${answer.status} ${await answer.text()}`);
}

document.querySelector("#orders")?.addEventListener("click", () => call("/api/orders", "GET"));
document.querySelector("#transfer")?.addEventListener("click", () => call("/api/transfers", "POST"));
