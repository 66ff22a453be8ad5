package handlers_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
)

// publishedKids lists the kids of the key set, newest first.
func (w *world) publishedKids() (kids []string) {
	w.t.Helper()
	for _, k := range w.want(200, "", w.Get("/.well-known/jwks.json")).JSON["keys"].([]any) {
		kids = append(kids, k.(map[string]any)["kid"].(string))
	}
	return kids
}

// keepHouse does what a node does in the background every half minute.
func (w *world) keepHouse() {
	w.t.Helper()
	if err := errors.Join(w.OAuth.EnsureSigningKeys(w.t.Context()), w.Store.ExpireSigningKeys(w.t.Context(), w.Clock.Now()), w.OAuth.Reseal(w.t.Context())); err != nil {
		w.t.Fatal(err)
	}
}

// retire takes a key out of service, and lets every node notice.
func (w *world) retire(kid string) (signs string) {
	w.t.Helper()
	signs, err := w.OAuth.RetireSigningKey(w.t.Context(), "default", kid)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Clock.Advance(6 * time.Second)
	return signs
}

func TestSigningKeysAreRotatedOnSchedule(t *testing.T) {
	const day = 24 * time.Hour
	eachDatabase(t, func(t *testing.T, w *world) {
		begun := w.Clock.Now()
		at := func(after time.Duration) {
			w.Clock.Advance(begun.Add(after).Sub(w.Clock.Now()))
			w.keepHouse()
		}
		first := w.publishedKids()
		at(89*day - time.Minute)
		if got := w.publishedKids(); !slices.Equal(got, first) {
			t.Fatalf("published %v before any is due", got)
		}
		at(89 * day)
		w.keepHouse()
		w.Clock.Advance(6 * time.Second)
		both := w.publishedKids()
		if len(both) != 2 || both[1] != first[0] {
			t.Fatalf("published %v a day before the change, want one more than %v", both, first)
		}
		at(90*day - time.Minute)
		if kid := kidOf(w.signIn("alice").Text("access_token")); kid != first[0] {
			t.Error("the new key signs before its day is over")
		}
		at(90 * day)
		if kid := kidOf(w.signIn("alice").Text("access_token")); kid != both[0] {
			t.Errorf("%s signs, want the announced key", kid)
		}
		at(92 * day)
		if got := w.publishedKids(); !slices.Equal(got, both[:1]) {
			t.Errorf("published %v after the last token of the old key", got)
		}
		keys := w.keys()
		if len(keys) != 2 || len(keys[0].Sealed) != 0 || len(keys[1].Sealed) == 0 {
			t.Error("the private part of the old key is still kept")
		}
	})
}

func TestKeyRotationOfATenantCanBeTurnedOff(t *testing.T) {
	w := newWorld(t, sqlite(t))
	spec := testserver.Tenant("default", w.issuer, testserver.Web())
	never, err := models.ParseDuration("none")
	if err != nil {
		t.Fatal(err)
	}
	spec.KeyRotation = &never
	w.Apply(spec)
	w.Clock.Advance(1000 * 24 * time.Hour)
	w.keepHouse()
	if n := len(w.keys()); n != 1 {
		t.Errorf("%d keys", n)
	}
}

func TestRotationUnderLoadRefusesNothing(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		l := newLoad(w, w.Server, w.newNode(testserver.RootSecret))
		for range 2 {
			if _, err := w.OAuth.RotateSigningKey(t.Context(), "default"); err != nil {
				t.Fatal(err)
			}
			l.pass(6*time.Second, 3*time.Second)
			l.pass(oauth.Announcement-12*time.Second, 4*time.Minute)
			l.pass(12*time.Second, 4*time.Second)
			l.jump(24 * time.Hour)
			w.keepHouse()
			l.pass(time.Minute, 30*time.Second)
		}
		l.end()
		if kids := w.publishedKids(); len(kids) != 1 || len(w.keys()) != 3 {
			t.Errorf("published %v of %d keys", kids, len(w.keys()))
		}
	})
}

func TestTokensOfARetiredKeyAreRefused(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		node := w.newNode(testserver.RootSecret)
		a := w.signIn("alice")
		access, kid := a.Text("access_token"), w.publishedKids()[0]
		if node.Introspect("", access).JSON["active"] != true {
			t.Fatal("the other node does not know the token")
		}
		signs := w.retire(kid)
		for _, s := range []*testserver.Server{w.Server, node} {
			if in := s.Introspect("", access); in.Status != 200 || string(in.Body) != `{"active":false}` {
				t.Errorf("introspection: %d %s", in.Status, in.Body)
			}
		}
		if got := w.publishedKids(); !slices.Equal(got, []string{signs}) || signs == kid {
			t.Errorf("published %v, said %s", got, signs)
		}
		next := w.want(200, "", node.Refresh("", "web", a.Text("refresh_token")))
		if kidOf(next.Text("access_token")) != signs || !w.active(next.Text("access_token")) {
			t.Error("the session did not live on under the new key")
		}
		for _, k := range w.keys() {
			if (len(k.Sealed) == 0) != (k.Kid == kid) {
				t.Error("the private part of the retired key, and only that, is to be destroyed")
			}
		}
	})
}

