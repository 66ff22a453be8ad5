// In an app with a bundler: import { createClient } from "@latchkey/sdk/bff"
import { createClient } from "./latchkey.js";

const $ = (selector) => document.querySelector(selector);
const say = (text) => { $("#answer").textContent = text; };
const euros = (cents) => "€ " + (cents / 100).toFixed(2);

// The page shows one user, or nobody.
const user = document.body.dataset.user;

// The page's server keeps the tokens. An API that requires a stronger proof gets it
// through onChallenge, and the request is sent again.
const latchkey = createClient({
	onChallenge: async () => ((await confirmed()) ? clientToken(user, "passkey") : undefined),
});

// clientToken asks the authentication service to check the user.
async function clientToken(name, method) {
	const answer = await latchkey.fetch("/client-token", { method: "POST", body: new URLSearchParams({ user: name, method }) });
	if (!answer.ok) throw new Error(`no client token: ${answer.status}`);
	return answer.text();
}

// confirmed reports whether the user wants to use the passkey.
async function confirmed() {
	const dialog = $("#step-up");
	dialog.returnValue = "";
	dialog.showModal();
	await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
	return dialog.returnValue === "yes";
}

// The forms work without a script, too. With it, other tabs learn at once who is signed in.
let leaving = false;

async function leave(work, path) {
	leaving = true;
	try {
		await work();
		location.assign(path);
	} catch {
		leaving = false;
		say("That did not work. Try again in a moment.");
	}
}

$("#sign-in")?.addEventListener("submit", (event) => {
	event.preventDefault();
	const form = new FormData(event.target, event.submitter);
	leave(async () => latchkey.createSession(await clientToken(form.get("user"), form.get("method")), { deviceName: form.get("device") }), "/");
});

$("#sign-out")?.addEventListener("submit", (event) => {
	event.preventDefault();
	leave(() => latchkey.signOut(), "/?done=signed-out");
});

async function showOrders() {
	const answer = await latchkey.fetch("/api/orders");
	if (!answer.ok) return;
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

async function transfer(to, cents) {
	const answer = await latchkey.fetch("/api/transfers", { method: "POST", body: JSON.stringify({ to, cents }), headers: { "Content-Type": "application/json" } });
	if (answer.status === 401) return "Nothing was sent.";
	if (answer.status === 409) return "You do not have that much credit.";
	if (!answer.ok) throw new Error(`no transfer: ${answer.status}`);
	const { credit } = await answer.json();
	$("#credit").textContent = euros(credit);
	return `You sent ${euros(cents)} to ${to}.`;
}

$("#transfer")?.addEventListener("submit", (event) => {
	event.preventDefault();
	const form = new FormData(event.target);
	transfer(form.get("to"), Math.round(form.get("euros") * 100)).catch(() => "That did not work. Try again in a moment.").then(say);
});

// showEnded hides the account and says why the user is signed out. The page stays: a
// reload would lose what the user was typing.
function showEnded(why, reason) {
	const dialog = $("#ended");
	if (dialog.open) return;
	$("#account").hidden = true;
	$("#step-up").close();
	$("#ended-why").textContent = why;
	if (reason) $("#ended a").href = "/?" + new URLSearchParams({ ended: reason });
	dialog.addEventListener("cancel", (event) => event.preventDefault());
	dialog.showModal();
}

// showDevices replaces the list of devices by the current one, which the server writes in words.
async function showDevices() {
	const answer = await fetch("/");
	const page = answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html");
	if (page && page.body.dataset.user === user) $("#devices").replaceWith(page.querySelector("#devices"));
}

// check shows devices that were added or signed out. If this one was, the client learns
// that from the answer, and reports it below.
async function check() {
	const sessions = await latchkey.listSessions().catch(() => undefined); // try again later: the session may continue
	if (sessions && sessions.map(({ id }) => id).join(" ") !== $("#devices").dataset.ids) await showDevices();
}

// The user may sign out, or in as somebody else, in another tab or on another device.
latchkey.onSessionChange(({ event, session, reason }) => {
	if (leaving) return;
	if (!user) return location.assign("/");
	if (!session) {
		const endings = JSON.parse($("#ended").dataset.endings);
		return showEnded(reason ? (endings[reason] ?? endings.other) : "You signed out in another tab.", reason);
	}
	if (session.user.id !== user) return showEnded(`You signed in as ${session.user.id} in another tab.`);
	if (event !== "refreshed") showDevices();
});

history.replaceState(null, "", "/"); // a reload does not repeat the result of a form
await latchkey.ready;
if ((latchkey.session?.user.id ?? "") !== user) location.assign("/"); // since the server wrote the page
else if (user) {
	showOrders();
	setInterval(() => document.hidden || check(), 2000);
	setInterval(() => document.hidden || showDevices(), 60_000); // "5 minutes ago"
}
