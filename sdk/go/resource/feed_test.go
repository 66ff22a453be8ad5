package resource_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
	"github.com/latchkey/latchkey/sdk/go/resource"
)

func fallBack(o *resource.VerifierOptions) { o.OnFeedLoss = resource.FallBackToIntrospection }

// untilRefused waits until the verifier rejects a token.
func untilRefused(t testing.TB, v *resource.Verifier, token string) {
	t.Helper()
	until(t, func() bool {
		_, err := v.Verify(t.Context(), token)
		return errors.Is(err, latchkey.ErrInvalidToken)
	})
}

// log records what a verifier logs.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

func (l *log) into(o *resource.VerifierOptions) { o.Logger = slog.New(slog.NewTextHandler(l, nil)) }

func TestTheFeedRejectsTokensThatAnEntryMatches(t *testing.T) {
	for name, c := range map[string]struct {
		revoked, other claims
		revoke         func(*latchkeytest.Issuer)
		later          error // for tokens that are issued later
	}{
		"a session": {claims{"sid": "a"}, claims{"sid": "b"}, func(i *latchkeytest.Issuer) { i.RevokeSession("a") }, latchkey.ErrInvalidToken},
		"a token":   {claims{"jti": "a", "sid": nil}, claims{"jti": "b", "sid": nil}, func(i *latchkeytest.Issuer) { i.RevokeToken("a") }, latchkey.ErrInvalidToken},
		"a user":    {claims{"sub": "a"}, claims{"sub": "b"}, func(i *latchkeytest.Issuer) { i.RevokeUser("a") }, nil},
		"a client":  {claims{"client_id": "a"}, claims{"client_id": "b"}, func(i *latchkeytest.Issuer) { i.RevokeClient("a") }, nil},
		"an issuer": {claims{"sid": "a"}, claims{"sid": "b"}, func(i *latchkeytest.Issuer) { i.RevokeIssuer("https://login.example.com", "a") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := latchkeytest.New(t)
			v := newVerifier(t, issuer)
			revoked, other := issuer.Token(c.revoked), issuer.Token(c.other)
			want(t, v, revoked, nil)
			want(t, v, other, nil)
			c.revoke(issuer)
			untilRefused(t, v, revoked)
			want(t, v, issuer.Token(c.revoked), latchkey.ErrInvalidToken) // unseen
			want(t, v, other, nil)
			if n := v.Status().Revocations; n != 1 {
				t.Errorf("%d entries are kept", n)
			}
			issuer.Advance(2 * time.Second)
			want(t, v, issuer.Token(c.revoked), c.later)
			late := newVerifier(t, issuer) // learns of it from the snapshot
			want(t, late, revoked, latchkey.ErrInvalidToken)
			want(t, late, other, nil)
		})
	}
}

// No claim names a trusted issuer, so the tokens that it may have vouched for
// are introspected, until every node knows of the entry.
func TestTheFeedIntrospectsTokensThatAnEntryMayAffect(t *testing.T) {
	issuer := latchkeytest.New(t)
	v := newVerifier(t, issuer)
	before := issuer.Token()
	want(t, v, before, nil)
	issuer.RevokeIssuer("https://login.example.com", "another")
	until(t, func() bool { return v.Status().Revocations == 1 })
	issuer.Advance(5 * time.Second)
	asked := func(times int) {
		t.Helper()
		if n := issuer.RequestCount("/introspect"); n != times {
			t.Errorf("the issuer received %d introspection requests, want %d", n, times)
		}
	}
	want(t, v, issuer.Token(), nil) // issued later
	asked(0)
	for n := range 2 { // the other nodes may not know of it yet
		want(t, v, before, nil)
		asked(n + 1)
	}
	issuer.Advance(26 * time.Second)
	until(t, func() bool { return v.Status().Err == nil })
	for range 2 {
		want(t, v, before, nil)
		asked(3)
	}
	issuer.RevokeIssuer("https://login.example.com")
	until(t, func() bool {
		want(t, v, before, nil)
		return issuer.RequestCount("/introspect") > 3
	})
	issuer.SetDown(true)
	want(t, v, before, latchkey.ErrUnavailable)
}

