package testevents

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/delivery"
	"github.com/latchkey/latchkey/settings"
)

const (
	methodPush = "urn:ietf:rfc:8935"
	methodPoll = "urn:ietf:rfc:8936"
	caep       = "https://schemas.openid.net/secevent/caep/event-type/"
)

// asReceiver authenticates the client "receiver".
func asReceiver() testserver.Option { return testserver.Basic("receiver", testserver.ClientSecret) }

// asOther authenticates the client "other".
func asOther() testserver.Option { return testserver.Basic("other", testserver.ClientSecret) }

// created creates a stream as the client "receiver" and returns its id.
func created(d *testserver.Deployment, body string) string {
	d.T.Helper()
	return d.Want(201, "", send(d, http.MethodPost, "/ssf/stream", body, asReceiver())).Text("stream_id")
}

// stream returns the configuration of a stream of the client "receiver".
func stream(d *testserver.Deployment, id string) map[string]any {
	d.T.Helper()
	return d.Want(200, "", d.Get("/ssf/stream?stream_id="+id, asReceiver())).JSON
}

// setStatus sets the status of a stream of the client "receiver".
func setStatus(d *testserver.Deployment, id, status string) {
	d.T.Helper()
	d.Want(200, "", send(d, http.MethodPost, "/ssf/status", fmt.Sprintf(`{"stream_id":%q,"status":%q,"reason":"maintenance"}`, id, status), asReceiver()))
	a := d.Want(200, "", d.Get("/ssf/status?stream_id="+id, asReceiver()))
	if a.Text("status") != status || a.Text("stream_id") != id {
		d.T.Fatalf("after %s: %s", status, a.Body)
	}
}

// pushed receives pushed security event tokens. It keeps a token that is sent again,
// as a transmitter may, once.
type pushed struct {
	URL string

	mu     sync.Mutex
	tokens []string
	ids    map[string]bool
	header http.Header // of the last request
}

func newPushed(t *testing.T) *pushed {
	p := &pushed{ids: map[string]bool{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.header = r.Header.Clone()
		if id := tokenID(string(body)); !p.ids[id] {
			p.ids[id] = true
			p.tokens = append(p.tokens, string(body))
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// tokenID returns the jti of a token, or the text if it is not a token.
func tokenID(text string) string {
	token, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.ES256, jose.RS256})
	if err != nil {
		return text
	}
	var claims jwt.Claims
	if err := token.UnsafeClaimsWithoutVerification(&claims); err != nil {
		return text
	}
	return claims.ID
}

// destination is a destination at the receiver, of the client "receiver".
func (p *pushed) destination(id string) settings.DestinationSpec {
	return settings.DestinationSpec{ID: id, Secret: "Bearer of-the-operator", DestinationSettings: settings.DestinationSettings{
		Type: settings.DestinationPush, URL: p.URL, Client: "receiver", AllowPrivateAddresses: true,
	}}
}

// all returns the tokens received so far.
func (p *pushed) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.tokens)
}

// until waits for a number of tokens.
func (p *pushed) until(t *testing.T, n int) []string {
	t.Helper()
	for deadline := time.Now().Add(waitTimeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if all := p.all(); len(all) >= n {
			return all
		}
	}
	t.Fatalf("received %d tokens, want %d", len(p.all()), n)
	return nil
}

