// Moves the code of a sign-in link from the fragment of the URL into the form, and shows
// what the link signs in as. Only the button of that page redeems the code.
const code = decodeURIComponent(location.hash.slice(1));
if (code.startsWith("lk_cl_")) {
	history.replaceState(null, "", location.pathname + location.search);
	const form = document.getElementById("sign-in");
	form.elements.secret.value = code;
	const response = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
	const page = new DOMParser().parseFromString(await response.text(), "text/html");
	document.title = page.title;
	document.getElementById("content").replaceChildren(...page.getElementById("content").childNodes);
	document.querySelector("#sign-in button, #secret").focus();
}