func TestTheAnnouncedKeyTakesTheRetiredOnesPlace(t *testing.T) {
	w := newWorld(t, sqlite(t))
	active := w.publishedKids()[0]
	announced, err := w.OAuth.RotateSigningKey(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	if signs := w.retire(active); signs != announced.Kid {
		t.Errorf("%s signs, want the announced key", signs)
	}
	if kid := kidOf(w.signIn("alice").Text("access_token")); kid != announced.Kid {
		t.Errorf("%s signs, want the announced key", kid)
	}
}

func TestRetiringAnotherKeyLeavesTheSigningOne(t *testing.T) {
	w := newWorld(t, sqlite(t))
	first := w.publishedKids()[0]
	a := w.signIn("alice")
	second, err := w.OAuth.RotateSigningKey(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("announced", func(t *testing.T) {
		if signs := w.retire(second.Kid); signs != first || !slices.Equal(w.publishedKids(), []string{first}) {
			t.Errorf("%s signs, published %v", signs, w.publishedKids())
		}
	})
	third, err := w.OAuth.RotateSigningKey(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	w.Clock.Advance(oauth.Announcement)
	t.Run("verify-only", func(t *testing.T) {
		if signs := w.retire(first); signs != third.Kid || !slices.Equal(w.publishedKids(), []string{third.Kid}) {
			t.Errorf("%s signs, published %v", signs, w.publishedKids())
		}
		if w.active(a.Text("access_token")) {
			t.Error("a token of the retired key is active")
		}
	})
	for _, kid := range []string{first, second.Kid, "made-up"} {
		if _, err := w.OAuth.RetireSigningKey(t.Context(), "default", kid); !errors.Is(err, oauth.ErrUnknownKey) {
			t.Errorf("%s: %v", kid, err)
		}
	}
	if len(w.keys()) != 3 {
		t.Errorf("%d keys; what was refused made one", len(w.keys()))
	}
}

// A node that has just looked for news, and so has missed a key made since,
// must not call a token of that key inactive, nor say that it revoked it.
func TestANodeThatMissedAKeyLooksBeforeItAnswers(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		node := w.newNode(testserver.RootSecret)
		w.signIn("alice")
		for _, s := range []*testserver.Server{w.Server, node} {
			s.Introspect("", "made-up")
			if err := s.OAuth.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.OAuth.RetireSigningKey(t.Context(), "default", w.publishedKids()[0]); err != nil {
			t.Fatal(err)
		}
		if err := w.OAuth.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		answers := inParallel(8, func(int) *testserver.Answer {
			return w.Exchange("", "web", w.issuer.Token(w.URL, "alice", nil))
		})
		for _, in := range inParallel(8, func(i int) *testserver.Answer { return node.Introspect("", answers[i].Text("access_token")) }) {
			if in.JSON["active"] != true {
				t.Errorf("introspection: %d %s", in.Status, in.Body)
			}
		}
		third := w.newNode(testserver.RootSecret)
		w.want(200, "", third.Post("/revoke", []string{"client_id", "web", "token", answers[0].Text("access_token")}))
		w.want(400, "invalid_grant", w.Refresh("", "web", answers[0].Text("refresh_token")))
	})
}

func TestAKeyThatDoesNotOpenIsAFaultOfOurs(t *testing.T) {
	eachDatabase(t, func(t *testing.T, w *world) {
		a := w.signIn("alice")
		db := openDatabase(t, w.DatabaseURL)
		for _, statement := range []string{"UPDATE signing_keys SET root_version = 7", "UPDATE tenants SET revision = revision + 1"} {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		w.Clock.Advance(6 * time.Second)
		for name, got := range map[string]*testserver.Answer{
			"the key set":   w.Get("/.well-known/jwks.json"),
			"introspection": w.Introspect("", a.Text("access_token")),
			"revocation":    w.Post("/revoke", []string{"client_id", "web", "token", a.Text("access_token")}),
			"refresh":       w.Refresh("", "web", a.Text("refresh_token")),
			"readiness":     w.newNode(testserver.RootSecret).Get("/readyz"), // before any tenant was asked for
		} {
			if got.Status < 500 {
				t.Errorf("%s: %d %s", name, got.Status, got.Body)
			}
		}
	})
}
