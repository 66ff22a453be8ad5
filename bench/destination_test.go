package bench

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// destinations returns the event destinations of the configuration: as many as
// LATCHKEY_BENCH_DESTINATIONS says, whose receiver is in this process. They get the events
// that LATCHKEY_BENCH_EVENTS names, by default all.
func destinations(b *testing.B) string {
	b.Helper()
	n, err := strconv.Atoi(os.Getenv("LATCHKEY_BENCH_DESTINATIONS"))
	if err != nil || n < 1 {
		return ""
	}
	var got atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		got.Add(1)
	}))
	b.Cleanup(func() {
		receiver.Close()
		b.Logf("%d webhooks were received", got.Load())
	})
	events := ""
	if names := os.Getenv("LATCHKEY_BENCH_EVENTS"); names != "" {
		events = ", events: [" + names + "]"
	}
	var text strings.Builder
	text.WriteString("    event_destinations:\n")
	for i := range n {
		fmt.Fprintf(&text, "      - { id: hooks-%d, type: webhook, url: %s, allow_private_addresses: true, secret: whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=%s }\n", i, receiver.URL, events)
	}
	return text.String()
}

// BenchmarkIdle reports how much CPU time a node uses that nobody calls.
func BenchmarkIdle(b *testing.B) {
	if b.N > 1 {
		return // a request says nothing here
	}
	d := deploy(b)
	time.Sleep(5 * time.Second) // for the work after the start
	const span = 20 * time.Second
	ours, theirs := d.server.cpu(b), d.database.cpu(b)
	time.Sleep(span)
	b.ReportMetric((d.server.cpu(b)-ours)/1000/span.Seconds(), "server-ms/s")
	b.ReportMetric((d.database.cpu(b)-theirs)/1000/span.Seconds(), "postgres-ms/s")
}
