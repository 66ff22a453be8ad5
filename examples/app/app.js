// request calls the page's own server, which adds the access token. The header proves
// that the request comes from this page.
const request = (path, method) => fetch(path, { method, headers: { "Latchkey-CSRF": "1" } });

const show =  (text) => { document.querySelector("#answer").textContent = text; };

// confirmed asks the user for a stronger proof, and returns whether it was given.
async function confirmed() {
  const dialog = document.querySelector("#step-up");
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
  return dialog.returnValue === "yes" && (await request("/step-up", "POST")).ok;
}

async function call(path, method) {
  let answer = await request(path, method);
  const challenge = answer.headers.get("WWW-Authenticate") ?? "";
  if (answer.status === 401 && challenge.includes('error="insufficient_user_authentication"')) {
    show("The API requires a stronger proof: " + challenge);
    if (!(await confirmed())) return show("Not confirmed.");
    answer = await request(path, method);
  }
  if (answer.status === 401) return location.reload(); // signed out somewhere else
  show(`${answer.status} ${await answer.text()}`);
}

document.querySelector("#orders")?.addEventListener("click", () => call("/api/orders", "GET"));
document.querySelector("#transfer")?.addEventListener("click", () => call("/api/transfers", "POST"));