func TestAReceiverCreatesReadsChangesAndDeletesAStream(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		d := transmitter(t, url)
		if a := d.Get("/ssf/stream", asReceiver()); a.Status != 200 || string(a.Body) != "[]" {
			t.Fatalf("without streams: %d %s", a.Status, a.Body)
		}
		id := created(d, `{"events_requested":["`+caep+`session-revoked","https://example.com/unknown"],"description":"of the test"}`)
		config := stream(d, id)
		how := config["delivery"].(map[string]any)
		if config["iss"] != d.URL || config["aud"] != "receiver" || config["description"] != "of the test" || len(config["events_supported"].([]any)) != 3 ||
			fmt.Sprint(config["events_delivered"]) != "["+caep+"session-revoked]" || how["method"] != methodPoll || how["endpoint_url"] != d.URL+"/ssf/poll/"+id {
			t.Errorf("created %v", config)
		}

		in := d.SignIn("alice")
		d.Clock.Advance(time.Second)
		d.Post("/revoke", []string{"client_id", "web", "token", in.Text("refresh_token")})
		sets, _ := poll(d, id, now)
		if got := typesOf(d, sets); !slices.Equal(got, []string{"session-revoked"}) {
			t.Errorf("polled %v", got)
		}

		// What a receiver reads, it may send back.
		config["events_requested"] = []string{caep + "session-established", caep + "session-revoked"}
		config["description"] = "changed"
		text, _ := json.Marshal(config)
		d.Want(200, "", send(d, http.MethodPut, "/ssf/stream", string(text), asReceiver()))
		if config = stream(d, id); len(config["events_delivered"].([]any)) != 2 || config["description"] != "changed" {
			t.Errorf("replaced: %v", config)
		}
		d.Want(200, "", send(d, http.MethodPatch, "/ssf/stream", fmt.Sprintf(`{"stream_id":%q,"events_requested":["%ssession-established"]}`, id, caep), asReceiver()))
		if config = stream(d, id); len(config["events_delivered"].([]any)) != 1 || config["description"] != "changed" {
			t.Errorf("patched: %v", config)
		}
		d.Want(200, "", send(d, http.MethodPatch, "/ssf/stream",
			fmt.Sprintf(`{"stream_id":%q,"delivery":{"method":%q,"endpoint_url":"https://receiver.example.com/events","authorization_header":"Bearer of-the-receiver"}}`, id, methodPush), asReceiver()))
		how = stream(d, id)["delivery"].(map[string]any)
		if how["method"] != methodPush || how["endpoint_url"] != "https://receiver.example.com/events" || how["authorization_header"] != nil {
			t.Errorf("pushed: %v", how)
		}

		d.Want(204, "", d.Do(http.MethodDelete, "/ssf/stream?stream_id="+id, nil, asReceiver()))
		d.Want(404, "not_found", d.Get("/ssf/stream?stream_id="+id, asReceiver()))
		d.Want(404, "not_found", d.Do(http.MethodDelete, "/ssf/stream?stream_id="+id, nil, asReceiver()))

		events, err := d.Store.NewEvents(t.Context(), []string{"default"}, models.EventID{}, 500)
		if err != nil {
			t.Fatal(err)
		}
		var acts []string
		for _, e := range events {
			actor, _ := e.Details["actor"].(map[string]any)
			if e.Type == models.EventConfigChanged && actor["name"] == "client receiver" && e.Details["id"] == id {
				acts = append(acts, fmt.Sprint(e.Details["change"]))
			}
			if text, _ := json.Marshal(e.Details); strings.Contains(string(text), "of-the-receiver") {
				t.Errorf("the log has the authorization header: %s", text)
			}
		}
		slices.Sort(acts) // several have the same moment
		if !slices.Equal(acts, []string{"changed", "changed", "changed", "created", "removed"}) {
			t.Errorf("audit events %v", acts)
		}
	})
}

func TestAnAuthorizationHeaderIsKeptOnlyForItsURL(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := transmitter(t, url)
		body := func(id, url, more string) string {
			return fmt.Sprintf(`{%s"delivery":{"method":%q,"endpoint_url":%q%s}}`, id, methodPush, url, more)
		}
		id := created(d, body("", "https://receiver.example.com/a", `,"authorization_header":"Bearer first"`))
		secret := func() string {
			row, err := d.Store.Destination(t.Context(), "default", id)
			if err != nil {
				t.Fatal(err)
			}
			if row.Settings.AllowPrivateAddresses {
				t.Error("the stream may lead to private addresses")
			}
			if row.SealedSecret == nil {
				return ""
			}
			text, err := d.Keys.OpenDestinationSecret("default", id, row.SealedSecret, row.RootVersion)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		if got := secret(); got != "Bearer first" {
			t.Fatalf("created: %q", got)
		}
		named := fmt.Sprintf(`"stream_id":%q,`, id)
		for _, step := range []struct{ url, more, want string }{
			{"https://receiver.example.com/a", "", "Bearer first"},
			{"https://receiver.example.com/a", `,"authorization_header":"Bearer second"`, "Bearer second"},
			{"https://other.example.com/a", "", ""},
			{"https://other.example.com/a", `,"authorization_header":"Bearer third"`, "Bearer third"},
			{"https://other.example.com/a", `,"authorization_header":null`, ""},
		} {
			d.Clock.Advance(time.Second)
			d.Want(200, "", send(d, http.MethodPut, "/ssf/stream", body(named, step.url, step.more), asReceiver()))
			if got := secret(); got != step.want {
				t.Errorf("%s %s: %q, want %q", step.url, step.more, got, step.want)
			}
		}
	})
}

