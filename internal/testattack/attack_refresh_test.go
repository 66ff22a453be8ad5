package testattack

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// restarted starts a new node with the database and issuer of d, and no other state.
func restarted(d *testserver.Deployment) *testserver.Deployment {
	d.T.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.T.Fatal(err)
	}
	next := *d
	next.Server = testserver.New(d.T, testserver.Options{DatabaseURL: d.DatabaseURL, Clock: d.Clock, Issuer: d.URL, Listener: listener})
	next.URL = "http://" + listener.Addr().String()
	return &next
}

func TestUsedRefreshTokensAreRememberedAcrossARestart(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		first := d.SignIn("alice")
		newest := d.Want(200, "", d.Refresh("", "web", first.Text("refresh_token")))
		newest = d.Want(200, "", d.Refresh("", "web", newest.Text("refresh_token")))
		d = restarted(d)
		d.Clock.Advance(10 * time.Second) // the retry window begins again with the node
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", first.Text("refresh_token")))
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", newest.Text("refresh_token")))
		if d.Active(newest.Text("access_token")) {
			t.Error("the access token is still active")
		}
		if got := d.EventTypes(first.Text("session_id")); !slices.Contains(got, models.EventRefreshReuse) {
			t.Errorf("no reuse among %v", got)
		}
	})
}

// TestADelayedRefreshRotatesNoSuccessor makes requests read the session and then wait
// for its row, while the chain advances by two rotations.
func TestADelayedRefreshRotatesNoSuccessor(t *testing.T) {
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: testdb.Postgres(t)})
	a := d.SignIn("alice")
	id, err := models.ParseSessionID(a.Text("session_id"))
	if err != nil {
		t.Fatal(err)
	}
	db := testserver.OpenDatabase(t, d.DatabaseURL)
	row := func() []any {
		values, into := make([]any, 7), make([]any, 7)
		for i := range into {
			into[i] = &values[i]
		}
		if err := db.QueryRow("SELECT "+testserver.ChainColumns+" FROM sessions WHERE id = $1", id[:]).Scan(into...); err != nil {
			t.Fatal(err)
		}
		return values
	}
	const write = "UPDATE sessions SET (" + testserver.ChainColumns + ") = ($1, $2, $3, $4, $5, $6, $7) WHERE id = $8"
	before := row()
	newest := d.Want(200, "", d.Refresh("", "web", d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token"))).Text("refresh_token")))
	after := row()
	if _, err := db.Exec(write, append(before, id[:])...); err != nil {
		t.Fatal(err)
	}

	other, err := db.Begin() // holds the row for the two rotations
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback()
	if _, err := other.Exec(write, append(after, id[:])...); err != nil {
		t.Fatal(err)
	}
	const n = 6 // fewer than a node has connections
	answered := make(chan []*testserver.Answer)
	go func() {
		answered <- testserver.InParallel(n, func(int) *testserver.Answer {
			return d.Refresh("", "web", a.Text("refresh_token"), "scope", "profile") // a narrower scope reads the row first
		})
	}()
	for waiting := 0; waiting < n; time.Sleep(time.Millisecond) {
		if err := db.QueryRow("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.Commit(); err != nil {
		t.Fatal(err)
	}
	for _, got := range <-answered {
		d.Want(400, testserver.InvalidGrant, got) // a delayed duplicate
	}
	if got := d.SessionRow("default", a.Text("session_id")).Refresh.Generation; got != 2 {
		t.Errorf("the session is at generation %d", got)
	}
	d.Want(200, "", d.Refresh("", "web", newest.Text("refresh_token")))
}

// replaceBytes returns a refresh token with some bytes replaced.
func replaceBytes(t *testing.T, token string, from, to int, with []byte) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "lk_rt_"))
	if err != nil {
		t.Fatal(err)
	}
	copy(raw[from:to], with)
	return "lk_rt_" + base64.RawURLEncoding.EncodeToString(raw)
}