func TestTheFeedDropsExpiredEntries(t *testing.T) {
	issuer := latchkeytest.New(t)
	v := newVerifier(t, issuer)
	issuer.RevokeSession("s")
	issuer.RevokeUser("bob")
	until(t, func() bool { return v.Status().Revocations == 2 })
	issuer.Advance(latchkeytest.AccessTokenLifetime + 2*time.Minute)
	until(t, func() bool { return v.Status().Revocations == 0 })
}

func TestTheFeedMissesNothingWhenItIsCut(t *testing.T) {
	issuer := latchkeytest.New(t)
	v := newVerifier(t, issuer)
	first, second, third := issuer.Token(claims{"sid": "1"}), issuer.Token(claims{"sid": "2"}), issuer.Token(claims{"sid": "3"})
	issuer.RevokeSession("1")
	untilRefused(t, v, first)
	issuer.CutStreams()
	issuer.RevokeSession("2")
	untilRefused(t, v, second)
	want(t, v, first, latchkey.ErrInvalidToken) // although the second snapshot does not name it
	want(t, v, third, nil)
	if n := issuer.RequestCount("/revocations"); n != 2 {
		t.Errorf("%d streams were opened", n)
	}
}

func TestALostFeedIsNotTrusted(t *testing.T) {
	for name, cut := range map[string]func(*latchkeytest.Issuer){
		"it is silent":      func(i *latchkeytest.Issuer) { i.SetSilent(true) },
		"it is unreachable": func(i *latchkeytest.Issuer) { i.SetDown(true) },
	} {
		t.Run(name, func(t *testing.T) {
			var logged log
			issuer := latchkeytest.New(t)
			v, asks := newVerifier(t, issuer, logged.into), newVerifier(t, issuer, logged.into, fallBack)
			seen, revoked := issuer.Token(), issuer.Token(claims{"sid": "gone"})
			for _, v := range []*resource.Verifier{v, asks} {
				want(t, v, seen, nil)
				want(t, v, revoked, nil)
			}
			known := issuer.Token(claims{"sid": "known"})
			issuer.RevokeSession("known")
			untilRefused(t, v, known)
			untilRefused(t, asks, known)
			cut(issuer)
			issuer.Advance(27 * time.Second)
			want(t, v, seen, nil)
			want(t, asks, seen, nil)
			issuer.Advance(4 * time.Second)
			until(t, func() bool {
				return logged.count("rejecting every token") == 1 && logged.count("introspecting every token") == 1
			})
			want(t, v, seen, latchkey.ErrUnavailable)
			want(t, v, issuer.Token(), latchkey.ErrUnavailable)
			want(t, v, known, latchkey.ErrInvalidToken) // it stays revoked
			want(t, v, issuer.ExpiredToken(), latchkey.ErrInvalidToken)
			if s := v.Status(); !errors.Is(s.Err, latchkey.ErrUnavailable) {
				t.Errorf("the status is %+v", s)
			}
			if name == "it is unreachable" {
				want(t, asks, seen, latchkey.ErrUnavailable)
			}
			issuer.SetDown(false)
			issuer.RevokeSession("gone")
			if name != "it is unreachable" { // otherwise the feed may be back
				want(t, asks, seen, nil)
				want(t, asks, revoked, latchkey.ErrInvalidToken)
			}
			issuer.SetSilent(false)
			until(t, func() bool { return v.Status().Err == nil && asks.Status().Err == nil })
			for _, v := range []*resource.Verifier{v, asks} {
				want(t, v, seen, nil)
				want(t, v, revoked, latchkey.ErrInvalidToken)
			}
			until(t, func() bool { return logged.count("feed restored") == 2 })
		})
	}
}