func TestStreamsAreReadStrictly(t *testing.T) {
	t.Parallel()
	d := transmitter(t, testdb.SQLite(t))
	id := created(d, `{}`)
	push := func(url, header string) string {
		return fmt.Sprintf(`{"delivery":{"method":%q,"endpoint_url":%q,"authorization_header":%q}}`, methodPush, url, header)
	}
	for name, c := range map[string]struct{ method, body string }{
		"an id of its own":               {http.MethodPost, `{"stream_id":"mine"}`},
		"an unknown member":              {http.MethodPost, `{"allow_private_addresses":true}`},
		"a setting inside of delivery":   {http.MethodPost, `{"delivery":{"method":"` + methodPoll + `","allow_private_addresses":true}}`},
		"an unknown method":              {http.MethodPost, `{"delivery":{"method":"urn:ietf:rfc:1"}}`},
		"no method":                      {http.MethodPost, `{"delivery":{"endpoint_url":"https://receiver.example.com"}}`},
		"push without a URL":             {http.MethodPost, `{"delivery":{"method":"` + methodPush + `"}}`},
		"poll with a URL":                {http.MethodPost, `{"delivery":{"method":"` + methodPoll + `","endpoint_url":"https://receiver.example.com"}}`},
		"a URL without TLS":              {http.MethodPost, push("http://receiver.example.com", "x")},
		"a URL of a file":                {http.MethodPost, push("file:///etc/passwd", "x")},
		"a URL with a password":          {http.MethodPost, push("https://a:b@receiver.example.com", "x")},
		"a relative URL":                 {http.MethodPost, push("/events", "x")},
		"a line break in the header":     {http.MethodPost, push("https://receiver.example.com", "x\r\nX-Other: y")},
		"a header of 5000 bytes":         {http.MethodPost, push("https://receiver.example.com", strings.Repeat("x", 5000))},
		"the issuer of another":          {http.MethodPost, `{"iss":"https://other.example.com"}`},
		"an audience":                    {http.MethodPost, `{"aud":"https://other.example.com"}`},
		"a repeated member":              {http.MethodPost, `{"description":"a","description":"b"}`},
		"a list":                         {http.MethodPost, `[]`},
		"PATCH without stream_id":        {http.MethodPatch, `{"description":"a"}`},
		"PUT without delivery":           {http.MethodPut, `{"stream_id":"` + id + `"}`},
		"events_delivered of the future": {http.MethodPatch, `{"stream_id":"` + id + `","events_delivered":["` + caep + `session-revoked"]}`},
	} {
		t.Run("rejects "+name, func(t *testing.T) {
			a := send(d, c.method, "/ssf/stream", c.body, asReceiver())
			// A receiver cannot do what an operator could do about a URL.
			if explained := strings.Contains(a.Text("error_description"), "requires allow_private_addresses"); a.Status != 400 || a.Error() != "invalid_request" || explained {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
	d.Want(400, "invalid_request", d.Get("/ssf/stream?stream_id="+id+"&stream_id=other", asReceiver()))
	d.Want(400, "invalid_request", d.Do(http.MethodDelete, "/ssf/stream?stream_id=other&stream_id="+id, nil, asReceiver()))
	for path, body := range map[string]string{
		"/ssf/status": `{"stream_id":"` + id + `","status":"stopped"}`,
		"/ssf/verify": `{"stream_id":"` + id + `","state":"` + strings.Repeat("x", 1025) + `"}`,
	} {
		if a := send(d, http.MethodPost, path, body, asReceiver()); a.Status != 400 {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	if a := send(d, http.MethodPost, "/ssf/stream", `{"description":"`+strings.Repeat("x", 70<<10)+`"}`, asReceiver()); a.Status != 413 {
		t.Errorf("a huge body: %d", a.Status)
	}
	if a := d.Get("/ssf/stream", asReceiver()); strings.Count(string(a.Body), `"stream_id"`) != 1 {
		t.Errorf("streams: %s", a.Body)
	}
}

func TestAStreamIsManagedByItsClientAlone(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		d := transmitter(t, url)
		acme := testserver.Tenant("acme", d.Issuer, testserver.Web(), receiverClient("receiver", "ssf.manage"))
		d.Apply(acme)
		id := created(d, `{}`)
		reads := bearer(tokenOf(d, "", "receiver", "scope", "ssf.read"))
		manages := bearer(tokenOf(d, "", "receiver", "scope", "ssf.manage"))
		named := fmt.Sprintf(`{"stream_id":%q`, id)
		for _, q := range []struct{ method, path, body string }{
			{http.MethodGet, "/ssf/stream?stream_id=" + id, ""},
			{http.MethodGet, "/ssf/status?stream_id=" + id, ""},
			{http.MethodPatch, "/ssf/stream", named + `,"description":"a"}`},
			{http.MethodPut, "/ssf/stream", named + `,"delivery":{"method":"` + methodPoll + `"}}`},
			{http.MethodPost, "/ssf/status", named + `,"status":"enabled"}`},
			{http.MethodPost, "/ssf/verify", named + `}`},
			{http.MethodDelete, "/ssf/stream?stream_id=" + id, ""},
		} {
			other := send(d, q.method, q.path, q.body, asOther())
			nothing := send(d, q.method, strings.ReplaceAll(q.path, id, "nothing"), strings.ReplaceAll(q.body, id, "nothing"), asOther())
			if other.Status != 404 || string(other.Body) != string(nothing.Body) || nothing.Status != 404 {
				t.Errorf("%s %s of another client: %d %s; of none: %d %s", q.method, q.path, other.Status, other.Body, nothing.Status, nothing.Body)
			}
			if a := send(d, q.method, "/t/acme"+q.path, q.body, bearer(tokenOf(d, "/t/acme", "receiver"))); a.Status != 404 {
				t.Errorf("%s %s of another tenant: %d %s", q.method, q.path, a.Status, a.Body)
			}
			want := 403
			if q.method == http.MethodGet {
				want = 200
			}
			if a := send(d, q.method, q.path, q.body, reads); a.Status != want {
				t.Errorf("%s %s with ssf.read: %d %s", q.method, q.path, a.Status, a.Body)
			}
			if a := send(d, q.method, q.path, q.body, testserver.AsBackend()); a.Status != 403 {
				t.Errorf("%s %s without a scope: %d %s", q.method, q.path, a.Status, a.Body)
			}
			if a := send(d, q.method, q.path, q.body); a.Status != 401 {
				t.Errorf("%s %s without credentials: %d %s", q.method, q.path, a.Status, a.Body)
			}
		}
		for _, q := range []struct{ method, path, body string }{
			{http.MethodPatch, "/ssf/stream", named + `,"description":"a"}`}, {http.MethodDelete, "/ssf/stream?stream_id=" + id, ""},
		} {
			if a := send(d, q.method, q.path, q.body, manages); a.Status != 200 && a.Status != 204 {
				t.Errorf("%s %s with ssf.manage: %d %s", q.method, q.path, a.Status, a.Body)
			}
		}
	})
}

func TestADisabledStreamSendsNothingAndAPausedOneLater(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		p, always := newPushed(t), newPushed(t)
		d := transmitter(t, url, p.destination("pushed"), polled("polled"), always.destination("always"))
		untilBegun(d, "pushed")
		set := func(status string) {
			for _, id := range []string{"pushed", "polled"} {
				setStatus(d, id, status)
			}
		}
		signIn := func(user string, n int) {
			d.SignIn(user)
			d.Clock.Advance(time.Second)
			always.until(t, n) // the node has read the event
		}
		set("disabled")
		untilLeft(d, "pushed")
		signIn("alice", 1)
		if sets, _ := poll(d, "polled", now); len(sets) != 0 {
			t.Errorf("a disabled stream returned %v", jtis(sets))
		}
		set("paused")
		signIn("bob", 2)
		if sets, _ := poll(d, "polled", now); len(sets) != 0 {
			t.Errorf("a paused stream returned %v", jtis(sets))
		}
		if got := p.all(); len(got) != 0 {
			t.Errorf("%d tokens were pushed", len(got))
		}
		set("enabled")
		signIn("carol", 3)
		p.until(t, 2)
		untilDone(d, "pushed")
		users := func(texts []string) (names []string) {
			for _, text := range texts {
				user := verified(d, "", text).Claims["sub_id"].(map[string]any)["user"].(map[string]any)
				names = append(names, fmt.Sprint(user["sub"]))
			}
			slices.Sort(names)
			return names
		}
		sets, _ := poll(d, "polled", now)
		for how, names := range map[string][]string{"pushed": users(p.all()), "polled": users(slices.Collect(maps.Values(sets)))} {
			if !slices.Equal(names, []string{"bob", "carol"}) { // alice signed in while the stream was disabled
				t.Errorf("%s events of %v", how, names)
			}
		}
	})
}

func TestAStreamLearnsThatAnOperatorHasChangedItsStatus(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		p := newPushed(t)
		d := transmitter(t, url, p.destination("pushed"), polled("polled"), polled("other"))
		pausing := p.destination("pushed")
		pausing.Paused = true
		transmit(d, pausing, polled("polled", paused), polled("other"))
		updated := func(id, text, status string) {
			t.Helper()
			s := verified(d, "", text)
			subject := s.Claims["sub_id"].(map[string]any)
			if s.Type != "stream-updated" || s.Event["status"] != status || s.Event["reason"] == "" || len(s.Event) != 2 || subject["format"] != "opaque" || subject["id"] != id {
				t.Errorf("%s got %v, want the status %s", id, s.Claims, status)
			}
		}
		updated("pushed", p.until(t, 1)[0], "paused")
		d.SignIn("alice")
		d.Clock.Advance(time.Second)
		sets, more := poll(d, "polled", now)
		if len(sets) != 1 || more {
			t.Fatalf("the paused stream returned %v, more: %t", jtis(sets), more)
		}
		updated("polled", sets[jtis(sets)[0]], "paused")
		if again, _ := poll(d, "polled", now); !slices.Equal(jtis(again), jtis(sets)) {
			t.Errorf("before it was acknowledged, the stream returned %v", jtis(again))
		}
		if after, _ := poll(d, "polled", ack(sets)); len(after) != 0 {
			t.Errorf("after it was acknowledged, the paused stream returned %v", jtis(after))
		}
		if others, _ := poll(d, "other", now); len(others) != 1 || verified(d, "", others[jtis(others)[0]]).Type != "session-established" {
			t.Errorf("another stream returned %v", others)
		}

		transmit(d, p.destination("pushed"), polled("polled"), polled("other"))
		transmit(d, pausing, polled("polled", paused), polled("other")) // sooner than a node sees it
		transmit(d, p.destination("pushed"), polled("polled"), polled("other"))
		sets, _ = poll(d, "polled", now)
		names := func(texts []string) (names []string) {
			for _, text := range texts {
				s := verified(d, "", text)
				status, _ := s.Event["status"].(string)
				names = append(names, s.Type+status)
			}
			slices.Sort(names)
			return names
		}
		if got := names(slices.Collect(maps.Values(sets))); !slices.Equal(got, []string{"session-established", "stream-updatedenabled", "stream-updatedenabled", "stream-updatedpaused"}) {
			t.Errorf("after it was enabled, the stream returned %v", got)
		}
		if after, _ := poll(d, "polled", ack(sets)); len(after) != 0 {
			t.Errorf("acknowledged tokens are repeated: %v", jtis(after))
		}
		if got := names(p.until(t, 5)); !slices.Equal(got, []string{"session-established", "stream-updatedenabled", "stream-updatedenabled", "stream-updatedpaused", "stream-updatedpaused"}) {
			t.Errorf("pushed %v", got)
		}

		setStatus(d, "polled", "paused") // by the receiver itself
		setStatus(d, "polled", "disabled")
		if sets, _ := poll(d, "polled", now); len(sets) != 0 {
			t.Errorf("a change by the receiver returned %v", jtis(sets))
		}
		operator := models.Actor{Name: "operator", Role: models.RoleOwner}
		if err := d.Store.EnableDestination(t.Context(), "default", "polled", operator); err != nil {
			t.Fatal(err)
		}
		sets, _ = poll(d, "polled", now)
		if len(sets) != 1 {
			t.Fatalf("enabled by an operator, the stream returned %v", jtis(sets))
		}
		updated("polled", sets[jtis(sets)[0]], "paused") // from disabled to what its settings say
		refusal := fmt.Sprintf(`{"returnImmediately":true,"setErrs":{%q:{"err":"invalid_request","description":"no"}}}`, jtis(sets)[0])
		if after, _ := poll(d, "polled", refusal); len(after) != 0 {
			t.Errorf("a refused token is repeated: %v", jtis(after))
		}
	})
}