func TestAUsedRefreshTokenWithAForeignPartEndsNothing(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		first := d.SignIn("alice")
		used := first.Text("refresh_token")
		newest := used
		for range 3 {
			newest = d.Want(200, "", d.Refresh("", "web", newest)).Text("refresh_token")
		}
		d.Clock.Advance(time.Hour)
		noise := make([]byte, 72)
		rand.Read(noise)
		before := d.Written()
		for name, token := range map[string]string{
			"everything but its tag":           replaceBytes(t, used, 0, 56, noise),
			"its tag":                          replaceBytes(t, used, 56, 72, noise),
			"its secret":                       replaceBytes(t, used, 24, 56, noise),
			"its generation":                   replaceBytes(t, used, 20, 24, []byte{0, 0, 0, 1}),
			"its session":                      replaceBytes(t, used, 4, 20, noise),
			"its version":                      replaceBytes(t, used, 0, 4, noise),
			"a dot and its second half":        "lk_rt_garbage." + used[len(used)-48:],
			"only its tag left":                "lk_rt_" + used[len(used)-22:],
			"the prefix of a session token":    strings.Replace(used, "lk_rt_", "lk_st_", 1),
			"padding":                          used + "=",
			"a newline":                        used[:50] + "\n" + used[50:],
			"a space before":                   " " + used,
			"another alphabet and its own tag": strings.NewReplacer("-", "+", "_", "/").Replace(used),
		} {
			if token == used {
				continue // this token has nothing to replace
			}
			d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", token))
			d.Want(200, "", d.Post("/revoke", []string{"client_id", "web", "token", token}))
			if in := d.Want(200, "", d.Introspect("", token)); len(in.JSON) != 1 {
				t.Errorf("with %s: %s", name, in.Body)
			}
			d.WantUnchanged(t, before)
		}
		d.Want(200, "", d.Refresh("", "web", newest))
		d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", used)) // the unchanged token does
		if got := d.EventTypes(first.Text("session_id")); !slices.Contains(got, models.EventRefreshReuse) {
			t.Errorf("no reuse among %v", got)
		}
	})
}

func TestARevocationThatCannotBeStoredIsNotASuccess(t *testing.T) {
	proxy := testdb.NewProxy(t, testdb.Postgres(t))
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: proxy.URL()})
	asBackend := testserver.Basic("backend", testserver.ClientSecret)
	user := d.Want(200, "", d.Post("/token", d.BackendExchangeForm("alice"), asBackend))
	machine := d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials"}, asBackend))
	tokens := map[string]string{
		"an access token": user.Text("access_token"), "a refresh token": user.Text("refresh_token"),
		"a session token": user.Text("session_token"), "a token without a session": machine.Text("access_token"),
	}
	proxy.Cut()
	for name, token := range tokens {
		a := d.Post("/revoke", []string{"token", token}, asBackend)
		if a.Status != 503 || a.Error() != "temporarily_unavailable" || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s %v", name, a.Status, a.Body, a.Header)
		}
	}
	proxy.Heal()
	for name, token := range tokens {
		if in := d.Introspect("", token); in.JSON["active"] != true {
			t.Errorf("%s: %s", name, in.Body)
		}
	}
	for _, token := range []string{machine.Text("access_token"), user.Text("access_token")} {
		d.Want(200, "", d.Post("/revoke", []string{"token", token}, asBackend))
	}
	for name, token := range tokens {
		if in := d.Introspect("", token); in.JSON["active"] != false {
			t.Errorf("%s, revoked: %s", name, in.Body)
		}
	}
}

// forger has a root secret, and makes refresh tokens in their format.
type forger struct{ version, tag, chain []byte }

func newForger(t *testing.T, root string) *forger {
	t.Helper()
	prk, err := hkdf.Extract(sha256.New, []byte(root), []byte("latchkey"))
	if err != nil {
		t.Fatal(err)
	}
	derive := func(label string) []byte {
		key, err := hkdf.Expand(sha256.New, prk, "latchkey/1/"+label, 32)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	return &forger{derive("version")[:4], derive("tag"), derive("chain")}
}

func (*forger) mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}

