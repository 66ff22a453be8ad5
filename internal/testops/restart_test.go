package testops

import (
	"fmt"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

// By then every pooled connection is broken, and the clock has not moved, so none is
// due for a check.
func TestTheFirstRequestsAfterADatabaseRestartSucceed(t *testing.T) {
	cluster := testdb.NewCluster(t)
	d := testserver.NewDeployment(t, testserver.Options{DatabaseURL: cluster.URL()})
	tokens := make([]string, 8)
	for i := range tokens {
		tokens[i] = d.SignIn(fmt.Sprint("user-", i)).Text("refresh_token")
	}
	for _, mode := range []testdb.Mode{testdb.Fast, testdb.Immediate} {
		refresh := func(i int) *testserver.Answer { return d.Refresh("", "web", tokens[i]) }
		for i, a := range testserver.InParallel(len(tokens), refresh) { // the pool has several connections
			tokens[i] = d.Want(200, "", a).Text("refresh_token")
		}
		cluster.Restart(mode)
		d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, "alice", nil)))
		for i, a := range testserver.InParallel(len(tokens), refresh) {
			tokens[i] = d.Want(200, "", a).Text("refresh_token")
		}
		d.Want(200, "", d.Get("/readyz"))
	}
}
