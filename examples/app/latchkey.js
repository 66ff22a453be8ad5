// Built from sdk/js/src/bff.ts by `make example-app`: do not edit. An app imports @latchkey/sdk/bff instead.
/** A scheme, or a parameter and the rest up to the next comma; or what is skipped. */
var piece = /([!#$%&'*+\-.^`|~\w]+)[ \t]*(?:=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+\-.^`|~\w]*))[^,]*)?|[,\s]+|[^,]+/g;
/**
* Parses a `WWW-Authenticate` header, in which commas separate both challenges and their parameters. It
* skips what it does not understand, such as token68.
*/
function parseChallenges(header) {
	const list = [];
	for (const [, word, quoted, plain] of header.matchAll(piece)) {
		const value = quoted?.replace(/\\(.)/g, "$1") ?? plain;
		if (word && value === void 0) list.push({
			scheme: word,
			params: {}
		});
		const params = list.at(-1)?.params;
		const name = word?.toLowerCase();
		if (name && value !== void 0 && params && !Object.hasOwn(params, name)) params[name] = value;
	}
	return list;
}
/** Returns the parameters of the first challenge of a 401 with an error code. */
function findChallenge(headers, error) {
	return parseChallenges(headers.get("www-authenticate") ?? "").find((c) => c.params["error"] === error)?.params;
}
/**
* Returns the authentication that a resource server requires, from the headers of its 401 (RFC 9470 §3),
* or undefined if the response does not ask for a step-up.
*/
function parseChallenge(headers) {
	const params = findChallenge(headers, "insufficient_user_authentication");
	if (!params) return void 0;
	const acrValues = params["acr_values"]?.split(/\s+/).filter(Boolean);
	const age = params["max_age"] ?? "";
	return {
		...acrValues?.length && { acrValues },
		.../^\d{1,10}$/.test(age) && Number(age) < 2 ** 31 && { maxAge: Number(age) }
	};
}
/**
* Returns the claims of a JWT without a check of its signature, or no claims if it is not a JWT. The
* token came from the token endpoint, and the client only shows what it says.
*/
function unverifiedClaims(token) {
	try {
		const bytes = atob((token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/"));
		const text = decodeURIComponent(bytes.replace(/[%\x80-\xff]/g, (byte) => "%" + byte.charCodeAt(0).toString(16)));
		return Object(JSON.parse(text));
	} catch {
		return {};
	}
}
/** Returns a claim that is a number, or 0. */
function numberClaim(claims, name) {
	const value = claims[name];
	return typeof value === "number" ? value : 0;
}
/** Returns a text that is not empty, or undefined. */
function textOf(value) {
	return typeof value === "string" && value !== "" ? value : void 0;
}
/** Returns the texts of a list. */
function textsOf(value) {
	return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}
/**
* Every error that the SDK throws. It never contains a token.
*
* Branch on `code`, and on `reason` for refusals of the server. `message` is for developers.
*/
var LatchkeyError = class extends Error {
	name = "LatchkeyError";
	constructor(code, message, options = {}) {
		super(message, options);
		Object.assign(this, {
			retryable: false,
			...options,
			code
		});
	}
};
/** Returns an error that means that nothing is known: the server did not respond. */
function unavailable(message, options = {}) {
	return new LatchkeyError("unavailable", message, {
		retryable: true,
		...options
	});
}
/**
* Sends requests to the issuer and reads the responses. Its errors are of two kinds: a refusal by the
* server itself, and `unavailable` for everything that may come from something in between, such as a
* proxy or a captive portal.
*/
var Endpoint = class {
	#issuer;
	#fetch;
	/** Bounds each request, in milliseconds. */
	#timeout;
	constructor(issuer, fetch, timeout) {
		checkIssuer(issuer);
		this.#issuer = issuer;
		this.#fetch = fetch;
		this.#timeout = timeout;
	}
	/** Posts a form. Values that are undefined are left out. */
	post(path, form, init) {
		const body = new URLSearchParams();
		for (const [name, value] of Object.entries(form)) for (const one of [value ?? []].flat()) body.append(name, one);
		return this.send(path, {
			method: "POST",
			body,
			...init
		});
	}
	/** Sends a request and returns the JSON of the response, or undefined if it is empty. */
	async send(path, init) {
		if (isOffline()) throw unavailable("the device is offline");
		const [where = ""] = path.split("?");
		const abort = new AbortController();
		const timer = setTimeout(() => abort.abort(), this.#timeout);
		try {
			const response = await this.#fetch(this.#issuer + path, {
				redirect: "manual",
				...typeof document !== "undefined" && { credentials: "omit" },
				...init,
				headers: {
					accept: "application/json",
					...init.headers
				},
				signal: abort.signal
			});
			return read(where, response, await response.text());
		} catch (error) {
			if (error instanceof LatchkeyError) throw error;
			throw unavailable(`request to ${where} ${abort.signal.aborted ? "timed out" : "failed"}`, { cause: error });
		} finally {
			clearTimeout(timer);
		}
	}
};
function read(where, response, text) {
	const { status, headers } = response;
	if ((status === 200 || status === 204) && text === "") return void 0;
	let json;
	if (/^application\/json\s*(;|$)/i.test(headers.get("content-type") ?? "") && text.length <= 2 ** 20) try {
		json = JSON.parse(text);
	} catch {}
	if (status === 200 && json) return json;
	const retryAfter = retryAfterOf(headers);
	const code = textOf(json?.["error"]);
	if (!code || status < 400) throw unavailable(`unexpected response from ${where}: status ${status}`, {
		status,
		retryAfter
	});
	const [reason, endReason, description] = [
		"latchkey_reason",
		"latchkey_end_reason",
		"error_description"
	].map((name) => textOf(json?.[name]));
	throw new LatchkeyError(code, `${status} ${code}${reason ? ` (${reason})` : ""}${description ? `: ${description}` : ""}`, {
		retryable: status >= 500 || status === 429,
		status,
		reason,
		endReason,
		retryAfter
	});
}
function retryAfterOf(headers) {
	const value = headers.get("retry-after") ?? "";
	const seconds = Number(value) || (Date.parse(value) - Date.now()) / 1e3;
	return seconds > 0 ? seconds : void 0;
}
/** Only `false` is certain: a device that has a network may still not reach the server. */
function isOffline() {
	return globalThis.navigator?.onLine === false;
}
/** Reports whether a URL, spelled as in `URL.href`, is https, or http on loopback. */
function isSecure(url) {
	return /^(https:\/\/|http:\/\/(localhost|127(\.\d+){3}|\[::1\])(:\d+)?([/?#]|$))/.test(url);
}
/** Rejects an issuer that cannot be the `iss` of tokens. It needs no `URL`, of which React Native has a part only. */
function checkIssuer(issuer) {
	if (!isSecure(issuer) || !/^\w+:\/\/([^\s/?#@:]+|\[[\da-f:.]+\])(:\d+)?(\/[^\s?#]*[^\s?#/])?$/.test(issuer)) throw new LatchkeyError("invalid_option", `invalid issuer ${issuer}: expected an https URL (or http on loopback) without user, query, fragment and final slash`);
}
/** Returns a function that runs operations one after another, also after one that has failed. */
function newQueue() {
	let last = Promise.resolve();
	return (run) => {
		const result = last.then(run);
		last = result.catch(() => void 0);
		return result;
	};
}
/**
* Decides what an error means for the session.
*
* - `retry`: nothing is known; send the same refresh token again
* - `end`: the session is over, if the storage still holds the refused token
* - `reload`: the session continues, and the storage should have a newer token
* - `fail`: the session continues, and the same request would be refused again
*
* The cookie of a request may be older than the one that the browser has by now. `ofRequest`: therefore only
* `session_ended` ends the session, because it is true for every token of the session.
*/
function judge(error, ofRequest = false) {
	if (!(error instanceof LatchkeyError)) return "fail";
	if (error.retryable) return [
		404,
		405,
		501
	].includes(error.status ?? 0) || ofRequest && error.code === "superseded" ? "fail" : "retry";
	switch (error.reason) {
		case "refresh_superseded":
		case "session_token_superseded":
		case "chain_mismatch": return "reload";
		case "session_ended":
		case "refresh_reused":
		case "refresh_unknown":
		case void 0:
			if (ofRequest && error.reason !== "session_ended") return "fail";
			return error.status === 400 && error.code === "invalid_grant" ? "end" : "fail";
		default: return "fail";
	}
}
/** Returns the pause after attempt `n`, counted from 0: 100 ms at first, 2 s at most. Half of it is random. */
function backoff(n, random = Math.random()) {
	return Math.min(50 * 2 ** n, 1e3) * (1 + random);
}
/** Repeats a request that got no response, for at most `window` milliseconds. */
async function withRetry(window, attempt, ofRequest = false) {
	const end = Date.now() + window;
	for (let n = 0;; n++) try {
		return await attempt();
	} catch (error) {
		if (judge(error, ofRequest) !== "retry" || isOffline()) throw error;
		const pause = backoff(n) + (error.retryAfter ?? 0) * 1e3;
		if (Date.now() + pause > end) throw error;
		await new Promise((resolve) => setTimeout(resolve, pause));
	}
}
/** Returns what an app may see of the tokens. Without tokens in this process, a back end reports the claims. */
function describe(tokens, claims = unverifiedClaims(tokens.accessToken)) {
	const authTime = numberClaim(claims, "auth_time");
	return Object.freeze({
		id: tokens.id,
		user: Object.freeze({ id: textOf(claims["sub"]) ?? "" }),
		claims: Object.freeze(claims),
		expiresAt: /* @__PURE__ */ new Date(tokens.expiresAt * 1e3),
		acr: textOf(claims["acr"]),
		amr: textsOf(claims["amr"]),
		authTime: authTime ? /* @__PURE__ */ new Date(authTime * 1e3) : void 0
	});
}
/** Reads an item of the session API. */
function sessionInfo(item) {
	const text = (value) => textOf(value) ?? "";
	const date = (value) => /* @__PURE__ */ new Date(Number(value) * 1e3);
	const device = item["device"] ?? {};
	return {
		id: text(item["id"]),
		clientId: text(item["client_id"]),
		current: item["current"] === true,
		createdAt: date(item["created_at"]),
		lastActiveAt: date(item["last_active_at"]),
		expiresAt: date(item["expires_at"]),
		acr: textOf(item["acr"]),
		amr: textsOf(item["amr"]),
		device: {
			name: text(device["name"]),
			userAgent: text(device["user_agent"]),
			ip: text(device["ip"])
		}
	};
}
/**
* Keeps a user signed in at a back end that keeps the tokens: the Go package `bff`, or
* `@latchkey/sdk/next`. No token ever reaches JavaScript.
*
* @packageDocumentation
*/
/** Proves to the back end that a request comes from a page of the app. */
var CSRF_HEADER = "latchkey-csrf";
/** How long background work waits after a failure, and how often at most an event of the page asks the back end, in milliseconds. */
var [FAILURE_PAUSE, EVENT_PAUSE] = [5e3, 1e3];
/** The item of `sessionStorage` with the session that the last client token led to. */
var PROOF = "latchkey-proof";
/**
* Returns a client for pages whose back end keeps the tokens. It has the methods of the client of
* `@latchkey/sdk`, with these differences:
*
* - `getToken` rejects with `no_tokens`. Send requests with `fetch`, to paths that the back end forwards.
* - `ready` resolves when the back end has reported the session. Until then the session is undefined.
* - `signOut` rejects if the back end does not respond: only its response deletes the cookie.
* - The back end chooses the `scope` and the `audience` of a session.
*/
function createClient(options = {}) {
	return new BffClient(options);
}
/** Client tokens that are being exchanged: React's Strict Mode runs effects twice. */
var exchanges = /* @__PURE__ */ new Map();
var BffClient = class {
	ready;
	#options;
	#base;
	#endpoint;
	#fetch;
	#window;
	#listeners = /* @__PURE__ */ new Set();
	#stops = [];
	#settle;
	#session;
	/** Why the last session ended; undefined: it did not end. */
	#end;
	/** Grows whenever an answer that is under way may be out of date. */
	#version = 0;
	#looking;
	#lookedAt = 0;
	/** Runs requests that replace the cookie one after another, so that the last one wins here as in the browser. */
	#exclusive = newQueue();
	#channel;
	#told = null;
	#expiresIn = 0;
	#failures = 0;
	#timer;
	#disposed = false;
	constructor(options) {
		this.#options = options;
		this.#window = options.retryWindow ?? 1e4;
		this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
		this.ready = new Promise((resolve, reject) => this.#settle = {
			resolve,
			reject
		});
		this.ready.catch(() => void 0);
		const page = typeof location === "undefined" ? void 0 : location.href;
		const base = options.base ?? "/auth";
		if (!URL.canParse(base, page)) return;
		this.#base = new URL(base, page);
		if (page && this.#base.origin !== new URL(page).origin) throw new LatchkeyError("invalid_option", "base must be on the origin of the page");
		this.#endpoint = new Endpoint(this.#base.href.replace(/\/$/, ""), this.#fetch, this.#window / 3);
		this.#start();
	}
	get session() {
		return this.#session;
	}
	#start() {
		if (typeof BroadcastChannel !== "undefined") {
			this.#channel = new BroadcastChannel(`latchkey ${this.#base?.href}`);
			this.#channel.unref?.();
			this.#channel.onmessage = ({ data }) => {
				this.#told = data;
				this.#version++;
				this.#background();
			};
		}
		const onEvent = () => {
			if (isVisible() && performance.now() - this.#lookedAt > EVENT_PAUSE) this.#background();
		};
		if (typeof document !== "undefined") for (const [target, names] of [[window, [
			"online",
			"pageshow",
			"focus"
		]], [document, ["visibilitychange", "resume"]]]) for (const name of names) {
			target.addEventListener(name, onEvent);
			this.#stops.push(() => target.removeEventListener(name, onEvent));
		}
		this.#background();
	}
	async createSession(clientToken, options = {}) {
		this.#begin();
		if (options.scope !== void 0 || options.audience !== void 0) throw new LatchkeyError("invalid_option", "the back end chooses the scope and the audience");
		const key = `${this.#base?.href} ${clientToken}`;
		let exchange = exchanges.get(key);
		if (!exchange) {
			exchange = this.#exclusive(() => this.#exchange(clientToken, options)).finally(() => exchanges.delete(key));
			exchanges.set(key, exchange);
		}
		return exchange;
	}
	async #exchange(clientToken, options) {
		const proof = clientToken.slice(-24);
		const [id, known] = readProof();
		if (known === proof) {
			if (this.#session === void 0) await this.#look();
			if (this.#session?.id === id) return this.#current();
		}
		const session = await this.#change("/session", {
			...proofBody(clientToken, options),
			device_name: options.deviceName
		});
		writeProof(session.id, proof);
		return session;
	}
	getToken() {
		return Promise.reject(new LatchkeyError("no_tokens", "the back end keeps the tokens: send requests with fetch of the client"));
	}
	async refreshSession() {
		this.#begin();
		const version = this.#version;
		const answer = await this.#send("/refresh", { method: "POST" });
		if (version === this.#version) this.#accept(answer);
		else await this.#look();
		return this.#current();
	}
	async stepUp(clientToken, options = {}) {
		this.#begin();
		return this.#exclusive(() => this.#change("/step-up", proofBody(clientToken, options)));
	}
	async signOut({ scope = "current" } = {}) {
		this.#begin();
		const path = `/session?scope=${scope}`;
		if (scope === "others") {
			await this.#send(path, { method: "DELETE" });
			return;
		}
		await this.#exclusive(async () => {
			await this.#send(path, {
				method: "DELETE",
				keepalive: true
			});
			this.#changed({ session: null });
		});
	}
	async listSessions() {
		this.#begin();
		const { items = [] } = await this.#send("/sessions", { method: "GET" });
		return items.map(sessionInfo);
	}
	async revokeSession(id) {
		this.#begin();
		if (id === this.#session?.id) return this.signOut();
		await this.#send(`/sessions/${encodeURIComponent(id)}`, { method: "DELETE" });
	}
	onSessionChange(listener) {
		const own = (change) => listener(change);
		this.#listeners.add(own);
		return () => this.#listeners.delete(own);
	}
	async fetch(input, init = {}) {
		this.#begin();
		const { audience, ...rest } = init;
		if (audience !== void 0) throw new LatchkeyError("invalid_option", "the back end chooses the recipients of tokens");
		const request = new Request(typeof document === "undefined" && !(input instanceof Request) ? new URL(input, this.#base) : input, rest);
		if (new URL(request.url).origin !== this.#base?.origin) throw new LatchkeyError("invalid_option", "a request goes to the own back end, which forwards it: the URL has another origin");
		request.headers.set(CSRF_HEADER, "1");
		const again = rest.body instanceof ReadableStream ? void 0 : request.clone();
		const response = await this.#fetch(request);
		if (response.status !== 401) return response;
		if (isFromBackEnd(response)) return await this.#lost(await endReasonOf(response.clone())).catch(() => false) && again ? this.#fetch(again) : response;
		const demand = again && parseChallenge(response.headers);
		const clientToken = demand && await this.#options.onChallenge?.(demand);
		if (clientToken === void 0) return response;
		await this.stepUp(clientToken, demand);
		return this.#fetch(again);
	}
	dispose() {
		this.#disposed = true;
		clearTimeout(this.#timer);
		for (const stop of this.#stops.splice(0)) stop();
		this.#channel?.close();
		this.#listeners.clear();
	}
	#begin() {
		if (this.#disposed) throw new LatchkeyError("disposed", "the client was disposed of");
		if (!this.#endpoint) throw new LatchkeyError("invalid_option", "outside of browsers base must be a URL");
	}
	#current() {
		if (this.#session) return this.#session;
		throw this.#end === void 0 ? new LatchkeyError("not_signed_in", "nobody is signed in") : new LatchkeyError("session_ended", `the session has ended (${this.#end})`, { endReason: this.#end });
	}
	/** Sends a client token. The request outlives the page, so that the browser gets the new cookie. */
	async #change(path, body) {
		if (this.#session === void 0) await this.#look();
		const before = this.#session ?? null;
		try {
			this.#changed(await this.#send(path, {
				method: "POST",
				body: JSON.stringify(body),
				keepalive: true
			}));
		} catch (error) {
			if (!(error instanceof LatchkeyError) || error.reason !== "subject_token_spent") throw error;
			this.#version++;
			await this.#look();
			if (!this.#session || eventOf(before, this.#session) === "refreshed") throw error;
			this.#channel?.postMessage(null);
		}
		return this.#current();
	}
	/** Accepts the answer to a request that has replaced the cookie, and lets the other tabs look. */
	#changed(answer) {
		this.#version++;
		this.#accept(answer);
		this.#channel?.postMessage(null);
	}
	/** Sends a request to the back end. If the back end answers that nobody is signed in, it looks up the session. */
	async #send(path, init) {
		try {
			return await this.#request(path, init);
		} catch (error) {
			if (!(error instanceof LatchkeyError) || error.code !== "login_required") throw error;
			if (!await this.#lost(error.endReason)) this.#current();
			throw new LatchkeyError("superseded", "another tab has signed in", {
				retryable: true,
				cause: error
			});
		}
	}
	#request(path, init) {
		const headers = {
			[CSRF_HEADER]: "1",
			...init.body && { "content-type": "application/json" }
		};
		return withRetry(this.#window, () => this.#endpoint.send(path, {
			...init,
			credentials: "same-origin",
			headers
		}));
	}
	/** Asks the back end after it has refused a request for lack of a session. It reports whether somebody is signed in. */
	async #lost(reason) {
		if (reason !== void 0 && this.#session) {
			this.#told = {
				id: this.#session.id,
				reason
			};
			this.#channel?.postMessage(this.#told);
		}
		this.#version++;
		await this.#look();
		return this.#session != null;
	}
	/** Asks the back end for the session. All callers share one request, which is repeated if it is out of date. */
	#look() {
		this.#looking ??= (async () => {
			for (let version; version !== this.#version;) {
				version = this.#version;
				this.#lookedAt = performance.now();
				const answer = await this.#request("/session", { method: "GET" });
				if (version === this.#version) this.#accept(answer);
			}
		})().finally(() => this.#looking = void 0);
		return this.#looking;
	}
	#accept({ session: next, latchkey_end_reason: reason }) {
		const before = this.#session;
		const after = next && describe({
			id: next.id,
			expiresAt: next.expires_at,
			accessToken: ""
		}, next.claims);
		const same = before !== void 0 && JSON.stringify(before) === JSON.stringify(after);
		if (!same) this.#session = after;
		this.#expiresIn = next?.expires_in ?? 0;
		this.#failures = 0;
		this.#settle.resolve();
		this.#schedule();
		if (same || before === void 0) return;
		const why = after || !before ? void 0 : reason ?? (this.#told?.id === before.id ? this.#told.reason : void 0);
		const event = eventOf(before, after, why);
		this.#end = why;
		if (before && reason !== void 0) this.#channel?.postMessage({
			id: before.id,
			reason
		});
		this.#log(`session ${event}`);
		const change = {
			event,
			session: after,
			...why !== void 0 && { reason: why }
		};
		for (const listener of [...this.#listeners]) queueMicrotask(() => listener(change));
	}
	/** Asks for the session in the background. After a failure it tries again, with growing pauses. */
	#background() {
		if (this.#disposed) return;
		this.#look().catch((error) => {
			this.#failures++;
			this.#log(`in the background: ${error instanceof LatchkeyError ? error.code : "error"}`);
			if (judge(error) !== "retry") this.#settle.reject(error);
			this.#schedule();
		});
	}
	/** Looks again when the access token at the back end has expired: that refreshes it, or shows that the session has ended. */
	#schedule() {
		clearTimeout(this.#timer);
		const idle = !this.#session || this.#options.autoRefresh === false || !isVisible();
		if (this.#disposed || idle && !this.#failures) return;
		const pause = this.#failures ? FAILURE_PAUSE * 2 ** Math.min(this.#failures - 1, 4) : Math.max(this.#expiresIn * 1e3, EVENT_PAUSE);
		this.#timer = setTimeout(() => this.#background(), Math.min(pause, 2 ** 31 - 1));
		this.#timer.unref?.();
	}
	#log(message) {
		this.#options.logger?.(`latchkey: ${message}`);
	}
};
function eventOf(before, after, reason) {
	if (!after) return reason === void 0 ? "signed-out" : "ended";
	if (after.id !== before?.id) return "signed-in";
	return after.acr !== before.acr || Number(after.authTime) > Number(before.authTime) ? "stepped-up" : "refreshed";
}
function proofBody(clientToken, { subjectTokenType, acrValues, maxAge }) {
	return {
		client_token: clientToken,
		subject_token_type: subjectTokenType,
		acr_values: acrValues,
		max_age: maxAge === void 0 ? void 0 : Math.trunc(maxAge)
	};
}
/** Reports whether a 401 is the back end's own. Those of APIs behind it have other schemes. */
function isFromBackEnd(response) {
	return parseChallenges(response.headers.get("www-authenticate") ?? "").some(({ scheme }) => scheme.toLowerCase() === "cookie");
}
async function endReasonOf(response) {
	const reason = (await response.json().catch(() => null))?.["latchkey_end_reason"];
	return typeof reason === "string" ? reason : void 0;
}
function isVisible() {
	return typeof document === "undefined" || document.visibilityState === "visible";
}
function readProof() {
	try {
		return sessionStorage.getItem(PROOF)?.split(" ") ?? [];
	} catch {
		return [];
	}
}
function writeProof(id, proof) {
	try {
		sessionStorage.setItem(PROOF, `${id} ${proof}`);
	} catch {}
}
export { LatchkeyError, createClient };