func TestAChangeDoesNotEnableADisabledStream(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := transmitter(t, url)
		id := created(d, `{}`)
		setStatus(d, id, "disabled")
		d.Want(200, "", send(d, http.MethodPatch, "/ssf/stream", fmt.Sprintf(`{"stream_id":%q,"description":"changed"}`, id), asReceiver()))
		if a := d.Get("/ssf/status?stream_id="+id, asReceiver()); a.Text("status") != "disabled" || a.Text("reason") != "maintenance" {
			t.Errorf("%s", a.Body)
		}
	})
}

func TestAStreamIsVerified(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		p := newPushed(t)
		d := transmitter(t, url, p.destination("pushed"), polled("polled"), polled("another"))
		for _, id := range []string{"pushed", "polled"} {
			body := fmt.Sprintf(`{"stream_id":%q,"state":"state of %s"}`, id, id)
			d.Want(204, "", send(d, http.MethodPost, "/ssf/verify", body, asReceiver()))
			if a := send(d, http.MethodPost, "/ssf/verify", body, asReceiver()); a.Status != 429 || a.Header.Get("Retry-After") == "" {
				t.Errorf("at once: %d %s", a.Status, a.Body)
			}
		}
		sets, _ := poll(d, "polled", now)
		if len(sets) != 1 {
			t.Fatalf("polled %v", jtis(sets))
		}
		for id, text := range map[string]string{"polled": sets[jtis(sets)[0]], "pushed": p.until(t, 1)[0]} {
			s := verified(d, "", text)
			subject := s.Claims["sub_id"].(map[string]any)
			if s.Type != "verification" || s.Event["state"] != "state of "+id || subject["format"] != "opaque" || subject["id"] != id || s.Claims["aud"] != "receiver" {
				t.Errorf("%s: %v", id, s.Claims)
			}
		}
		p.mu.Lock()
		if p.header.Get("Authorization") != "Bearer of-the-operator" || p.header.Get("Content-Type") != "application/secevent+jwt" || p.header.Get("Accept") != "application/json" {
			t.Errorf("headers %v", p.header)
		}
		p.mu.Unlock()
		if other, _ := poll(d, "another", now); len(other) != 0 {
			t.Errorf("the verification reached another stream: %v", jtis(other))
		}
		d.Clock.Advance(10 * time.Second)
		d.Want(204, "", send(d, http.MethodPost, "/ssf/verify", `{"stream_id":"polled"}`, asReceiver()))
		setStatus(d, "another", "disabled")
		d.Want(400, "invalid_request", send(d, http.MethodPost, "/ssf/verify", `{"stream_id":"another"}`, asReceiver()))
	})
}

