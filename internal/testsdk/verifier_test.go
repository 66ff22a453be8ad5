package testsdk

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/resource"
	"github.com/latchkey/latchkey/settings"
)

func fallBack(o *resource.VerifierOptions) { o.OnFeedLoss = resource.FallBackToIntrospection }

func TestAVerifierReadsTokensOfTheServer(t *testing.T) {
	d := deploy(t, testdb.Postgres(t), 1)
	for algorithm, alg := range map[string]string{"ES256": "ES256", "RS256": "RS256", "Ed25519": "EdDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			d.apply(func(t *settings.TenantSpec) { t.SigningAlgorithm = algorithm })
			d.clock().Advance(time.Hour) // the new key is announced first
			a := d.signIn("alice")
			if header, err := base64.RawURLEncoding.DecodeString(strings.Split(a.Text("access_token"), ".")[0]); !strings.Contains(string(header), `"`+alg+`"`) {
				t.Fatalf("the header is %s, %v", header, err)
			}
			v := d.verifier(func(o *resource.VerifierOptions) { o.Revocation, o.ClientID, o.ClientSecret = resource.None, "", "" })
			got, err := v.Verify(t.Context(), a.Text("access_token"))
			if err != nil {
				t.Fatal(err)
			}
			if got.Issuer != d.url() || got.Subject != "alice" || got.ClientID != "web" || got.SessionID != a.Text("session_id") || got.ID == "" || !got.AuthTime.Equal(d.clock().Now()) {
				t.Errorf("the token is %+v", got)
			}
		})
	}
}

// Every kind of entry, from the node that did not carry out the revocation.
func TestAVerifierLearnsOfEveryRevocation(t *testing.T) {
	for name, c := range map[string]struct {
		sub    string
		revoke func(*deployment, *testserver.Answer)
		others bool // everything is revoked
	}{
		"a session": {"alice", func(d *deployment, a *testserver.Answer) { d.signOut(1, a) }, false},
		"a user": {"alice", func(d *deployment, _ *testserver.Answer) {
			d.apply(func(t *settings.TenantSpec) { t.Users = []settings.UserSpec{{Sub: "alice", Disabled: true}} })
		}, false},
		"a client": {"alice", func(d *deployment, _ *testserver.Answer) {
			d.apply(func(t *settings.TenantSpec) { t.Clients[0].Disabled = true })
		}, true},
		"an issuer": {"alice", func(d *deployment, _ *testserver.Answer) {
			d.apply(func(t *settings.TenantSpec) { t.TrustedIssuers[0].Disabled = true })
		}, true},
		"a token": {"", func(d *deployment, a *testserver.Answer) {
			if got := d.nodes[1].Post("/revoke", []string{"token", a.Text("access_token")}, testserver.Basic("backend", testserver.ClientSecret)); got.Status != 200 {
				d.t.Fatalf("status %d", got.Status)
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := deploy(t, testdb.Postgres(t), 2)
			v, other := d.verifier(), d.signIn("bob").Text("access_token")
			var a *testserver.Answer
			if c.sub != "" {
				a = d.signIn(c.sub)
			} else {
				a = d.nodes[0].Post("/token", []string{"grant_type", "client_credentials"}, testserver.Basic("backend", testserver.ClientSecret))
				var err error
				if v, err = resource.NewVerifier(d.url(), "backend", resource.VerifierOptions{ClientID: "backend", ClientSecret: testserver.ClientSecret, Now: d.clock().Now}); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { v.Close() })
			}
			token := a.Text("access_token")
			d.verifies(v, token, nil)
			c.revoke(d, a)
			d.untilRefused(v, token)
			switch {
			case c.others:
				d.untilRefused(v, other)
			case c.sub != "":
				d.verifies(v, other, nil)
			}
		})
	}
}

func TestAVerifierFollowsARotation(t *testing.T) {
	d := deploy(t, testdb.Postgres(t), 1)
	v := d.verifier()
	old := d.signIn("alice").Text("access_token")
	d.verifies(v, old, nil)
	keys, err := d.nodes[0].Store.SigningKeys(t.Context(), "default")
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	if _, err := d.nodes[0].OAuth.RetireSigningKey(t.Context(), "default", keys[0].Kid, models.ServerActor); err != nil { // an emergency
		t.Fatal(err)
	}
	d.pass(31*time.Second, v)
	fresh := d.signIn("alice").Text("access_token")
	d.verifies(v, fresh, nil)
	d.verifies(v, old, latchkey.ErrInvalidToken)
}

