package testevents

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

func TestAPolledTokenIsRepeatedUntilItIsAcknowledged(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("stream"))
		in := d.SignIn("alice")
		d.Clock.Advance(time.Second)
		d.Post("/revoke", []string{"client_id", "web", "token", in.Text("refresh_token")})

		first, more := poll(d, "stream", now)
		if got := typesOf(d, first); !slices.Equal(got, []string{"session-established", "session-revoked"}) || more {
			t.Fatalf("polled %v, more %v", got, more)
		}
		again, _ := poll(d, "stream", now)
		if !slices.Equal(jtis(again), jtis(first)) {
			t.Errorf("the second poll returned %v, want %v", jtis(again), jtis(first))
		}
		one := map[string]string{jtis(first)[0]: ""}
		if left, _ := poll(d, "stream", ack(one)); len(left) != 1 || left[jtis(first)[0]] != "" {
			t.Errorf("after one acknowledgement: %v", jtis(left))
		}
		for range 3 {
			if left, _ := poll(d, "stream", ack(first)); len(left) != 0 {
				t.Errorf("acknowledged tokens were sent again: %v", jtis(left))
			}
			d.Clock.Advance(models.LateCommit)
		}
		if left, _ := poll(d, "stream", now); len(left) != 0 {
			t.Errorf("after the cursor has moved: %v", jtis(left))
		}
		d.SignIn("bob")
		if next, _ := poll(d, "stream", now); len(next) != 1 {
			t.Errorf("a new event: %v", jtis(next))
		}
	})
}

func TestPolledTokensAreSecurityEventTokens(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("stream"), polled("users", func(s *settings.DestinationSpec) {
			s.Subject, s.Audience = settings.SubjectIssSub, "https://receiver.example.com"
		}))
		in := d.SignIn("alice")
		d.Clock.Advance(time.Second)
		d.Post("/revoke", []string{"client_id", "web", "token", in.Text("refresh_token")})
		for id, want := range map[string]struct{ aud, format string }{"stream": {"receiver", "complex"}, "users": {"https://receiver.example.com", "iss_sub"}} {
			sets, _ := poll(d, id, now)
			if len(sets) != 2 {
				t.Fatalf("%s: %d tokens", id, len(sets))
			}
			for jti, text := range sets {
				s := verified(d, "", text)
				for _, name := range []string{"sub", "exp", "nbf"} {
					if _, has := s.Claims[name]; has {
						t.Errorf("%s has %s: %v", s.Type, name, s.Claims)
					}
				}
				if typ := s.Header.ExtraHeaders["typ"]; typ != "secevent+jwt" || s.Header.KeyID == "" {
					t.Errorf("typ %v, kid %q", typ, s.Header.KeyID)
				}
				subject := s.Claims["sub_id"].(map[string]any)
				if s.Claims["iss"] != d.URL || s.Claims["aud"] != want.aud || s.Claims["jti"] != jti || s.Claims["txn"] == nil || subject["format"] != want.format {
					t.Errorf("%s: claims %v", id, s.Claims)
				}
				if s.Event["event_timestamp"] == nil {
					t.Errorf("%s: event %v", id, s.Event)
				}
				user := subject
				if want.format == "complex" {
					user = subject["user"].(map[string]any)
					session, tenant := subject["session"].(map[string]any), subject["tenant"].(map[string]any)
					if session["format"] != "opaque" || session["id"] == "" || tenant["id"] != "default" {
						t.Errorf("sub_id %v", subject)
					}
				}
				if user["format"] != "iss_sub" || user["iss"] != d.URL || user["sub"] != "alice" {
					t.Errorf("user %v", user)
				}
				if s.Type == "session-revoked" && (s.Event["initiating_entity"] != "user" || s.Event["reason_admin"].(map[string]any)["en"] != "signed_out") {
					t.Errorf("event %v", s.Event)
				}
			}
		}
	})
}

