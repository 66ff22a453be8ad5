package issuerkeys

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/oauth/fetch"
)

// otherIssuer is the key endpoint of an issuer without a network, so that it uses
// the clock of a synctest bubble.
type otherIssuer struct {
	mu      sync.Mutex
	kids    []string
	down    bool
	hangs   bool
	fetched int
}

func (o *otherIssuer) set(fn func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fn()
}

// fetches returns how often its keys were fetched.
func (o *otherIssuer) fetches() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.fetched
}

// RoundTrip implements http.RoundTripper.
func (o *otherIssuer) RoundTrip(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	o.fetched++
	hangs, down := o.hangs, o.down
	var keys []string
	for _, kid := range o.kids {
		keys = append(keys, jwk(ecKeys["P-256"].Public(), kid, ""))
	}
	o.mu.Unlock()
	if hangs {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	w := httptest.NewRecorder()
	if down {
		w.WriteHeader(http.StatusBadGateway)
	} else {
		fmt.Fprintf(w, `{"keys":[%s]}`, strings.Join(keys, ","))
	}
	return w.Result(), nil
}

func (o *otherIssuer) source() *remote {
	return &remote{
		Config:  Config{Now: time.Now, Log: slog.New(slog.DiscardHandler)},
		jwksURI: "https://auth.example.com/keys", client: &http.Client{Transport: o, Timeout: fetch.DefaultTimeout},
	}
}

func kid(id string) func(jose.JSONWebKey) bool {
	return func(k jose.JSONWebKey) bool { return k.KeyID == id }
}

// lookUp returns the result of a request for a kid.
func lookUp(ctx context.Context, r *remote, id string) string {
	keys, err := r.Keys(ctx, kid(id))
	switch {
	case errors.Is(err, ErrUnavailable):
		return "unavailable"
	case err != nil:
		return err.Error()
	case len(keys) == 0:
		return "none"
	default:
		return keys[0].KeyID
	}
}

func TestRemoteKeysAreFetchedOnceForManyCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &otherIssuer{kids: []string{"a"}, hangs: true}
		r := o.source()
		answers := make(chan string, 50)
		for range 50 {
			go func() { answers <- lookUp(t.Context(), r, "a") }()
		}
		synctest.Wait()
		if o.fetches() != 1 {
			t.Errorf("%d fetches for 50 callers", o.fetches())
		}
		for range 50 {
			if got := <-answers; got != "unavailable" {
				t.Errorf("while the issuer hangs: %s", got)
			}
		}
		o.set(func() { o.hangs = false })
		time.Sleep(failurePause)
		for range 50 {
			go func() { answers <- lookUp(t.Context(), r, "a") }()
		}
		for range 50 {
			if got := <-answers; got != "a" {
				t.Errorf("after the issuer has recovered: %s", got)
			}
		}
		if o.fetches() != 2 {
			t.Errorf("%d fetches", o.fetches())
		}
	})
}

func TestRemoteKeysAreFetchedAgainForAnUnknownKidEvery30Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &otherIssuer{kids: []string{"a"}}
		r := o.source()
		lookUp(t.Context(), r, "a")
		o.set(func() { o.kids = []string{"a", "b"} })
		for second := range 29 {
			time.Sleep(time.Second)
			if got := lookUp(t.Context(), r, "b"); got != "none" || o.fetches() != 1 {
				t.Fatalf("after %d s: %s, %d fetches", second+1, got, o.fetches())
			}
		}
		time.Sleep(time.Second)
		if got := lookUp(t.Context(), r, "b"); got != "b" || o.fetches() != 2 {
			t.Errorf("after 30 s: %s, %d fetches", got, o.fetches())
		}
		for range 300 {
			time.Sleep(time.Second)
			lookUp(t.Context(), r, "made up")
		}
		if o.fetches() != 2+10 {
			t.Errorf("%d fetches for a made-up kid in 5 minutes", o.fetches()-2)
		}
	})
}