// The demonstration: a thousand sessions in use while a hundred of them are
// ended at the other node. The test logs the times and does not judge them.
func TestARevokedSessionIsRejectedEverywhere(t *testing.T) {
	const sessions, revocations, missed = 1000, 100, 20
	d := deploy(t, testdb.Postgres(t), 2)
	everything, feedOnly := &link{}, &link{path: "/revocations"}
	refuses, asks := d.verifier(everything.over), d.verifier(feedOnly.over, fallBack)
	answers := make([]*testserver.Answer, sessions)
	for i := range answers {
		answers[i] = d.signIn(fmt.Sprint("user-", i))
	}
	all := rand.Perm(sessions)
	u := &use{d: d, answers: answers, ended: make([]atomic.Int64, sessions), lastGood: make([]atomic.Int64, sessions)}

	stop := d.run()
	u.begin(refuses, asks)
	for _, i := range all[:revocations] {
		u.end(i)
	}
	for _, i := range all[:revocations] {
		d.untilRefused(refuses, answers[i].Text("access_token"))
		d.untilRefused(asks, answers[i].Text("access_token"))
	}
	u.stop()
	stop()
	t.Logf("%d sessions were verified %d times while %d of them were ended: the longest that one was accepted after the answer is %s",
		sessions, u.verified.Load(), revocations, u.longest(all[:revocations]))

	everything.Cut(true)
	feedOnly.Cut(true)
	for _, i := range all[revocations:][:missed] {
		d.signOut(1, answers[i])
	}
	d.clock().Advance(31 * time.Second)
	u.each(func(i int, token string) {
		revoked := u.ended[i].Load() != 0
		gone := revoked || slices.Contains(all[revocations:][:missed], i)
		d.verifies(refuses, token, map[bool]error{true: latchkey.ErrInvalidToken, false: latchkey.ErrUnavailable}[revoked])
		d.verifies(asks, token, map[bool]error{true: latchkey.ErrInvalidToken, false: nil}[gone])
	})
	everything.Cut(false)
	feedOnly.Cut(false)
	d.until(func() bool { return refuses.Status().Err == nil && asks.Status().Err == nil })
	u.each(func(i int, token string) {
		gone := slices.Contains(all[:revocations+missed], i)
		for _, v := range []*resource.Verifier{refuses, asks} {
			d.verifies(v, token, map[bool]error{true: latchkey.ErrInvalidToken, false: nil}[gone])
		}
	})
}

// use verifies the tokens of sessions as fast as it can.
type use struct {
	d        *deployment
	answers  []*testserver.Answer
	verified atomic.Int64
	ended    []atomic.Int64 // when the response to a session's revocation arrived; -1: the request was sent
	lastGood []atomic.Int64 // when a token was last accepted
	done     atomic.Bool
	running  sync.WaitGroup
}

func (u *use) each(do func(i int, token string)) {
	for i, a := range u.answers {
		do(i, a.Text("access_token"))
	}
}

func (u *use) begin(verifiers ...*resource.Verifier) {
	for _, v := range verifiers {
		u.running.Go(func() {
			for !u.done.Load() {
				u.each(func(i int, token string) { u.verify(v, i, token) })
			}
		})
	}
}

func (u *use) verify(v *resource.Verifier, i int, token string) {
	began := time.Now().UnixNano()
	_, err := v.Verify(u.d.t.Context(), token)
	u.verified.Add(1)
	switch {
	case err == nil:
		for last := u.lastGood[i].Load(); began > last && !u.lastGood[i].CompareAndSwap(last, began); {
			last = u.lastGood[i].Load()
		}
	case !errors.Is(err, latchkey.ErrInvalidToken) || u.ended[i].Load() == 0:
		u.d.t.Errorf("session %d, which nobody ended, is refused: %v", i, err)
	}
}

// end ends a session at the other node.
func (u *use) end(i int) {
	u.ended[i].Store(-1)
	u.d.signOut(1, u.answers[i])
	u.ended[i].Store(time.Now().UnixNano())
}

func (u *use) stop() {
	u.done.Store(true)
	u.running.Wait()
}

// longest returns the longest time for which a token was accepted after the
// response.
func (u *use) longest(sessions []int) (longest time.Duration) {
	for _, i := range sessions {
		longest = max(longest, time.Duration(u.lastGood[i].Load()-u.ended[i].Load()))
	}
	return longest
}

// With no stream at all: a revocation at one node is in the list that the
// verifier fetches next.
func TestAVerifierReadsTheStatusListOfTheServer(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		d := deploy(t, url, 1)
		d.apply(func(t *settings.TenantSpec) { t.Clients[0].StatusList = true })
		v := d.verifier(func(o *resource.VerifierOptions) { o.Revocation = resource.StatusList })
		ended, other := d.signIn("alice"), d.signIn("bob").Text("access_token")
		d.verifies(v, ended.Text("access_token"), nil)
		d.verifies(v, other, nil)
		d.signOut(0, ended)
		d.clock().Advance(61 * time.Second)
		d.untilRefused(v, ended.Text("access_token"))
		d.verifies(v, other, nil)
	})
}

// Its client would receive no revocations for the audience, and silence would
// pass for "nothing was revoked".
func TestAVerifierWhoseClientIsNotTheAudienceTrustsNothing(t *testing.T) {
	d := deploy(t, testdb.SQLite(t), 1)
	token := d.signIn("alice").Text("access_token")
	asItself := func(identifiers ...string) {
		d.apply(func(t *settings.TenantSpec) {
			t.Clients[1].Introspect, t.Clients[1].ResourceIdentifiers = settings.IntrospectAudience, identifiers
		})
	}
	asItself("https://other.example.com")
	v := d.verifier()
	d.until(func() bool { return errors.Is(v.Status().Err, latchkey.ErrUnavailable) })
	d.verifies(v, token, latchkey.ErrUnavailable)
	if text := fmt.Sprint(v.Status().Err); !strings.Contains(text, "resource_identifiers") {
		t.Errorf("it returns %q", text)
	}
	asItself(audience)
	d.verifies(d.verifier(), token, nil)
}
