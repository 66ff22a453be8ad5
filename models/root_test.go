package models_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/latchkey/latchkey/models"
)

// uses returns what depends on a root: keys, shared secrets, client secrets,
// sessions, session tokens.
func (w *fixture) uses(version int64) string {
	w.Helper()
	all, err := w.RootUses(w.Context(), w.Now())
	must(w, err)
	u := all[version]
	if u == nil {
		return "nothing"
	}
	return fmt.Sprint(u.SigningKeys, u.SharedSecrets, u.ClientSecrets, u.Sessions, u.SessionTokens)
}

func TestRootUsesCountsLiveRows(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		w.apply(office())
		before := w.uses(1)
		must(t, w.add(signingKey("k", "RS256", start)))
		row := w.create(w.alice(func(n *models.NewSession) {
			n.SessionToken = models.Chain{Digest: digest(7), Next: digest(8), RootVersion: 1}
		}))
		ended := w.create(w.alice(func(n *models.NewSession) { n.ID, n.Token.Digest = models.NewSessionID(), []byte("other") }))
		must(t, w.EndSession(t.Context(), ended, w.Now(), "revoked"))
		if got := w.uses(1); before != "nothing" || got != "1 0 0 1 1" {
			t.Errorf("before %s, then %s", before, got)
		}
		all, err := w.RootUses(t.Context(), w.Now())
		must(t, err)
		if got := all[1].LastSession; !got.Equal(row.AbsoluteExpiry) {
			t.Errorf("the last session ends at %v, want %v", got, row.AbsoluteExpiry)
		}
		w.exec("UPDATE signing_keys SET retired_at = 1")
		w.clock.Advance(row.AbsoluteExpiry.Sub(w.Now()))
		if got := w.uses(1); got != "nothing" {
			t.Errorf("when all is over: %s", got)
		}
	})
}

// Nodes that change over one after the other must not carry rows back and forth.
func TestRowsMoveToLaterRootsOnly(t *testing.T) {
	each(t, func(t *testing.T, w *fixture) {
		row := w.create(w.alice(func(n *models.NewSession) {
			n.SessionToken = models.Chain{Digest: digest(7), Next: digest(8), RootVersion: 1}
		}))
		must(t, w.add(signingKey("k", "RS256", start)))
		move := func(from, to uint32) {
			t.Helper()
			must(t, w.RenewSessionToken(t.Context(), row.ID, digest(6+from), models.Chain{Digest: digest(6 + to), Next: digest(20), RootVersion: to}))
			must(t, w.Reseal(t.Context(), int64(to), func(models.SigningKey) []byte { return fmt.Append(nil, "sealed by ", to) }, nil))
		}
		want := func(root uint32) {
			t.Helper()
			if got := w.read(row.ID).SessionToken; got.RootVersion != root || string(got.Digest) != string(digest(6+root)) {
				t.Errorf("the session token is under root %d, want %d", got.RootVersion, root)
			}
			if got := w.keys()[0].RootVersion; got != int64(root) {
				t.Errorf("the key is under root %d, want %d", got, root)
			}
		}
		move(1, 2)
		want(1) // nobody issues under 2 yet
		must(t, w.IssueUnder(t.Context(), 1, w.Now()))
		w.clock.Advance(time.Second)
		must(t, w.IssueUnder(t.Context(), 2, w.Now()))
		move(1, 2)
		want(2)
		w.clock.Advance(time.Second)
		must(t, w.IssueUnder(t.Context(), 1, w.Now())) // a node that has not changed over starts again
		move(2, 1)
		want(2)
	})
}
