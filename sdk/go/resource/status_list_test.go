package resource_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
	"github.com/latchkey/latchkey/sdk/go/resource"
)

const listPath = "/status/1"

func statusList(o *resource.VerifierOptions) { o.Revocation = resource.StatusList }

// longClaims make a token outlive the times that a test waits for.
func longClaims(issuer *latchkeytest.Issuer) claims {
	return claims{"exp": issuer.Now().Add(3 * time.Hour).Unix()}
}

func TestAStatusListShowsWhatIsRevokedWithinItsTTL(t *testing.T) {
	issuer := latchkeytest.New(t)
	v := newVerifier(t, issuer, statusList)
	a, b := issuer.Token(issuer.StatusClaims("a")), issuer.Token(issuer.StatusClaims("b"))
	for range 3 {
		want(t, v, a, nil)
		want(t, v, b, nil)
	}
	if n := issuer.RequestCount(listPath); n != 1 {
		t.Errorf("the list was fetched %d times", n)
	}
	issuer.RevokeSession("b")
	issuer.Advance(61 * time.Second)
	want(t, v, a, nil)
	want(t, v, b, latchkey.ErrInvalidToken)
	if n := issuer.RequestCount(listPath); n != 2 {
		t.Errorf("the list was fetched %d times", n)
	}
}

// A list is used until it expires, and no longer.
func TestAStatusListIsUsedWhileTheIssuerIsDown(t *testing.T) {
	issuer := latchkeytest.New(t)
	v := newVerifier(t, issuer, statusList)
	token := issuer.Token(issuer.StatusClaims("a"), longClaims(issuer))
	want(t, v, token, nil)
	issuer.SetDown(true)
	issuer.Advance(295 * time.Second)
	for range 3 {
		want(t, v, token, nil)
	}
	issuer.Advance(6 * time.Second)
	want(t, v, token, latchkey.ErrUnavailable)
	issuer.SetDown(false)
	issuer.Advance(3 * time.Second)
	want(t, v, token, nil)
}

func TestAStatusListIsFetchedOnce(t *testing.T) {
	issuer := latchkeytest.New(t)
	v := newVerifier(t, issuer, statusList)
	var asking sync.WaitGroup
	token := issuer.Token(issuer.StatusClaims("a"))
	for range 50 {
		asking.Go(func() { want(t, v, token, nil) })
	}
	asking.Wait()
	if n := issuer.RequestCount(listPath); n != 1 {
		t.Errorf("the list was fetched %d times", n)
	}
}

func TestAStatusMustBeInAListOfTheIssuer(t *testing.T) {
	issuer := latchkeytest.New(t)
	other := latchkeytest.New(t)
	v := newVerifier(t, issuer, statusList)
	want(t, v, issuer.Token(issuer.StatusClaims("a")), nil)
	status := func(idx any, uri string) claims {
		return claims{"status": claims{"status_list": claims{"idx": idx, "uri": uri}}}
	}
	for name, token := range map[string]string{
		"no status":                   issuer.Token(),
		"another mechanism":           issuer.Token(claims{"status": claims{"other": 1}}),
		"no index":                    issuer.Token(claims{"status": claims{"status_list": claims{"uri": issuer.URL + listPath}}}),
		"a negative index":            issuer.Token(status(-1, issuer.URL+listPath)),
		"an index behind the list":    issuer.Token(status(8, issuer.URL+listPath)),
		"an index far behind it":      issuer.Token(status(uint64(1<<63), issuer.URL+listPath)),
		"a status that is text":       issuer.Token(claims{"status": "valid"}),
		"a list of another issuer":    issuer.Token(status(0, other.URL+listPath)),
		"a host that begins like it":  issuer.Token(status(0, issuer.URL+"0"+listPath)),
		"a user before the host":      issuer.Token(status(0, issuer.URL+"@example.com"+listPath)),
		"a path that leads elsewhere": issuer.Token(status(0, issuer.URL+"/../status/1")),
		"the same in other letters":   issuer.Token(status(0, issuer.URL+"/%2e%2e/status/1")),
		"a query":                     issuer.Token(status(0, issuer.URL+listPath+"?time=1")),
		"the issuer itself":           issuer.Token(status(0, issuer.URL+"/")),
	} {
		t.Run(name, func(t *testing.T) { want(t, v, token, latchkey.ErrInvalidToken) })
	}
	if n := other.RequestCount(listPath); n != 0 {
		t.Error("another issuer received a request")
	}
}

