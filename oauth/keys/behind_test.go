package keys

import (
	"testing"

	"github.com/latchkey/latchkey/models"
)

func TestMatchesChain(t *testing.T) {
	k := keysOf(t, rootA, rootB)
	for _, kind := range []Kind{RefreshToken, SessionToken} {
		first := someHandle(k, kind, 3)
		chain := []Handle{first}
		for range maxBehind + 2 {
			chain = append(chain, k.Successor("default", chain[len(chain)-1]))
		}
		now := len(chain) - 2
		row := &models.Session{TenantID: "default"}
		*ChainOf(row, kind) = k.Chain("default", chain[now])
		altered := func(h Handle, change func(*Handle)) Handle { change(&h); return h }
		for _, c := range []struct {
			name string
			of   Handle
			want bool
		}{
			{"the current token", chain[now], true},
			{"the next token, which a failover may have lost", chain[now+1], true},
			{"the token before", chain[now-1], true},
			{"a token from many generations ago", chain[now-maxBehind], true},
			{"a token from more than maxBehind generations ago", chain[now-maxBehind-1], false},
			{"the current generation with another secret", altered(chain[now], func(h *Handle) { h.secret[0] ^= 1 }), false},
			{"an earlier generation with another secret", altered(chain[now-2], func(h *Handle) { h.secret[31] ^= 1 }), false},
			{"an earlier secret with another generation", altered(chain[now-2], func(h *Handle) { h.Generation++ }), false},
			{"a generation far ahead", altered(chain[now], func(h *Handle) { h.Generation += 2 }), false},
			{"another session", altered(chain[now-1], func(h *Handle) { h.Session[0] ^= 1 }), false},
			{"a token of a root that is not configured", altered(chain[now-1], func(h *Handle) { h.Version = 1 }), false},
		} {
			if got := k.Matches(row, c.of); got != c.want {
				t.Errorf("kind %d: %s: matches %t", kind, c.name, got)
			}
		}
		if k.Matches(&models.Session{TenantID: "default"}, first) {
			t.Errorf("kind %d: a token matches a session without such a chain", kind)
		}
	}
}
