package models_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

func TestASessionIsReadBackAsItWasWritten(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		n := w.alice(func(n *models.NewSession) {
			n.SessionToken = models.Chain{Digest: digest(7), Next: digest(8), RootVersion: 1<<32 - 1}
			n.Attributes = map[string]any{"device": "laptop", "id": int64(1<<53 + 1)}
			n.Mapped = mapped(map[string]any{"email": "alice@example.com"})
			n.Factors = append(n.Factors, session.Factor{AMR: "otp", Entry: w.issuer, AuthTime: w.Now(), MaxACR: "phr", ACR: "phr"})
			n.Scope, n.Audience = []string{"profile", "orders:read"}, []string{"web", "https://api.example.com/"}
			n.DeviceName = "Älice's 📱"
		})
		created := w.create(n)
		if read := w.read(n.ID); !reflect.DeepEqual(read, created) {
			t.Errorf("read:    %+v\nwritten: %+v", read, created)
		}
		if got := w.events(n.ID); got != "session_created" {
			t.Errorf("events %q", got)
		}
		if _, err := w.Session(t.Context(), "other", n.ID); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("another tenant finds it: %v", err)
		}
	})
	t.Run("also without an idle limit and without a refresh token", func(t *testing.T) {
		each(t, func(t *testing.T, w *fixture) {
			n := w.alice(func(n *models.NewSession) {
				n.IdleExpiry, n.Refresh, n.Factors, n.Scope = time.Time{}, models.Chain{}, nil, nil
			})
			created := w.create(n)
			read := w.read(n.ID)
			read.Scope, read.Audience = nil, nil // empty
			if !reflect.DeepEqual(read, created) {
				t.Errorf("read:    %+v\nwritten: %+v", read, created)
			}
		})
	})
}

// Of many exchanges of one client token, one creates a session.
func TestAClientTokenIsSpentOnce(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		nodes := []*models.Store{w.Store, w.another(models.Options{})}
		n := w.alice()
		var opened, spent atomic.Int64
		together(16, func(i int) {
			mine := n
			mine.ID = models.NewSessionID()
			switch _, err := nodes[i%2].CreateSession(t.Context(), mine, signs); {
			case err == nil:
				opened.Add(1)
			case errors.Is(err, models.ErrTokenSpent):
				spent.Add(1)
			default:
				t.Error(err)
			}
		})
		if opened.Load() != 1 || spent.Load() != 15 {
			t.Errorf("%d exchanges opened a session, %d met a spent token", opened.Load(), spent.Load())
		}
		if rows := w.rows(); rows["sessions"] != 1 || rows["spent_tokens"] != 1 || rows["events"] != 1 || rows["users"] != 1 {
			t.Errorf("the tables hold %v", rows)
		}
	})
}

func TestAClientTokenIsSpentForOneTenantAndIssuer(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		spec := tenant()
		spec.ID = "other"
		w.apply(spec)
		other, err := w.TenantConfig(t.Context(), "other")
		must(t, err)
		n := w.alice()
		w.create(n)
		n.ID, n.Token.Issuer = models.NewSessionID(), "https://another.example.com"
		w.create(n)
		n.ID, n.TenantID, n.IssuerID = models.NewSessionID(), "other", other.Issuers[0].ID
		w.create(n)
		n.ID = models.NewSessionID()
		if _, err := w.CreateSession(t.Context(), n, signs); !errors.Is(err, models.ErrTokenSpent) {
			t.Errorf("the token passes again: %v", err)
		}
	})
}

