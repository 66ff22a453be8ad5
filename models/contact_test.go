package models_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// operations are all operations of a Store that requests use.
func (w *fixture) operations(row *models.Session) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Ping":            w.Ping,
		"MeasureClock":    w.MeasureClock,
		"Session":         func(ctx context.Context) error { _, err := w.Session(ctx, acme, row.ID); return err },
		"SessionEvents":   func(ctx context.Context) error { _, err := w.SessionEvents(ctx, acme, row.ID); return err },
		"Permitted":       func(ctx context.Context) error { _, err := w.Permitted(ctx, row.ID); return err },
		"RotateSession":   func(ctx context.Context) error { _, err := w.RotateSession(ctx, w.step(row, 0)); return err },
		"EndSession":      func(ctx context.Context) error { return w.EndSession(ctx, row, w.Now(), session.Revoked) },
		"CreateSession":   func(ctx context.Context) error { _, err := w.CreateSession(ctx, w.alice(), signs); return err },
		"AddEvent":        func(ctx context.Context) error { return w.AddEvent(ctx, row.Event(w.Now(), "test", nil)) },
		"User":            func(ctx context.Context) error { _, err := w.User(ctx, acme, "alice"); return err },
		"TokenRevoked":    func(ctx context.Context) error { _, err := w.TokenRevoked(ctx, acme, "jti"); return err },
		"RevokeToken":     func(ctx context.Context) error { return w.RevokeToken(ctx, acme, "web", "jti", nil, w.Now(), w.Now()) },
		"TenantConfig":    func(ctx context.Context) error { _, err := w.TenantConfig(ctx, acme); return err },
		"TenantRevisions": func(ctx context.Context) error { _, err := w.TenantRevisions(ctx); return err },
		"SigningKeys":     func(ctx context.Context) error { _, err := w.SigningKeys(ctx, acme); return err },
		"Lease":           func(ctx context.Context) error { _, err := w.Lease(ctx, "prune", "a", w.Now(), 0); return err },
		"Prune":           func(ctx context.Context) error { _, err := w.Prune(ctx, w.Now()); return err },
		"Apply": func(ctx context.Context) error {
			_, err := w.Apply(ctx, nil, secrets{}, models.ApplyOptions{Replace: true})
			return err
		},
		"Schema":  func(ctx context.Context) error { _, err := w.Schema(ctx); return err },
		"Migrate": w.Migrate,
	}
}

func TestALostDatabaseIsUnavailable(t *testing.T) {
	w := newPostgresFixture(t)
	row := w.create(w.alice())
	proxy := testdb.NewProxy(t, w.url)
	direct := w.url
	w.url = proxy.URL()
	w.Store = w.another(models.Options{})
	for name, operation := range w.operations(row) {
		t.Run(name, func(t *testing.T) {
			must(t, w.Ping(t.Context())) // a connection that the cut will break
			proxy.Cut()
			defer proxy.Heal()
			for _, when := range []string{"broken", "refused"} {
				if err := operation(t.Context()); !errors.Is(err, models.ErrUnavailable) || errors.Is(err, models.ErrNotFound) {
					t.Errorf("while connections are %s the result is %v", when, err)
				}
			}
		})
	}
	w.url = direct
	if read := w.read(row.ID); read.Refresh.Generation != 0 || !read.EndedAt.IsZero() {
		t.Errorf("the session is %+v", read)
	}
}

func TestContactRestartsOnlyAfterAnOutage(t *testing.T) {
	w := newPostgresFixture(t)
	row := w.create(w.alice())
	proxy := testdb.NewProxy(t, w.url)
	w.url = proxy.URL()
	w.Store = w.another(models.Options{})
	since := func(want time.Time) {
		t.Helper()
		if got := w.ContactSince(); !got.Equal(want) {
			t.Errorf("contact since %v, want %v", got.Sub(start), want.Sub(start))
		}
	}
	since(start)

	w.clock.Advance(time.Minute)
	w.read(row.ID)
	_, err := w.Session(t.Context(), acme, models.NewSessionID())
	if !errors.Is(err, models.ErrNotFound) {
		t.Error(err)
	}
	_, _ = w.CreateSession(t.Context(), w.alice(), func(*models.Session) error { return errors.New("no signer") })
	since(start)

	proxy.Cut()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Session(gone, acme, row.ID); err == nil {
		t.Error("a canceled caller gets a result")
	}
	proxy.Heal()
	w.clock.Advance(time.Minute)
	for w.Ping(gone) == nil {
		t.Error("a canceled caller gets a result")
	}
	if w.ContactSince() != start {
		t.Error("the failure of a canceled caller counts as an outage")
	}

	proxy.Cut()
	if _, err := w.RotateSession(t.Context(), w.step(row, 0)); !errors.Is(err, models.ErrUnavailable) {
		t.Errorf("cut off, a rotation returned %v", err)
	}
	w.clock.Advance(time.Minute)
	since(start) // it has not begun again
	proxy.Heal()
	w.clock.Advance(time.Minute)
	w.read(row.ID)
	since(w.Now())
	again := w.Now()
	w.clock.Advance(time.Minute)
	w.read(row.ID)
	since(again)
}

// A proxy in front of a database that is away takes the connection and hangs up.
func TestAServerThatHangsUpIsUnavailable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadAtLeast(conn, make([]byte, 1024), 8) // what is unread would make it a reset
			_ = conn.Close()
		}
	}()
	_, err = models.Open(t.Context(), "postgres://latchkey@"+listener.Addr().String()+"/latchkey?sslmode=disable", models.Options{})
	if !errors.Is(err, models.ErrUnavailable) {
		t.Errorf("returned %v", err)
	}
}

func TestAServerThatRestartsIsUsedAgain(t *testing.T) {
	cluster := testdb.NewCluster(t)
	w := newFixture(t, cluster.URL())
	row := w.create(w.alice())
	w.rotate(row, 0, 3)
	for _, mode := range []testdb.Mode{testdb.Fast, testdb.Immediate} {
		cluster.Stop(mode)
		w.clock.Advance(time.Minute)
		if _, err := w.RotateSession(t.Context(), w.step(row, 3)); !errors.Is(err, models.ErrUnavailable) {
			t.Errorf("with the server stopped a rotation returned %v", err)
		}
		cluster.Start()
		w.clock.Advance(time.Minute)
		if got := w.read(row.ID).Refresh.Generation; got != 3 {
			t.Errorf("after the restart the row is at generation %d", got)
		}
		if got := w.ContactSince(); !got.Equal(w.Now()) {
			t.Errorf("contact since %v, want %v", got, w.Now())
		}
	}
	w.rotate(row, 3, 4)
}
