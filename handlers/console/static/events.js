// Follows new events: the server sends a row of the table for each.
const button = document.querySelector("button[data-follow]");
const state = document.getElementById("follow-state");
const most = 500; // rows that the page keeps
let source;

function stop(text) {
	source?.close();
	source = undefined;
	button.textContent = "Follow live";
	state.textContent = text;
}

function follow() {
	source = new EventSource(button.dataset.follow);
	button.textContent = "Stop";
	state.textContent = "Connecting";
	source.onopen = () => { state.textContent = "Following"; };
	source.onmessage = (event) => {
		const rows = document.getElementById("events");
		if (!rows) { // the list was empty
			location.reload();
			return;
		}
		const template = document.createElement("template");
		template.innerHTML = event.data;
		rows.prepend(template.content);
		while (rows.rows.length > most) rows.lastElementChild.remove();
	};
	source.addEventListener("end", () => stop("Signed out"));
	source.onerror = () => {
		if (source?.readyState === EventSource.CLOSED) stop("Stopped: too many pages follow events, or you are signed out");
		else state.textContent = "Reconnecting";
	};
}

if (button) {
	button.hidden = false;
	button.addEventListener("click", () => { source ? stop("") : follow(); });
}