func TestARefusedTokenIsRecordedAndNotSentAgain(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("stream"))
		d.SignIn("alice")
		sets, _ := poll(d, "stream", now)
		id := jtis(sets)[0]
		refuse := fmt.Sprintf(`{"returnImmediately":true,"setErrs":{%q:{"err":"invalid_key","description":"no such kid"}}}`, id)
		for range 2 {
			if left, _ := poll(d, "stream", refuse); len(left) != 0 {
				t.Errorf("the token was sent again: %v", jtis(left))
			}
		}
		key := models.DestinationKey{Tenant: "default", ID: "stream"}
		dead, err := d.Store.Deliveries(t.Context(), key, true, models.EventID{}, 10)
		if err != nil || len(dead) != 1 || dead[0].Event.String() != id || !strings.Contains(dead[0].Error, "invalid_key: no such kid") || dead[0].Type != "session.created" {
			t.Errorf("given up: %+v, %v", dead, err)
		}
		if counts := d.OAuth.Deliverer().Counts(); counts.Dead != 1 || counts.Failed != 1 {
			t.Errorf("counts %+v", counts)
		}
		state, err := d.Store.DeliveryState(t.Context(), key)
		if err != nil || state.FailingSince.IsZero() || len(state.Recent) != 1 {
			t.Errorf("state %+v, %v", state, err)
		}

		// An operator may let the receiver get it again.
		if _, err := d.Store.RedeliverDead(t.Context(), key, models.ServerActor); err != nil {
			t.Fatal(err)
		}
		if left, _ := poll(d, "stream", now); !slices.Equal(jtis(left), []string{id}) {
			t.Errorf("after the redelivery: %v", jtis(left))
		}
		if left, _ := poll(d, "stream", ack(sets)); len(left) != 0 {
			t.Errorf("after the acknowledgement: %v", jtis(left))
		}
	})
}

func TestAPollReturnsAtMostMaxEvents(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("stream"))
		for _, user := range []string{"alice", "bob", "carol"} {
			d.SignIn(user)
			d.Clock.Advance(time.Second)
		}
		for most, want := range map[int]int{0: 0, 1: 1, 2: 2, 3: 3, 5000: 3} {
			sets, more := poll(d, "stream", fmt.Sprintf(`{"maxEvents":%d,"returnImmediately":true}`, most))
			if len(sets) != want || more != (want < 3) {
				t.Errorf("maxEvents %d: %d tokens, more %v", most, len(sets), more)
			}
		}
		// An answer with no tokens may only acknowledge, and does not wait.
		sets, _ := poll(d, "stream", `{"maxEvents":2,"returnImmediately":true}`)
		text, _ := json.Marshal(map[string]any{"maxEvents": 0, "ack": jtis(sets)})
		begun := time.Now()
		if none, more := poll(d, "stream", string(text)); len(none) != 0 || !more || time.Since(begun) > 15*time.Second {
			t.Errorf("%d tokens, more %v, after %s", len(none), more, time.Since(begun))
		}
		if left, _ := poll(d, "stream", now); len(left) != 1 {
			t.Errorf("%d tokens are left", len(left))
		}
	})
}

func TestAPollWaitsForAnEvent(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("stream"))
		d.SignIn("alice")
		answer := waitingPoll(d, "stream")
		d.SignIn("bob")
		if sets := setsOf(d, <-answer); !slices.Equal(typesOf(d, sets), []string{"session-established"}) {
			t.Errorf("polled %v", jtis(sets))
		}
	})
}

func TestTheOldestOfTooManyWaitingPollsReturns(t *testing.T) {
	t.Parallel()
	d := transmitter(t, testdb.SQLite(t), polled("stream"), polled("elsewhere", func(d *settings.DestinationSpec) { d.Client = "other" }))
	const most, polls = 10, 12
	other := make(chan *testserver.Answer, 1)
	go func() { other <- send(d, http.MethodPost, "/ssf/poll/elsewhere", `{}`, asOther()) }() // of another client
	over := make(chan *testserver.Answer, polls)
	for range polls {
		go func() { over <- send(d, http.MethodPost, "/ssf/poll/stream", `{}`, asReceiver()) }()
	}
	for range polls - most {
		if sets := setsOf(d, <-over); len(sets) != 0 {
			t.Errorf("before there was an event, a poll returned %v", jtis(sets))
		}
	}
	d.SignIn("alice") // the others still wait for it
	for range most {
		if sets := setsOf(d, <-over); len(sets) != 1 {
			t.Errorf("a poll that waited returned %v", jtis(sets))
		}
	}
	if sets := setsOf(d, <-other); len(sets) != 1 {
		t.Errorf("a poll of another client returned %v", jtis(sets))
	}
}

func TestAnyNodeAnswersAPoll(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("stream"))
		other := d.OtherNode()
		for _, user := range []string{"alice", "bob"} {
			d.SignIn(user)
			d.Clock.Advance(time.Second)
		}
		sets, _ := poll(d, "stream", now)
		if same, _ := poll(other, "stream", now); len(sets) != 2 || !slices.Equal(jtis(same), jtis(sets)) {
			t.Fatalf("the nodes returned %v and %v", jtis(sets), jtis(same))
		}
		// Both acknowledge at the same time.
		done := make(chan bool)
		for i, node := range []*testserver.Deployment{d, other} {
			go func() {
				poll(node, "stream", ack(map[string]string{jtis(sets)[i]: ""}))
				done <- true
			}()
		}
		<-done
		<-done
		restarted := d.OtherNode()
		for _, node := range []*testserver.Deployment{d, other, restarted} {
			if left, _ := poll(node, "stream", now); len(left) != 0 {
				t.Errorf("acknowledged tokens were sent again: %v", jtis(left))
			}
		}
	})
}

