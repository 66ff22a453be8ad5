// Completes the variables of an expression while the operator types it: the members of
// user, session, token and client that this tenant knows. Arrow keys choose, Enter or
// Tab accepts, Escape closes.
const form = document.querySelector("form[data-user]");
const list = document.createElement("ul");
list.className = "complete";
list.id = "complete";
list.setAttribute("role", "listbox");
list.setAttribute("aria-label", "Completions");
list.hidden = true;
form?.append(list);

let field, chosen = 0, typed = "";

// candidates returns what may follow the text before the cursor.
function candidates(area) {
	const before = area.value.slice(0, area.selectionStart);
	const [, variable, member] = /(?:^|[^\w."'])([a-z]+)(?:\.([\w.]*))?$/.exec(before) ?? [];
	const variables = area.dataset.complete.split(" ");
	if (member === undefined) {
		typed = variable ?? "";
		return typed ? variables.filter((name) => name.startsWith(typed) && name !== typed) : [];
	}
	typed = member;
	const members = variables.includes(variable) ? form.dataset[variable].split(" ") : [];
	return members.filter((name) => name.startsWith(member) && name !== member);
}

function close() {
	list.hidden = true;
	field?.removeAttribute("aria-activedescendant");
}

function show() {
	const names = candidates(field).slice(0, 8);
	if (!names.length) return close();
	chosen = Math.min(chosen, names.length - 1);
	list.replaceChildren(...names.map((name, i) => {
		const item = document.createElement("li");
		item.id = `complete-${i}`;
		item.textContent = name;
		item.setAttribute("role", "option");
		item.setAttribute("aria-selected", String(i === chosen));
		return item;
	}));
	list.hidden = false;
	field.setAttribute("aria-controls", list.id);
	field.setAttribute("aria-activedescendant", `complete-${chosen}`);
	field.after(list);
}

function accept(name) {
	field.setRangeText(name.slice(typed.length), field.selectionStart, field.selectionEnd, "end");
	close();
	field.dispatchEvent(new Event("input", { bubbles: true }));
}

form?.addEventListener("input", (event) => {
	if (!event.target.dataset.complete) return;
	[field, chosen] = [event.target, 0];
	show();
});
form?.addEventListener("keydown", (event) => {
	if (list.hidden || event.target !== field) return;
	const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
	if (move) {
		chosen = (chosen + move + list.children.length) % list.children.length;
		show();
	} else if (event.key === "Enter" || event.key === "Tab") {
		accept(list.children[chosen].textContent);
	} else if (event.key === "Escape") {
		close();
	} else {
		return;
	}
	event.preventDefault();
});
list.addEventListener("pointerdown", (event) => {
	event.preventDefault(); // the field keeps the focus
	if (event.target.closest("li")) accept(event.target.textContent);
});
form?.addEventListener("focusout", close);
