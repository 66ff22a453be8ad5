// A browser app that keeps its tokens in localStorage or IndexedDB, chosen by
// ?store=, and refreshes when it is opened. It stores the tokens of a response, and
// keeps the old ones if no response arrives.
const query = new URLSearchParams(location.search);
const issuer = query.get("issuer");
const clientID = query.get("client_id");

const stores = {
  localStorage: {
    read: async () => JSON.parse(localStorage.getItem("tokens")),
    write: async (tokens) => localStorage.setItem("tokens", JSON.stringify(tokens)),
  },
  indexedDB: {
    read: () => transaction("readonly", (s) => s.get("tokens")),
    write: (tokens) => transaction("readwrite", (s) => s.put(tokens, "tokens")),
  },
};

async function transaction(mode, use) {
  const database = await promised(Object.assign(indexedDB.open("app", 1), {
    onupgradeneeded: (event) => event.target.result.createObjectStore("kept"),
  }));
  try {
    return (await promised(use(database.transaction("kept", mode).objectStore("kept")))) ?? null;
  } finally {
    database.close();
  }
}

const promised = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

const store = stores[query.get("store")];

async function post(parameters) {
  const response = await fetch(issuer + "/token", {
    method: "POST",
    body: new URLSearchParams({ client_id: clientID, ...parameters }),
  });
  const body = await response.json();
  if (!response.ok) return { error: body.error, description: body.error_description };
  await store.write(body);
  return { session: body.session_id, access_token: body.access_token };
}

const app = {
  signIn: (token) => post({
    grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
    subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
    subject_token: token,
  }),
  async refresh() {
    const tokens = await store.read();
    return post({ grant_type: "refresh_token", refresh_token: tokens.refresh_token });
  },
};

// opened is the result of the first refresh; null: nobody was signed in.
app.opened = (async () => (await store.read()) ? app.refresh() : null)();
window.app = app;