func TestAPollReturnsAnEventThatIsCommittedLate(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("stream"))
		d.Clock.Advance(time.Minute)
		late := d.Clock.Now()
		d.Clock.Advance(models.LateCommit / 2)
		d.SignIn("alice")
		sets, _ := poll(d, "stream", now)
		if left, _ := poll(d, "stream", ack(sets)); len(sets) != 1 || len(left) != 0 {
			t.Fatalf("%d tokens, then %d", len(sets), len(left))
		}
		err := d.Store.AddEvent(t.Context(), models.Event{At: late, TenantID: "default", Type: models.EventUserDisabled, Subject: "bob", Until: late.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		sets, _ = poll(d, "stream", now)
		if got := typesOf(d, sets); !slices.Equal(got, []string{"session-revoked"}) {
			t.Errorf("the event that was committed late: %v", got)
		}
	})
}

func TestAPausedStreamHoldsItsEvents(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("stream"))
		d.SignIn("alice")
		sets, _ := poll(d, "stream", now)
		transmit(d, polled("stream", paused))
		d.Clock.Advance(time.Second)
		d.SignIn("bob")
		got, more := poll(d, "stream", now)
		if names := typesOf(d, got); !slices.Equal(names, []string{"stream-updated"}) || more {
			t.Errorf("while paused: %v, more %v", names, more)
		}
		poll(d, "stream", ack(sets)) // is still recorded
		poll(d, "stream", ack(got))
		transmit(d, polled("stream"))
		got, _ = poll(d, "stream", now)
		if names := typesOf(d, got); !slices.Equal(names, []string{"session-established", "stream-updated"}) || got[jtis(sets)[0]] != "" {
			t.Errorf("after the pause: %v", names)
		}
	})
}

