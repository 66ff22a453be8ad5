// What the console's pages gain from a script. Every page works without it.

// A copy button is hidden until this script can serve it. data-copy is the id of the
// element whose text it copies.
for (const button of document.querySelectorAll("button[data-copy]")) {
	button.hidden = !navigator.clipboard;
}

document.addEventListener("click", async (event) => {
	const button = event.target.closest?.("button[data-copy]");
	if (!button) return;
	await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
	if (button.textContent === "Copied") return;
	const label = button.textContent;
	button.textContent = "Copied";
	setTimeout(() => { button.textContent = label; }, 1500);
});

// A menu closes when the focus or a click leaves it, and on Escape.
for (const type of ["click", "focusin"]) {
	document.addEventListener(type, (event) => {
		for (const menu of document.querySelectorAll("details.menu[open]")) {
			if (!menu.contains(event.target)) menu.open = false;
		}
	});
}
document.addEventListener("keydown", (event) => {
	const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
	if (menu) {
		menu.open = false;
		menu.querySelector("summary").focus();
	}
});

// On a narrow screen the navigation scrolls sideways: show the entry of this page.
document.querySelector(".side [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// The address of a search names only the filters that are set.
document.addEventListener("formdata", (event) => {
	if (!event.target.matches("form[role=search]")) return;
	for (const [name, value] of [...event.formData]) {
		if (value === "") event.formData.delete(name);
	}
});