func TestAStreamOfTheFileIsOnlyRead(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: url})
		tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), receiverClient("receiver", "ssf.manage"))
		tenant.SigningAlgorithm = "ES256"
		tenant.EventDestinations = []settings.DestinationSpec{polled("file")}
		validate := func(tenants []settings.TenantSpec) settings.Faults { return settings.ValidateTenants(tenants, d.URL) }
		if _, err := d.Store.Start(t.Context(), []settings.TenantSpec{tenant}, settings.StartApply, models.File{Revision: 10, Digest: "of a file"}, d.Keys, validate); err != nil {
			t.Fatal(err)
		}
		if err := d.OAuth.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		stream(d, "file")
		for _, q := range []struct{ method, path, body string }{
			{http.MethodPatch, "/ssf/stream", `{"stream_id":"file","description":"a"}`},
			{http.MethodPut, "/ssf/stream", `{"stream_id":"file","delivery":{"method":"` + methodPoll + `"}}`},
			{http.MethodDelete, "/ssf/stream?stream_id=file", ""},
			{http.MethodPost, "/ssf/status", `{"stream_id":"file","status":"disabled"}`},
		} {
			if a := send(d, q.method, q.path, q.body, asReceiver()); a.Status != 409 || a.Text("latchkey_reason") != "event_stream_managed" {
				t.Errorf("%s %s: %d %s", q.method, q.path, a.Status, a.Body)
			}
		}
		d.Want(204, "", send(d, http.MethodPost, "/ssf/verify", `{"stream_id":"file"}`, asReceiver()))
	})
}