// A rejected exchange leaves nothing behind, and the token unused.
func TestARejectedExchangeLeavesNothing(t *testing.T) {
	noSigner := errors.New("no signer")
	full := func(n *models.NewSession) { n.Cap = &settings.SessionCap{Limit: 1, WhenFull: settings.Reject} }
	for name, c := range map[string]struct {
		prepare func(w *fixture)
		change  func(n *models.NewSession)
		sign    func(*models.Session) error
		want    error
	}{
		"a signature that fails": {nil, func(n *models.NewSession) { n.Mapped = mapped(map[string]any{"a": 1}) },
			func(*models.Session) error { return noSigner }, noSigner},
		"a user who is unknown":   {nil, func(n *models.NewSession) { n.CreateUser = false }, signs, models.ErrUserUnknown},
		"a client of no tenant":   {nil, func(n *models.NewSession) { n.ClientID = "nobody" }, signs, models.ErrNotPermitted},
		"an issuer of no tenant":  {nil, func(n *models.NewSession) { n.IssuerID = "nobody" }, signs, models.ErrNotPermitted},
		"a tenant that is pruned": {func(w *fixture) { w.exec("UPDATE tenants SET pruned_at = 1") }, nil, signs, models.ErrNotPermitted},
		"a full cap":              {func(w *fixture) { w.create(w.alice()) }, full, signs, models.ErrSessionLimit},
		"a user attribute that is too large": {nil, func(n *models.NewSession) { n.Mapped = mapped(map[string]any{"a": strings.Repeat("a", 4095)}) },
			signs, models.ErrTooLarge},
		"a session attribute that is too large": {nil, func(n *models.NewSession) { n.Attributes = map[string]any{"a": strings.Repeat("a", 4095)} },
			signs, models.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				if c.prepare != nil {
					c.prepare(w)
				}
				n := w.alice()
				if c.change != nil {
					c.change(&n)
				}
				before := w.rows()
				if created, err := w.CreateSession(t.Context(), n, c.sign); !errors.Is(err, c.want) || created != nil {
					t.Errorf("returned %v, %v; want %v", created, err, c.want)
				}
				w.wantRows(before)
			})
		})
	}
}

func TestAttributesOfTheTokenAreStoredBesideTheOperators(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.apply(settings.TenantSpec{ID: acme, Users: []settings.UserSpec{{Sub: "alice", Attributes: map[string]any{"plan": "pro", "id": 1<<53 + 1, "kept": true}}}})
		created := w.create(w.alice(func(n *models.NewSession) {
			n.Mapped = mapped(map[string]any{"plan": "free", "next": int64(1<<63 - 1), "full": strings.Repeat("a", 4094)})
		}))
		want := map[string]any{"plan": "pro", "id": int64(1<<53 + 1), "kept": true, "next": int64(1<<63 - 1), "full": strings.Repeat("a", 4094)}
		alice, err := w.User(t.Context(), acme, "alice")
		must(t, err)
		for where, got := range map[string]map[string]any{
			"the user has": alice.Attributes, "the session reads": w.read(created.ID).UserAttributes, "the signer sees": created.UserAttributes,
		} {
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s %v, want %v", where, got, want)
			}
		}
		w.create(w.alice()) // a token of an entry that maps nothing takes nothing
		if alice, err = w.User(t.Context(), acme, "alice"); err != nil || !reflect.DeepEqual(alice.Attributes, want) {
			t.Errorf("then the user has %v, %v", alice, err)
		}
	})
}

// A user whose attributes cannot be read back could never sign in again.
func TestWhatIsStoredCanBeReadBack(t *testing.T) {
	for name, value := range map[string]any{
		"a great float": 1.2345678901234567e19, "a greater one": 1e300, "a great whole number": uint64(1<<64 - 1), "infinity": math.Inf(1),
		"no number": math.NaN(), "what JSON does not know": func() {}, "text that is not UTF-8": "\xff", "depth": []any{map[string]any{"a": 1e20}},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *fixture) {
				before := w.rows()
				n := w.alice(func(n *models.NewSession) {
					n.Mapped = mapped(map[string]any{"a": value})
					n.Attributes = n.Mapped.Values
				})
				if _, err := w.CreateSession(t.Context(), n, signs); err != nil {
					w.wantRows(before)
					return
				}
				w.read(n.ID)
				w.create(w.alice())
			})
		})
	}
}

// PostgreSQL holds no NUL in a text. In JSON it is written without one.
func TestNULIsStoredInAttributesOnly(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		created := w.create(w.alice(func(n *models.NewSession) { n.Mapped = mapped(map[string]any{"a\x00": "b\x00"}) }))
		if got := w.read(created.ID).UserAttributes["a\x00"]; got != "b\x00" {
			t.Errorf("an attribute is %q", got)
		}
		before := w.rows()
		_, err := w.CreateSession(t.Context(), w.alice(func(n *models.NewSession) { n.Subject = "a\x00b" }), signs)
		switch {
		case w.Dialect() == "sqlite":
			must(t, err)
		case err == nil || errors.Is(err, models.ErrUnavailable) || errors.Is(err, models.ErrNotFound) || errors.Is(err, models.ErrConflict):
			t.Errorf("a subject with NUL returned %v", err)
		default:
			w.wantRows(before)
		}
	})
}

func TestTheIDOfASessionCanBeAnArgumentOfACommand(t *testing.T) {
	t.Parallel()
	for range 10_000 {
		if id := models.NewSessionID().String(); id[0] == '-' {
			t.Fatalf("%s begins like a flag", id)
		}
	}
}