func (h *forger) place(id models.SessionID, generation uint32) []byte {
	tenant := sha256.Sum256([]byte("default"))
	return slices.Concat([]byte{1}, tenant[:], id[:], binary.BigEndian.AppendUint32(nil, generation))
}

// successor returns the secret that follows another one.
func (h *forger) successor(id models.SessionID, generation uint32, secret []byte) []byte {
	return h.mac(h.chain, h.place(id, generation), secret)
}

func (h *forger) token(id models.SessionID, generation uint32, secret []byte) string {
	tenant := sha256.Sum256([]byte("default"))
	body := slices.Concat(h.version, id[:], binary.BigEndian.AppendUint32(nil, generation), secret)
	return "lk_rt_" + base64.RawURLEncoding.EncodeToString(append(body, h.mac(h.tag, []byte{1}, tenant[:], body)[:16]...))
}

func TestTheRootSecretAndTheDatabaseYieldNoRefreshToken(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		thief := newForger(t, testserver.RootSecret)
		a := d.SignIn("alice")
		for range 3 {
			a = d.Want(200, "", d.Refresh("", "web", a.Text("refresh_token")))
		}
		sid, genuine := a.Text("session_id"), a.Text("refresh_token")
		id, err := models.ParseSessionID(sid)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(genuine, "lk_rt_"))
		if err != nil {
			t.Fatal(err)
		}
		if thief.token(id, 3, raw[24:56]) != genuine {
			t.Fatal("the thief does not know the format")
		}
		noise := make([]byte, 32)
		rand.Read(noise)
		row := d.SessionRow("default", sid)
		attempt := func(generations ...uint32) {
			t.Helper()
			for _, generation := range generations {
				secrets := [][]byte{make([]byte, 32), noise, thief.chain, row.Refresh.Digest, row.Refresh.Next}
				for _, known := range slices.Clone(secrets) {
					secrets = append(secrets, thief.successor(id, generation, known))
				}
				for _, secret := range secrets {
					forged := thief.token(id, generation, secret)
					d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", forged))
					if in := d.Want(200, "", d.Introspect("", forged)); len(in.JSON) != 1 {
						t.Errorf("generation %d: %s", generation, in.Body)
					}
				}
			}
		}
		attempt(3, 4, 2) // the current generation, the next one, and the previous one, for which a retry would succeed
		if !reflect.DeepEqual(d.SessionRow("default", sid), row) {
			t.Errorf("the session changed: %+v", d.SessionRow("default", sid))
		}
		if got := d.EventTypes(sid); slices.Contains(got, models.EventSessionEnded) || !slices.Contains(got, models.EventChainMismatch) {
			t.Errorf("%v", got)
		}
		for _, generation := range []uint32{3, 4} {
			d.Want(200, "", d.Post("/revoke", []string{"client_id", "web", "token", thief.token(id, generation, noise)}))
		}
		if !d.Active(a.Text("access_token")) {
			t.Error("a forged token signed out")
		}
		d.Want(200, "", d.Refresh("", "web", genuine))
		attempt(0, 1, 6, math.MaxInt32, math.MaxUint32)
		if n := strings.Count(d.Stored("sessions"), "\n") + 1; n != 1 {
			t.Errorf("%d sessions", n)
		}
		if got := d.SessionRow("default", sid).Refresh.Generation; got != 4 {
			t.Errorf("generation %d", got)
		}
	})
}

// withoutVariableParts returns a response without the parts that always differ.
func withoutVariableParts(a *testserver.Answer) string {
	header := a.Header.Clone()
	header.Del("Date")
	header.Del("X-Request-Id")
	return fmt.Sprint(a.Status, header, string(a.Body))
}