func TestAClientHasALimitedNumberOfStreams(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := transmitter(t, url)
		ids := map[string]bool{}
		for range 20 {
			ids[created(d, `{}`)] = true
		}
		if a := send(d, http.MethodPost, "/ssf/stream", `{}`, asReceiver()); a.Status != 409 || a.Text("latchkey_reason") != "event_stream_limit" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		if a := d.Get("/ssf/stream", asReceiver()); strings.Count(string(a.Body), `"stream_id"`) != 20 {
			t.Errorf("after the refusal: %s", a.Body)
		}
		d.Want(201, "", send(d, http.MethodPost, "/ssf/stream", `{}`, asOther()))
		for id := range ids {
			if len(id) != 26 {
				t.Errorf("id %q", id)
			}
		}
		if len(ids) != 20 {
			t.Errorf("%d ids", len(ids))
		}
	})
}

func TestAStreamOfAClientReachesNoPrivateAddress(t *testing.T) {
	t.Parallel()
	var reached sync.Map
	inside := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached.Store(r.URL.Path, true) }))
	t.Cleanup(inside.Close)
	p := newPushed(t)
	d := transmitter(t, testdb.SQLite(t), p.destination("pushed"))
	id := created(d, fmt.Sprintf(`{"delivery":{"method":%q,"endpoint_url":"%s/created"}}`, methodPush, inside.URL))
	// The operator allowed the private address of its own URL only.
	d.Want(200, "", send(d, http.MethodPatch, "/ssf/stream", fmt.Sprintf(`{"stream_id":"pushed","delivery":{"method":%q,"endpoint_url":"%s/changed"}}`, methodPush, inside.URL), asReceiver()))
	if a := send(d, http.MethodPatch, "/ssf/stream", fmt.Sprintf(`{"stream_id":"pushed","delivery":{"method":%q,"endpoint_url":"http://127.0.0.1:1/"}}`, methodPush), asReceiver()); a.Status != 400 {
		t.Errorf("without TLS: %d %s", a.Status, a.Body)
	}
	for _, stream := range []string{id, "pushed"} {
		key := models.DestinationKey{Tenant: "default", ID: stream}
		d.Want(204, "", send(d, http.MethodPost, "/ssf/verify", fmt.Sprintf(`{"stream_id":%q}`, stream), asReceiver()))
		for deadline := time.Now().Add(waitTimeout); ; time.Sleep(20 * time.Millisecond) {
			state, err := d.Store.DeliveryState(t.Context(), key)
			if err != nil || time.Now().After(deadline) {
				t.Fatalf("no attempt at %s: %v", stream, err)
			}
			if strings.Contains(state.LastError, "the address is private") {
				break
			}
		}
	}
	reached.Range(func(path, _ any) bool { t.Errorf("reached %v", path); return true })
}