func TestAPollRequiresItsClientAndScope(t *testing.T) {
	t.Parallel()
	d := transmitter(t, testdb.SQLite(t), polled("stream"), settings.DestinationSpec{ID: "pushed", DestinationSettings: settings.DestinationSettings{
		Type: settings.DestinationPush, URL: "https://receiver.example.com", Client: "receiver", Paused: true,
	}})
	acme := testserver.Tenant("acme", d.Issuer, testserver.Web(), receiverClient("receiver", "ssf.read"))
	acme.TrustedIssuers[0].SubjectPrefix = ""
	d.Apply(acme)
	web := d.SignIn("alice")
	for name, c := range map[string]struct {
		as     testserver.Option
		path   string
		status int
		code   string
		reason string
	}{
		"accepts its secret":                         {testserver.Basic("receiver", testserver.ClientSecret), "stream", 200, "", ""},
		"accepts its token":                          {bearer(tokenOf(d, "", "receiver")), "stream", 200, "", ""},
		"accepts a token with only ssf.read":         {bearer(tokenOf(d, "", "receiver", "scope", "ssf.read")), "stream", 200, "", ""},
		"accepts a token with only ssf.manage":       {bearer(tokenOf(d, "", "receiver", "scope", "ssf.manage")), "stream", 200, "", ""},
		"rejects no credentials":                     {testserver.Header("X-Nothing", "1"), "stream", 401, "", "token_missing"},
		"rejects a wrong secret":                     {testserver.Basic("receiver", strings.Repeat("x", 40)), "stream", 401, "invalid_client", "client_authentication_failed"},
		"rejects a token without the scope":          {bearer(tokenOf(d, "", "receiver", "scope", "profile")), "stream", 403, "insufficient_scope", "scope_insufficient"},
		"rejects a client without the scope":         {testserver.AsBackend(), "stream", 403, "insufficient_scope", "scope_insufficient"},
		"rejects a token of a user":                  {bearer(web.Text("access_token")), "stream", 401, "invalid_token", "token_kind"},
		"rejects a token of another tenant":          {bearer(tokenOf(d, "/t/acme", "receiver")), "stream", 401, "invalid_token", "token_unknown"},
		"hides the stream of another client":         {testserver.Basic("other", testserver.ClientSecret), "stream", 404, "not_found", "event_stream_not_found"},
		"hides it from another client's token":       {bearer(tokenOf(d, "", "other")), "stream", 404, "not_found", "event_stream_not_found"},
		"answers the same for one that is not":       {testserver.Basic("other", testserver.ClientSecret), "nothing", 404, "not_found", "event_stream_not_found"},
		"does not poll a destination that is pushed": {testserver.Basic("receiver", testserver.ClientSecret), "pushed", 404, "not_found", "event_stream_not_found"},
	} {
		t.Run(name, func(t *testing.T) {
			a := send(d, http.MethodPost, "/ssf/poll/"+c.path, now, c.as)
			if a.Status != c.status || a.Error() != c.code || a.Text("latchkey_reason") != c.reason {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
	if a := send(d, http.MethodPost, "/t/acme/ssf/poll/stream", now, bearer(tokenOf(d, "/t/acme", "receiver"))); a.Status != 404 {
		t.Errorf("the stream of another tenant: %d %s", a.Status, a.Body)
	}
	if a := send(d, http.MethodPost, "/ssf/poll/stream", now, testserver.AsBackend(), testserver.Header("Origin", "https://app.example.com")); a.Status != 403 {
		t.Errorf("from a page: %d %s", a.Status, a.Body)
	}
}

func TestAnExpiredOrRevokedTokenDoesNotPoll(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("stream"))
		expired, revoked := tokenOf(d, "", "receiver"), tokenOf(d, "", "receiver")
		d.Want(200, "", d.Post("/revoke", []string{"token", revoked}, testserver.Basic("receiver", testserver.ClientSecret)))
		poll := func(token string) *testserver.Answer {
			return send(d, http.MethodPost, "/ssf/poll/stream", now, bearer(token))
		}
		if a := poll(revoked); a.Status != 401 || a.Text("latchkey_reason") != "token_unknown" {
			t.Errorf("a revoked token: %d %s", a.Status, a.Body)
		}
		d.Want(200, "", poll(expired))
		d.Clock.Advance(5 * time.Minute)
		if a := poll(expired); a.Status != 401 || a.Text("latchkey_reason") != "token_expired" {
			t.Errorf("an expired token: %d %s", a.Status, a.Body)
		}
	})
}

func TestATokenForAResourceServerDoesNotPoll(t *testing.T) {
	t.Parallel()
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: testdb.SQLite(t)})
	client := receiverClient("receiver", "ssf.read")
	client.Audiences = []string{"https://api.example.com", d.URL}
	tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), client)
	tenant.EventDestinations = []settings.DestinationSpec{polled("stream")}
	d.Apply(tenant)
	for audience, want := range map[string]int{"https://api.example.com": 401, d.URL: 200, "receiver": 200} {
		a := send(d, http.MethodPost, "/ssf/poll/stream", now, bearer(tokenOf(d, "", "receiver", "audience", audience)))
		if a.Status != want {
			t.Errorf("a token for %s: %d %s", audience, a.Status, a.Body)
		}
	}
}

