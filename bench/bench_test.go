// Package bench measures the cost of a request: the CPU time of the server and of
// PostgreSQL, compared with that of a signature (S) and an empty handler (H) on the
// same machine at the same time. `make bench` runs it; it asserts no durations.
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

// connections is the number of concurrent requests.
const connections = 16

// warmUp is the number of requests before the measured ones.
const warmUp = 10 * connections

// flow is one kind of request, with its maximum cost.
type flow struct {
	name     string
	memory   bool    // use the node that introspects from memory
	signs    float64 // maximum in S, plus
	handlers float64 // this many H; both 0: no maximum
	postgres float64 // maximum in µs; 0: sends no statement
	prepare  func(d *deployment, n int) func(worker, i int) *http.Request
	answered func(worker int, body []byte) // handles the response; may be nil
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
		server = d.memory
	}
	requests := f.prepare(d, warmUp+b.N)
	drive(b, server.address, 0, warmUp, requests, f.answered)
	s, h := signature(b, d.key), d.emptyHandler(b, warmUp+b.N, requests)

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

// emptyHandler measures H: the CPU time, in µs, of the same requests to an empty
// handler.
func (d *deployment) emptyHandler(b *testing.B, n int, requests func(worker, i int) *http.Request) float64 {
	drive(b, d.empty.address, 0, warmUp, requests, nil)
	before := d.empty.cpu(b)
	drive(b, d.empty.address, 0, n, requests, nil)
	return (d.empty.cpu(b) - before) / float64(n)
}

// signature measures S: the CPU time, in µs, of one RSA signature with a 2048-bit key.
func signature(b *testing.B, key *rsa.PrivateKey) float64 {
	const n = 100
	before := processCPU(b, os.Getpid())
	for range n {
		sign(b, key)
	}
	return (processCPU(b, os.Getpid()) - before) / n
}
