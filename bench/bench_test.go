// Package bench measures what a request costs: the CPU time of the server and
// of PostgreSQL, beside what a signature (S) and an empty handler (H) cost on the
// same machine at the same moment. `make bench` runs it; it asserts no time.
package bench

import (
	"crypto/rsa"
	"net/http"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv(asEmpty) != "" {
		serveEmpty()
		return
	}
	os.Exit(m.Run())
}

// connections is how many requests are under way at a time.
const connections = 16

// warmUp is how many requests go before those that are measured.
const warmUp = 10 * connections

// flow is one kind of request, with the most that it may cost.
type flow struct {
	name     string
	memory   bool    // at the node that answers introspection from memory
	signs    float64 // S, and
	handlers float64 // H; both 0: no bound is set
	postgres float64 // µs; 0: no statement
	prepare  func(d *deployment, n int) func(worker, i int) *http.Request
	answered func(worker int, body []byte) // nil: nobody reads it
}

func BenchmarkFlows(b *testing.B) {
	d := deploy(b)
	chains := &refreshChains{}
	for _, f := range []flow{
		{name: "exchange", signs: 1, handlers: 10, postgres: 170, prepare: exchanges},
		{name: "refresh", signs: 1, handlers: 7, postgres: 170, prepare: chains.prepare, answered: chains.answered},
		{name: "client-credentials", signs: 1, handlers: 4, prepare: clientCredentials},
		{name: "introspect-read", handlers: 6, postgres: 50, prepare: introspections},
		{name: "introspect-from-memory", memory: true, handlers: 2.5, prepare: introspections},
		{name: "revoke", handlers: 6, postgres: 150, prepare: revocations},
		{name: "healthz", prepare: document("/healthz")},
		{name: "jwks", handlers: 1.3, prepare: document("/.well-known/jwks.json")},
		{name: "discovery", handlers: 1.3, prepare: document("/.well-known/openid-configuration")},
	} {
		b.Run(f.name, func(b *testing.B) { f.measure(b, d) })
	}
}

func (f flow) measure(b *testing.B, d *deployment) {
	server := d.server
	if f.memory {
		server = d.remembering
	}
	requests := f.prepare(d, warmUp+b.N)
	drive(b, server.address, 0, warmUp, requests, f.answered)
	s, h := signature(b, d.key), d.nothing(b, warmUp+b.N, requests)

	ours, theirs := server.cpu(b), d.database.cpu(b)
	b.ResetTimer()
	drive(b, server.address, warmUp, b.N, requests, f.answered)
	b.StopTimer()
	n := float64(b.N)
	ours, theirs = (server.cpu(b)-ours)/n, (d.database.cpu(b)-theirs)/n

	b.ReportMetric(s, "S-µs")
	b.ReportMetric(h, "H-µs")
	b.ReportMetric(ours, "server-µs/op")
	if bound := f.signs*s + f.handlers*h; bound > 0 {
		b.ReportMetric(ours/bound, "server/bound")
	}
	b.ReportMetric(theirs, "postgres-µs/op")
	if f.postgres > 0 {
		b.ReportMetric(theirs/f.postgres, "postgres/bound")
	}
}

// nothing is H: the CPU time, in µs, of the same requests where the handler is
// empty.
func (d *deployment) nothing(b *testing.B, n int, requests func(worker, i int) *http.Request) float64 {
	drive(b, d.empty.address, 0, warmUp, requests, nil)
	before := d.empty.cpu(b)
	drive(b, d.empty.address, 0, n, requests, nil)
	return (d.empty.cpu(b) - before) / float64(n)
}

// signature is S: the CPU time, in µs, of one RSA signature with a 2048 bit key.
func signature(b *testing.B, key *rsa.PrivateKey) float64 {
	const n = 100
	before := processCPU(b, os.Getpid())
	for range n {
		sign(b, key)
	}
	return (processCPU(b, os.Getpid()) - before) / n
}