func TestTransmitterMetadata(t *testing.T) {
	t.Parallel()
	d := transmitter(t, testdb.SQLite(t))
	d.Apply(testserver.Tenant("acme", d.Issuer, testserver.Web()))
	for issuer, paths := range map[string][]string{
		d.URL:             {"/.well-known/ssf-configuration"},
		d.URL + "/t/acme": {"/.well-known/ssf-configuration/t/acme", "/t/acme/.well-known/ssf-configuration"},
	} {
		for _, path := range paths {
			a := d.Want(200, "", d.Get(path))
			methods, _ := json.Marshal(a.JSON["delivery_methods_supported"])
			schemes, _ := json.Marshal(a.JSON["authorization_schemes"])
			if a.Text("spec_version") != "1_0" || a.Text("issuer") != issuer || a.Text("jwks_uri") != issuer+"/.well-known/jwks.json" ||
				string(methods) != `["`+methodPush+`","`+methodPoll+`"]` || string(schemes) != `[{"spec_urn":"urn:ietf:rfc:6749"}]` ||
				a.Text("configuration_endpoint") != issuer+"/ssf/stream" || a.Text("status_endpoint") != issuer+"/ssf/status" ||
				a.Text("verification_endpoint") != issuer+"/ssf/verify" || a.Text("default_subjects") != "ALL" ||
				a.Header.Get("Access-Control-Allow-Origin") != "*" || a.Header.Get("Cache-Control") == "" {
				t.Errorf("%s: %s", path, a.Body)
			}
		}
	}
	d.Want(404, "not_found", d.Get("/.well-known/ssf-configuration/t/nobody"))
}