func TestAPollIsReadStrictly(t *testing.T) {
	t.Parallel()
	d := transmitter(t, testdb.SQLite(t), polled("stream"))
	as := testserver.Basic("receiver", testserver.ClientSecret)
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"accepts an unknown jti":        {`{"returnImmediately":true,"ack":["x","AAAAAAAAAAAAAAAAAAAAAA"]}`, 200},
		"rejects no body":               {``, 400},
		"rejects an array":              {`[]`, 400},
		"rejects text after the object": {`{} {}`, 400},
		"rejects an unknown member":     {`{"returnImmediately":true,"maxevents":1}`, 400},
		"rejects a repeated member":     {`{"returnImmediately":true,"maxEvents":1,"maxEvents":2}`, 400},
		"rejects a number as text":      {`{"returnImmediately":true,"maxEvents":"1"}`, 400},
		"rejects a fraction":            {`{"returnImmediately":true,"maxEvents":1.5}`, 400},
		"rejects a negative number":     {`{"returnImmediately":true,"maxEvents":-1}`, 400},
		"rejects ack that is no list":   {`{"returnImmediately":true,"ack":"x"}`, 400},
		"rejects an error without err":  {`{"returnImmediately":true,"setErrs":{"x":{"description":"y"}}}`, 400},
		"rejects invalid UTF-8":         {"{\"returnImmediately\":true,\"ack\":[\"\xff\"]}", 400},
		"rejects deep nesting":          {`{"returnImmediately":true,"ack":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`, 400},
		"rejects a huge body":           {`{"returnImmediately":true,"ack":["` + strings.Repeat("x", 300<<10) + `"]}`, 413},
	} {
		t.Run(name, func(t *testing.T) {
			a := d.Do(http.MethodPost, "/ssf/poll/stream", strings.NewReader(c.body), testserver.ContentType("application/json"), as)
			if a.Status != c.status || c.status != 200 && a.Error() != "invalid_request" {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
	second := func(r *http.Request) { r.Header.Add("Content-Type", "text/plain") }
	if a := d.Do(http.MethodPost, "/ssf/poll/stream", strings.NewReader(now), testserver.ContentType("application/json"), second, as); a.Status != 400 {
		t.Errorf("two Content-Type headers: %d %s", a.Status, a.Body)
	}
	for _, contentType := range []string{"", "text/plain", testserver.FormType} {
		if a := d.Do(http.MethodPost, "/ssf/poll/stream", strings.NewReader(now), testserver.ContentType(contentType), as); a.Status != 400 {
			t.Errorf("Content-Type %q: %d %s", contentType, a.Status, a.Body)
		}
	}
}

// Whoever knows the id of a public client is that client, so it is no receiver, even if
// the configuration gives it a stream and the scopes.
func TestAPublicClientIsNoReceiver(t *testing.T) {
	t.Parallel()
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: testdb.SQLite(t)})
	public := testserver.Web()
	public.ID, public.Scopes = "public", []string{"ssf.read", "ssf.manage"}
	d.Apply(testserver.Tenant("default", d.Issuer, testserver.Web(), public))
	as := testserver.Basic("public", "")
	for _, q := range []struct{ method, path, body string }{
		{http.MethodPost, "/ssf/poll/stream", now}, {http.MethodGet, "/ssf/stream", ""}, {http.MethodPost, "/ssf/stream", "{}"},
		{http.MethodGet, "/ssf/status?stream_id=stream", ""}, {http.MethodPost, "/ssf/verify", `{"stream_id":"stream"}`},
	} {
		if a := send(d, q.method, q.path, q.body, as); a.Status != 401 || a.Error() != "invalid_client" {
			t.Errorf("%s %s: %d %s", q.method, q.path, a.Status, a.Body)
		}
	}
}

// The configuration may take the scope away, or disable the client, after it got its
// token.
func TestATokenOfAClientThatLostItsScopeOrIsDisabledDoesNotPoll(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("stream"))
		token := tokenOf(d, "", "receiver", "scope", "ssf.read ssf.manage")
		configured := func(change func(*settings.ClientSpec)) {
			client := receiverClient("receiver", "ssf.read", "ssf.manage")
			change(&client)
			tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), client)
			tenant.EventDestinations = []settings.DestinationSpec{polled("stream")}
			d.Apply(tenant)
		}
		poll := func() *testserver.Answer { return send(d, http.MethodPost, "/ssf/poll/stream", now, bearer(token)) }
		manage := func() *testserver.Answer {
			return send(d, http.MethodPatch, "/ssf/stream", `{"stream_id":"stream","description":"a"}`, bearer(token))
		}
		d.Want(200, "", poll())
		d.Want(200, "", manage())
		configured(func(c *settings.ClientSpec) { c.Scopes = []string{"ssf.read"} })
		d.Want(200, "", poll())
		d.Want(403, "insufficient_scope", manage())
		configured(func(c *settings.ClientSpec) { c.Disabled = true })
		for _, a := range []*testserver.Answer{poll(), manage()} {
			if a.Status != 401 || a.Error() != "invalid_token" {
				t.Errorf("a disabled client: %d %s", a.Status, a.Body)
			}
		}
	})
}

func TestAWaitingPollEndsWithItsStream(t *testing.T) {
	eachEngine(t, func(t *testing.T, url string) {
		d := transmitter(t, url, polled("stream"), polled("deleted"))
		d.SignIn("bob")
		waiting := map[string]<-chan *testserver.Answer{"stream": waitingPoll(d, "stream"), "deleted": waitingPoll(d, "deleted")}
		setStatus(d, "stream", "disabled")
		d.Want(204, "", d.Do(http.MethodDelete, "/ssf/stream?stream_id=deleted", nil, asReceiver()))
		d.SignIn("alice")
		if a := <-waiting["deleted"]; a.Status != 404 {
			t.Errorf("a poll of a stream that was deleted: %d %s", a.Status, a.Body)
		}
		if a := <-waiting["stream"]; a.Status != 200 || len(a.JSON["sets"].(map[string]any)) != 0 {
			t.Errorf("a poll of a stream that was disabled: %d %s", a.Status, a.Body)
		}
	})
}