func TestRemoteKeysDropAKeyThatWasRemoved(t *testing.T) {
	for name, quiet := range map[string]time.Duration{
		"after 10 minutes":                   10 * time.Minute,
		"after 59 minutes without a request": 59 * time.Minute,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &otherIssuer{kids: []string{"a", "b"}}
				r := o.source()
				lookUp(t.Context(), r, "a")
				o.set(func() { o.kids = []string{"b"} })
				time.Sleep(10*time.Minute - 1)
				if got := lookUp(t.Context(), r, "a"); got != "a" || o.fetches() != 1 {
					t.Errorf("before 10 minutes: %s, %d fetches", got, o.fetches())
				}
				time.Sleep(quiet - 10*time.Minute + 1)
				if got := lookUp(t.Context(), r, "a"); got != "none" || o.fetches() != 2 {
					t.Errorf("%s, %d fetches", got, o.fetches())
				}
				if got := lookUp(t.Context(), r, "b"); got != "b" || o.fetches() != 2 {
					t.Errorf("the remaining key: %s, %d fetches", got, o.fetches())
				}
			})
		})
	}
}

func TestRemoteKeysAreUsedForAnHourOfOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &otherIssuer{kids: []string{"a"}}
		r := o.source()
		lookUp(t.Context(), r, "a")
		began := time.Now()
		o.set(func() { o.down = true })
		for time.Since(began) < time.Hour {
			if got := lookUp(t.Context(), r, "a"); got != "a" {
				t.Fatalf("after %v: %s", time.Since(began), got)
			}
			time.Sleep(time.Second)
		}
		if n := o.fetches() - 1; n == 0 || n > 50*60/30 {
			t.Errorf("%d fetches in 50 minutes of outage", n)
		}
		for range 60 {
			if got := lookUp(t.Context(), r, "a"); got != "unavailable" {
				t.Fatalf("after %v: %s", time.Since(began), got)
			}
			time.Sleep(time.Second)
		}
		o.set(func() { o.down, o.kids = false, []string{"a", "b"} })
		time.Sleep(failurePause)
		if got := lookUp(t.Context(), r, "b"); got != "b" {
			t.Errorf("after the outage: %s", got)
		}
	})
}

func TestRemoteKeysReportAnUnknownKidAsUnavailableDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &otherIssuer{kids: []string{"a"}}
		r := o.source()
		lookUp(t.Context(), r, "a")
		o.set(func() { o.down = true })
		time.Sleep(time.Minute)
		for second := range 120 {
			if got := lookUp(t.Context(), r, "b"); got != "unavailable" {
				t.Fatalf("after %d s of outage: %s", second, got)
			}
			if got := lookUp(t.Context(), r, "a"); got != "a" {
				t.Fatalf("the known kid: %s", got)
			}
			time.Sleep(time.Second)
		}
		if n := o.fetches() - 1; n > 4 {
			t.Errorf("%d fetches in two minutes, want at most one in 30 s", n)
		}
	})
}

func TestAHangingIssuerDoesNotAffectOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hanging, healthy := &otherIssuer{hangs: true}, &otherIssuer{kids: []string{"a"}}
		stuck, answers := hanging.source(), make(chan string, 2)
		patient, leave := context.WithCancel(t.Context())
		go func() { answers <- lookUp(patient, stuck, "a") }()
		go func() { answers <- lookUp(t.Context(), stuck, "a") }()
		synctest.Wait()
		if got := lookUp(t.Context(), healthy.source(), "a"); got != "a" || len(answers) != 0 {
			t.Errorf("another issuer's key: %s", got)
		}
		leave()
		synctest.Wait()
		if len(answers) != 1 || hanging.fetches() != 1 {
			t.Errorf("%d of two callers returned when one was canceled", len(answers))
		}
		began := time.Now()
		for range 2 {
			if got := <-answers; got != "unavailable" {
				t.Error(got)
			}
		}
		if waited := time.Since(began); waited > 2*fetch.DefaultTimeout {
			t.Errorf("a caller of the hanging issuer waited %v", waited)
		}
	})
}