func TestReplacingAStreamResetsWhatTheRequestOmits(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := transmitter(t, url)
		long := strings.Repeat("x", 254) + "é" // cut between characters, at 255 bytes
		id := created(d, `{"events_requested":["`+caep+`session-revoked"],"description":"`+long+`"}`)
		if config := stream(d, id); config["description"] != long[:254] || len(config["events_delivered"].([]any)) != 1 {
			t.Errorf("created: %v", config)
		}
		d.Want(200, "", send(d, http.MethodPut, "/ssf/stream", fmt.Sprintf(`{"stream_id":%q,"delivery":{"method":%q}}`, id, methodPoll), asReceiver()))
		if config := stream(d, id); config["description"] != nil || len(config["events_delivered"].([]any)) != 3 {
			t.Errorf("replaced: %v", config)
		}
	})
}

func TestConcurrentChangesOfAStreamAllCount(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := transmitter(t, url)
		id := created(d, `{}`)
		node := d.OtherNode()
		for i := range 5 {
			event, text := delivery.EventTypes[i%3], fmt.Sprint("change ", i)
			bodies := []string{
				fmt.Sprintf(`{"stream_id":%q,"events_requested":[%q]}`, id, event),
				fmt.Sprintf(`{"stream_id":%q,"description":%q}`, id, text),
				fmt.Sprintf(`{"stream_id":%q,"delivery":{"method":%q,"endpoint_url":"https://receiver.example.com/%d"}}`, id, methodPush, i),
			}
			status := []string{"paused", "enabled"}[i%2]
			for _, a := range testserver.InParallel(len(bodies)+1, func(i int) *testserver.Answer {
				to := []*testserver.Deployment{d, node}[i%2]
				if i == len(bodies) {
					return send(to, http.MethodPost, "/ssf/status", fmt.Sprintf(`{"stream_id":%q,"status":%q}`, id, status), asReceiver())
				}
				return send(to, http.MethodPatch, "/ssf/stream", bodies[i], asReceiver())
			}) {
				d.Want(200, "", a)
			}
			if a := d.Get("/ssf/status?stream_id="+id, asReceiver()); a.Text("status") != status {
				t.Errorf("after it was %s: %s", status, a.Body)
			}
			config := stream(d, id)
			if fmt.Sprint(config["events_delivered"]) != "["+event+"]" || config["description"] != text || config["delivery"].(map[string]any)["endpoint_url"] != fmt.Sprint("https://receiver.example.com/", i) {
				t.Errorf("after four changes: %v", config)
			}
		}
	})
}