// A faulty list does not condemn a token: the client must not lose its session
// for it.
func TestAnInvalidStatusListVerifiesNoToken(t *testing.T) {
	issuer := latchkeytest.New(t)
	stranger := latchkeytest.New(t)
	good := func(more claims) claims {
		now := issuer.Now().Unix()
		c := claims{"iss": issuer.URL, "sub": issuer.URL + listPath, "iat": now, "exp": now + 300, "ttl": 60, "status_list": latchkeytest.StatusListClaim(1, []byte{0b10})}
		for name, value := range more {
			if c[name] = value; value == nil {
				delete(c, name)
			}
		}
		return c
	}
	bomb := latchkeytest.StatusListClaim(1, make([]byte, 8<<20+1))
	for name, c := range map[string]struct {
		list string
		err  error
	}{
		"a good one":            {issuer.Sign("statuslist+jwt", good(nil)), nil},
		"with its whole type":   {issuer.Sign("application/statuslist+jwt", good(nil)), nil},
		"without a ttl":         {issuer.Sign("statuslist+jwt", good(claims{"ttl": nil})), nil},
		"without an end":        {issuer.Sign("statuslist+jwt", good(claims{"exp": nil})), nil},
		"without an issuer":     {issuer.Sign("statuslist+jwt", good(claims{"iss": nil})), nil},
		"of two bits":           {issuer.Sign("statuslist+jwt", good(claims{"status_list": latchkeytest.StatusListClaim(2, []byte{0b100})})), nil},
		"8 MiB":                 {issuer.Sign("statuslist+jwt", good(claims{"status_list": latchkeytest.StatusListClaim(1, make([]byte, 8<<20))})), nil},
		"suspended":             {issuer.Sign("statuslist+jwt", good(claims{"status_list": latchkeytest.StatusListClaim(2, []byte{2})})), latchkey.ErrInvalidToken},
		"of a meaning unknown":  {issuer.Sign("statuslist+jwt", good(claims{"status_list": latchkeytest.StatusListClaim(4, []byte{12})})), latchkey.ErrInvalidToken},
		"empty":                 {issuer.Sign("statuslist+jwt", good(claims{"status_list": latchkeytest.StatusListClaim(1, nil)})), latchkey.ErrInvalidToken},
		"an access token":       {issuer.Sign("at+jwt", good(nil)), latchkey.ErrUnavailable},
		"of another signature":  {stranger.Sign("statuslist+jwt", good(nil)), latchkey.ErrUnavailable},
		"of an unknown key":     {issuer.SignText(`{"alg":"ES256","typ":"statuslist+jwt","kid":"other"}`, "{}"), latchkey.ErrUnavailable},
		"another list":          {issuer.Sign("statuslist+jwt", good(claims{"sub": issuer.URL + "/status/2"})), latchkey.ErrUnavailable},
		"without its name":      {issuer.Sign("statuslist+jwt", good(claims{"sub": nil})), latchkey.ErrUnavailable},
		"of another issuer":     {issuer.Sign("statuslist+jwt", good(claims{"iss": stranger.URL})), latchkey.ErrUnavailable},
		"expired":               {issuer.Sign("statuslist+jwt", good(claims{"exp": issuer.Now().Unix() - 1})), latchkey.ErrUnavailable},
		"of the future":         {issuer.Sign("statuslist+jwt", good(claims{"iat": issuer.Now().Unix() + 60})), latchkey.ErrUnavailable},
		"without its beginning": {issuer.Sign("statuslist+jwt", good(claims{"iat": nil})), latchkey.ErrUnavailable},
		"with a ttl of nothing": {issuer.Sign("statuslist+jwt", good(claims{"ttl": 0})), latchkey.ErrUnavailable},
		"of three bits":         {issuer.Sign("statuslist+jwt", good(claims{"status_list": latchkeytest.StatusListClaim(3, []byte{0})})), latchkey.ErrUnavailable},
		"that does not inflate": {issuer.Sign("statuslist+jwt", good(claims{"status_list": claims{"bits": 1, "lst": "AAAA"}})), latchkey.ErrUnavailable},
		"that inflates too far": {issuer.Sign("statuslist+jwt", good(claims{"status_list": bomb})), latchkey.ErrUnavailable},
		"without a list":        {issuer.Sign("statuslist+jwt", good(claims{"status_list": nil})), latchkey.ErrUnavailable},
		"too long":              {strings.Repeat("x", 8<<20+1), latchkey.ErrUnavailable},
		"no token":              {"x", latchkey.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, issuer, statusList, withResponse(listPath, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Accept") != "application/statuslist+jwt" || r.Header.Get("Authorization") != "" {
					t.Errorf("asked with %v", r.Header)
				}
				_, _ = io.WriteString(w, c.list)
			}))
			token := issuer.Token(claims{"status": claims{"status_list": claims{"idx": 0, "uri": issuer.URL + listPath}}})
			want(t, v, token, c.err)
		})
	}
}

func TestATTLIsBounded(t *testing.T) {
	for name, c := range map[string]struct{ ttl, fresh, old int }{
		"short": {1, 3, 6}, "long": {86400, 2600, 3601}, "within": {100, 70, 101},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := latchkeytest.New(t)
			var asked atomic.Int32
			v := newVerifier(t, issuer, statusList, withResponse(listPath, func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				_, _ = io.WriteString(w, issuer.Sign("statuslist+jwt", claims{
					"sub": issuer.URL + listPath, "iat": issuer.Now().Unix(), "ttl": c.ttl, "status_list": latchkeytest.StatusListClaim(1, []byte{0}),
				}))
			}))
			token := issuer.Token(issuer.StatusClaims("a"), longClaims(issuer))
			for _, step := range []struct {
				after int
				asked int32
			}{{0, 1}, {c.fresh, 1}, {c.old - c.fresh, 2}} {
				issuer.Advance(time.Duration(step.after) * time.Second)
				want(t, v, token, nil)
				if got := asked.Load(); got != step.asked {
					t.Errorf("after %d s the list was fetched %d times, want %d", step.after, got, step.asked)
				}
			}
		})
	}
}
