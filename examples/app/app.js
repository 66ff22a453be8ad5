// request calls the page's own server, which adds the access token. The header proves
// that the request comes from this page.
const request = (path, method, body) =>
	fetch(path, { method, body: body && JSON.stringify(body), headers: { "Latchkey-CSRF": "1", ...(body && { "Content-Type": "application/json" }) } });

const $ = (selector) => document.querySelector(selector);
const say = (text) => { $("#answer").textContent = text; };
const euros = (cents) => "€ " + (cents / 100).toFixed(2);

// The page shows one user, or nobody.
const user = document.body.dataset.user;

// confirmed asks the user for a stronger proof, and returns whether it was given.
async function confirmed() {
	const dialog = $("#step-up");
	dialog.returnValue = "";
	dialog.showModal();
	await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
	return dialog.returnValue === "yes" && (await request("/step-up", "POST")).ok;
}

// call sends a request to the API. It returns undefined if the user did not confirm, or
// is signed out.
async function call(path, method, body) {
	let answer = await request(path, method, body);
	const challenge = answer.headers.get("WWW-Authenticate") ?? "";
	if (answer.status === 401 && challenge.includes('error="insufficient_user_authentication"')) {
		if (!(await confirmed())) return say("Nothing was sent.");
		answer = await request(path, method, body);
	}
	if (answer.status === 401) return void showEnded("You were signed out, perhaps on another device.");
	return answer;
}

async function showOrders() {
	const answer = await call("/api/orders", "GET");
	if (!answer?.ok) return;
	const { orders, credit } = await answer.json();
	$("#credit").textContent = euros(credit);
	$("#orders").replaceChildren(...orders.map(({ item, cents, state }) => {
		const row = document.createElement("li"), left = document.createElement("div"), note = document.createElement("span"), price = document.createElement("span");
		note.className = "small";
		left.append(item, note);
		[note.textContent, price.textContent] = [state, euros(cents)];
		row.append(left, price);
		return row;
	}));
}

$("#transfer")?.addEventListener("submit", async (event) => {
	event.preventDefault();
	const form = new FormData(event.target);
	const answer = await call("/api/transfers", "POST", { to: form.get("to"), cents: Math.round(form.get("euros") * 100) });
	if (!answer) return;
	if (answer.status === 409) return say("You do not have that much credit.");
	if (!answer.ok) return say("That did not work. Try again in a moment.");
	const { to, cents, credit } = await answer.json();
	$("#credit").textContent = euros(credit);
	say(`You sent ${euros(cents)} to ${to}.`);
	check(); // the list of devices shows the passkey
});

// showEnded hides the account and says why the user is signed out. The page stays: a
// reload would lose what the user was typing.
function showEnded(why) {
	const dialog = $("#ended");
	if (dialog.open) return;
	$("#account").hidden = true;
	$("#step-up").close();
	$("#ended-why").textContent = why;
	dialog.addEventListener("cancel", (event) => event.preventDefault());
	dialog.showModal();
}

// showDevices replaces the list of devices by the current one.
async function showDevices() {
	const answer = await fetch("/");
	const page = answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html");
	if (!page || page.body.dataset.user !== user) return;
	document.body.dataset.devices = page.body.dataset.devices;
	$("#devices").replaceWith(page.querySelector("#devices"));
}

// check compares the page with the session: the user may have signed out, or in as
// somebody else, in another tab or on another device.
async function check() {
	const answer = await fetch("/state").catch(() => null);
	if (!answer?.ok) return; // try again later: the session may continue
	const state = await answer.json();
	if (!user) return state.user && location.reload();
	if (!state.user) return showEnded(state.ended);
	if (state.user !== user) return showEnded(`You signed in as ${state.user} in another tab.`);
	if (state.devices !== document.body.dataset.devices) await showDevices();
}

// Other tabs of this browser learn at once what happened in this one. Other devices are
// found by asking the server, as long as somebody looks at the page.
const tabs = new BroadcastChannel("kettle");
tabs.onmessage = check;
tabs.postMessage("loaded");
addEventListener("pageshow", (event) => event.persisted && check());
document.addEventListener("visibilitychange", () => document.hidden || check());
if (user) {
	setInterval(() => document.hidden || check(), 2000);
	showOrders();
}
history.replaceState(null, "", "/"); // a reload does not repeat the result of a form