// TestRefreshGivesTheReasonOnlyToTheHolderOfASessionToken presents tokens that are
// rejected for many reasons. All get the same response, except those that belong to a
// session of the presenting client.
func TestRefreshGivesTheReasonOnlyToTheHolderOfASessionToken(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		used, revoked, disabled, mine := d.SignIn("alice"), d.SignIn("alice"), d.SignIn("bob"), d.SignIn("carol")
		foreign := d.Want(200, "", d.Post("/token", d.BackendExchangeForm("alice"), asBackend))
		ended := d.Want(200, "", d.Post("/token", d.BackendExchangeForm("alice"), asBackend))
		second := d.Want(200, "", d.Refresh("", "web", used.Text("refresh_token")))
		d.Want(200, "", d.Refresh("", "web", second.Text("refresh_token")))
		d.Want(200, "", d.Post("/revoke", []string{"client_id", "web", "token", revoked.Text("refresh_token")}))
		d.Want(200, "", d.Post("/revoke", []string{"token", ended.Text("refresh_token")}, asBackend))
		d.Apply(settings.TenantSpec{ID: "default", Users: []settings.UserSpec{{Sub: "bob", Disabled: true}}})
		d.Clock.Advance(time.Minute)
		noise, thief := make([]byte, 32), newForger(t, testserver.RootSecret)
		id := func(a *testserver.Answer) models.SessionID {
			id, err := models.ParseSessionID(a.Text("session_id"))
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		answers := map[string]*testserver.Answer{
			"a made-up token":            d.Refresh("", "web", "made-up"),
			"one that is well-formed":    d.Refresh("", "web", "lk_rt_"+strings.Repeat("A", 96)),
			"one of another tag":         d.Refresh("", "web", replaceBytes(t, mine.Text("refresh_token"), 56, 72, noise)),
			"a revoked one's other tag":  d.Refresh("", "web", replaceBytes(t, revoked.Text("refresh_token"), 56, 72, noise)),
			"one of no session":          d.Refresh("", "web", thief.token(models.NewSessionID(), 0, noise)),
			"a forged one of one's end":  d.Refresh("", "web", thief.token(id(revoked), 0, noise)),
			"another client's":           d.Refresh("", "web", foreign.Text("refresh_token")),
			"another client's, revoked":  d.Refresh("", "web", ended.Text("refresh_token")),
			"a session token":            d.Refresh("", "web", foreign.Text("session_token")),
			"a session token of an end":  d.Refresh("", "web", ended.Text("session_token")),
			"an access token":            d.Refresh("", "web", mine.Text("access_token")),
			"another client's and scope": d.Refresh("", "web", ended.Text("refresh_token"), "scope", "admin"),
		}
		want := withoutVariableParts(answers["a made-up token"])
		if reason := answers["a made-up token"].Text("latchkey_reason"); reason != "refresh_unknown" {
			t.Errorf("a made-up token: %q", reason)
		}
		for name, a := range answers {
			if got := withoutVariableParts(d.Want(400, testserver.InvalidGrant, a)); got != want {
				t.Errorf("%s: %s, otherwise %s", name, got, want)
			}
		}

		for _, row := range []struct{ name, token, reason, end string }{
			{"a forged one", thief.token(id(mine), 0, noise), "chain_mismatch", ""},
			{"a used one", used.Text("refresh_token"), "refresh_reused", "reuse_detected"},
			{"a used one again", used.Text("refresh_token"), "session_ended", "reuse_detected"},
			{"a revoked one", revoked.Text("refresh_token"), "session_ended", "signed_out"},
			{"a disabled user's", disabled.Text("refresh_token"), "session_ended", "user_disabled"},
		} {
			a := d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", row.token))
			if a.Text("latchkey_reason") != row.reason || a.Text("latchkey_end_reason") != row.end || a.Text("error_description") != answers["a made-up token"].Text("error_description") {
				t.Errorf("%s: %s", row.name, a.Body)
			}
		}
		if !d.Active(mine.Text("access_token")) || !d.Active(foreign.Text("access_token")) {
			t.Error("a refused token has ended a session")
		}
		d.Clock.Advance(5 * 24 * time.Hour)
		if a := d.Want(400, testserver.InvalidGrant, d.Refresh("", "web", mine.Text("refresh_token"))); a.Text("latchkey_end_reason") != "idle" {
			t.Errorf("an expired one: %s", a.Body)
		}
	})
}