// Before the first snapshot no revocation is known.
func TestAFeedThatNeverStartedIsNotTrusted(t *testing.T) {
	for name, change := range map[string]func(*resource.VerifierOptions){
		"a wrong secret": func(o *resource.VerifierOptions) { o.ClientSecret = "wrong" },
		"a wrong client": func(o *resource.VerifierOptions) { o.ClientID = "wrong" },
	} {
		t.Run(name, func(t *testing.T) {
			var logged log
			issuer := latchkeytest.New(t)
			for _, v := range []*resource.Verifier{newVerifier(t, issuer, change, logged.into), newVerifier(t, issuer, change, logged.into, fallBack)} {
				want(t, v, issuer.Token(), latchkey.ErrUnavailable)
				if s := v.Status(); !errors.Is(s.Err, latchkey.ErrUnavailable) || !s.RevocationsAsOf.IsZero() {
					t.Errorf("the status is %+v", s)
				}
			}
			if n := logged.count("level=ERROR msg=\"latchkey: cannot follow revocations\""); n != 2 {
				t.Errorf("the log contains it %d times", n)
			}
		})
	}
}

// A feed that is down at the start is followed as soon as it is up.
func TestTheFeedMayStartLate(t *testing.T) {
	issuer := latchkeytest.New(t)
	issuer.SetDown(true)
	v := newVerifier(t, issuer)
	token, revoked := issuer.Token(), issuer.Token(claims{"sid": "s"})
	want(t, v, token, latchkey.ErrUnavailable)
	issuer.RevokeSession("s")
	issuer.SetDown(false)
	until(t, func() bool { return !v.Status().RevocationsAsOf.IsZero() })
	issuer.Advance(3 * time.Second)
	want(t, v, token, nil)
	want(t, v, revoked, latchkey.ErrInvalidToken)
}

// A proxy in front of the issuer may answer anything.
func TestAFeedThatIsNoStreamIsNotTrusted(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"a page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, goodSnapshot)
		},
		"a redirect": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusFound)
		},
		"a document": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, goodSnapshot)
		},
		"an empty stream": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/event-stream") },
	} {
		t.Run(name, func(t *testing.T) {
			issuer := latchkeytest.New(t)
			want(t, newVerifier(t, issuer, withResponse("/revocations", answer)), issuer.Token(), latchkey.ErrUnavailable)
		})
	}
	issuer := latchkeytest.New(t)
	want(t, newVerifier(t, issuer, withResponse("/revocations", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		_, _ = io.WriteString(w, goodSnapshot)
	})), issuer.Token(), nil)
}

const goodSnapshot = "event: snapshot\ndata: {\"as_of\":1,\"revoked\":[]}\n\n"

// A client's id and secret may contain any character (RFC 6749 §2.3.1), and no
// timeout may end the stream.
func TestTheFeedRequestIsComplete(t *testing.T) {
	issuer := latchkeytest.New(t)
	asked := make(chan *http.Request, 10)
	v := newVerifier(t, issuer, withResponse("/revocations", func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Clone(r.Context())
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "id: c.1.v\n"+goodSnapshot)
	}), func(o *resource.VerifierOptions) {
		o.ClientID, o.ClientSecret = "a:b", "100% +"
		o.HTTPClient.Timeout = time.Minute
	})
	want(t, v, issuer.Token(), nil)
	for _, last := range []string{"", "c.1.v"} {
		r := <-asked
		id, secret, _ := r.BasicAuth()
		if _, bounded := r.Context().Deadline(); bounded || id != "a%3Ab" || secret != "100%25+%2B" || r.Header.Get("Accept") != "text/event-stream" || r.Header.Get("Last-Event-ID") != last || r.URL.Query().Get("audience") != latchkeytest.Audience {
			t.Errorf("asked for %s with %v", r.URL, r.Header)
		}
	}
}

// The connection of a silent stream may be gone without either side having
// noticed.
func TestASilentStreamIsReplaced(t *testing.T) {
	issuer := latchkeytest.New(t)
	v := newVerifier(t, issuer)
	want(t, v, issuer.Token(), nil)
	issuer.SetSilent(true)
	issuer.Advance(31 * time.Second)
	until(t, func() bool { return issuer.RequestCount("/revocations") == 2 })
}