func TestConcurrentRevocationsEndASessionOnce(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		asBackend := testserver.Basic("backend", testserver.ClientSecret)
		bystander := d.SignIn("alice")
		a := d.Want(200, "", d.Post("/token", d.BackendExchangeForm("alice"), asBackend))
		machine := d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials"}, asBackend))
		tokens := []string{a.Text("access_token"), a.Text("refresh_token"), a.Text("session_token"), machine.Text("access_token")}
		for _, got := range testserver.InParallel(32, func(i int) *testserver.Answer {
			return d.Post("/revoke", []string{"token", tokens[i%len(tokens)]}, asBackend)
		}) {
			d.Want(200, "", got)
		}
		if got := slices.Sorted(slices.Values(d.EventTypes(a.Text("session_id")))); !slices.Equal(got, []models.EventType{models.EventSessionCreated, models.EventSessionEnded}) {
			t.Errorf("%v", got)
		}
		if n := strings.Count(d.Stored("events"), string(models.EventTokenRevoked)); n != 1 {
			t.Errorf("%d events for one token without a session", n)
		}
		for _, token := range tokens {
			if d.Active(token) {
				t.Error("still active")
			}
		}
		if !d.Active(bystander.Text("access_token")) {
			t.Error("another session of the user was ended")
		}
	})
}

func TestIntrospectReturnsInactiveOnceARevokeHasReturned(t *testing.T) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		a := d.SignIn("alice")
		var revoked bool
		answers := testserver.InParallel(33, func(i int) *testserver.Answer {
			if i > 0 {
				return d.Introspect("", a.Text("access_token"))
			}
			answer := d.Post("/revoke", []string{"client_id", "web", "token", a.Text("access_token")})
			revoked = answer.Status == 200
			for range 8 {
				if late := d.Introspect("", a.Text("access_token")); late.Status != 200 || len(late.JSON) != 1 {
					t.Errorf("after the revocation: %d %s", late.Status, late.Body)
				}
			}
			return answer
		})
		if !revoked {
			t.Fatalf("%d %s", answers[0].Status, answers[0].Body)
		}
		for _, in := range answers[1:] {
			if _, says := in.JSON["active"].(bool); in.Status != 200 || !says {
				t.Errorf("%d %s", in.Status, in.Body)
			}
		}
	})
}

func TestConcurrentRefreshesDoNotOutliveADisabling(t *testing.T) {
	for name, disable := range map[string]func(*settings.TenantSpec){
		"user":   func(s *settings.TenantSpec) { s.Users = []settings.UserSpec{{Sub: "alice", Disabled: true}} },
		"issuer": func(s *settings.TenantSpec) { s.TrustedIssuers[0].Disabled = true },
	} {
		t.Run(name, func(t *testing.T) {
			testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
				bystander, token := d.SignIn("bob"), d.SignIn("alice").Text("refresh_token")
				d.Clock.Advance(time.Second)
				tenant := testserver.Tenant("default", d.Issuer, testserver.Web(), testserver.Backend())
				tenant.SigningAlgorithm = "ES256"
				disable(&tenant)
				answers := testserver.InParallel(33, func(i int) *testserver.Answer {
					if i > 0 {
						return d.Refresh("", "web", token)
					}
					if _, err := d.Store.Apply(t.Context(), []settings.TenantSpec{tenant}, d.Keys, models.ApplyOptions{Replace: true}); err != nil {
						t.Error(err)
					}
					late := d.Refresh("", "web", token) // this node has not read the change yet
					if late.Status != 400 || late.Error() != testserver.InvalidGrant {
						t.Errorf("after the change: %d %s", late.Status, late.Body)
					}
					return late
				})
				if err := d.OAuth.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, a := range answers[1:] {
					if a.Status != 200 && (a.Status != 400 || a.Error() != testserver.InvalidGrant) {
						t.Errorf("%d %s", a.Status, a.Body)
					}
					if a.Status == 200 && d.Active(a.Text("access_token")) {
						t.Error("a racing refresh left an active token")
					}
				}
				if lives := d.Active(bystander.Text("access_token")); lives != (name == "user") {
					t.Errorf("another user's token is active: %t", lives)
				}
			})
		})
	}
}
