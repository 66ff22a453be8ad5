package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	overloadFor  = 4 * time.Second
	feedStreams  = 500
	feedRevoked  = 20_000
	feedDeadline = 2 * time.Minute
)

// once runs a benchmark of a load only if it was asked for: `make bench-load`.
func once(b *testing.B) bool {
	if os.Getenv("LATCHKEY_BENCH_LOAD") == "" {
		b.Skip("only with LATCHKEY_BENCH_LOAD=1")
	}
	return b.N == 1
}

// exchangeLoad is what workers have seen that exchange client tokens, and repeat a
// refused request at once.
type exchangeLoad struct {
	accepted, refused, other atomic.Int64
	mu                       sync.Mutex
	took                     []time.Duration // of accepted requests
}

// run lets workers exchange tokens for a time, and returns the CPU time of the server.
func (l *exchangeLoad) run(d *deployment, workers int, tokens <-chan string) (µs float64) {
	transport := &http.Transport{MaxIdleConnsPerHost: workers, MaxConnsPerHost: workers}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	before, end := d.server.cpu(d.b), time.Now().Add(overloadFor)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for {
				var token string
				select {
				case token = <-tokens:
				default: // none is left; the caller sees it
					return
				}
				for begun := time.Now(); ; {
					if time.Now().After(end) {
						return
					}
					r := post("/token", url.Values{
						"grant_type": {tokenExchange}, "client_id": {"web"}, "subject_token": {token},
						"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
					})
					r.URL.Host = d.server.address
					resp, err := client.Do(r)
					if err != nil {
						l.other.Add(1)
						return
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if resp.StatusCode == http.StatusServiceUnavailable {
						l.refused.Add(1)
						continue
					}
					if resp.StatusCode != http.StatusOK {
						l.other.Add(1)
						return
					}
					l.accepted.Add(1)
					l.mu.Lock()
					l.took = append(l.took, time.Since(begun))
					l.mu.Unlock()
					break
				}
			}
		})
	}
	running.Wait()
	return d.server.cpu(d.b) - before
}

// BenchmarkOverload reports how many exchanges a node accepts and refuses while more
// workers call it than it can serve, and what a refusal costs: the CPU time beyond that
// of the accepted exchanges, which cost what they cost with 4 workers.
func BenchmarkOverload(b *testing.B) {
	if !once(b) {
		return
	}
	d := deploy(b)
	tokens := make(chan string, 3000)
	refill := func() {
		for i := 0; len(tokens) < cap(tokens); i++ {
			tokens <- d.clientToken(i % 100)
		}
	}
	refill()
	var alone exchangeLoad
	each := alone.run(d, 4, tokens) / float64(max(1, alone.accepted.Load()))
	if alone.refused.Load()+alone.other.Load() > 0 {
		b.Fatalf("4 workers: %d refused, %d others", alone.refused.Load(), alone.other.Load())
	}
	for _, workers := range []int{64, 150, 300, 600} {
		refill()
		var l exchangeLoad
		used := l.run(d, workers, tokens)
		accepted, refused := l.accepted.Load(), l.refused.Load()
		if l.other.Load() > 0 || accepted == 0 || len(tokens) == 0 {
			b.Errorf("%d workers: %d accepted, %d other answers", workers, accepted, l.other.Load())
			continue
		}
		slices.Sort(l.took)
		b.Logf("%d workers: %.0f exchanges and %.0f refusals a second; %.0f µs an exchange alone, %.0f µs a refusal; half of the exchanges within %v, 99 %% within %v",
			workers, float64(accepted)/overloadFor.Seconds(), float64(refused)/overloadFor.Seconds(), each,
			max(0, used-float64(accepted)*each)/float64(max(1, refused)),
			l.took[len(l.took)/2].Round(time.Millisecond), l.took[len(l.took)*99/100].Round(time.Millisecond))
	}
}

// BenchmarkFeed reports what it costs a node that 500 followers connect at once while
// 20,000 revocations are live.
func BenchmarkFeed(b *testing.B) {
	if !once(b) {
		return
	}
	d := deploy(b)
	_, err := d.database.Exec(`INSERT INTO events (id, at, tenant_id, type, session_id, client_id, issuer_id, subject, details, until)
		SELECT int8send(now_us + i) || int8send(i), now_us + i, 'default', 'session_ended', decode(md5(i::text), 'hex'), 'web', 'x', 'user-' || i, '{"reason":"signed_out"}', now_us + 3600000000
		FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us) t, generate_series(1, $1) i`, feedRevoked)
	must(b, err)
	ctx, cancel := context.WithTimeout(context.Background(), feedDeadline)
	defer cancel()
	for { // until the node has read them
		text := snapshot(b, ctx, d, nil)
		if n := strings.Count(text, `"sid"`); n >= feedRevoked {
			b.Logf("a snapshot has %d revocations and %d KiB", n, len(text)>>10)
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	before, memory, begun := d.server.cpu(b), d.server.resident(b), time.Now()
	var running sync.WaitGroup
	var got atomic.Int64
	for range feedStreams {
		running.Go(func() {
			if strings.Count(snapshot(b, ctx, d, &got), `"sid"`) < feedRevoked {
				b.Error("a snapshot is not complete")
			}
		})
	}
	running.Wait()
	took, used := time.Since(begun), d.server.cpu(b)-before
	b.Logf("%d streams, which connected %d times more, had their snapshots after %v: %.1f ms of CPU each; resident memory %d MiB before, %d MiB after, at most %d MiB",
		got.Load(), broken.Load(), took.Round(time.Millisecond), used/1000/feedStreams, memory>>20, d.server.resident(b)>>20, d.server.peak(b)>>20)
}

// broken counts the connections that ended before a response.
var broken atomic.Int64

// snapshot opens a stream of revocations and returns its first event. If connected is
// not nil, the stream counts there, and stays open until all are.
func snapshot(b *testing.B, ctx context.Context, d *deployment, connected *atomic.Int64) string {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.server.address+"/revocations", nil)
	if err != nil {
		b.Error(err)
		return ""
	}
	r.SetBasicAuth("backend", backendSecret)
	r.Header.Set("Accept", "text/event-stream")
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	for err != nil && ctx.Err() == nil { // the node closes connections that wait too long; a follower connects again
		broken.Add(1)
		time.Sleep(100 * time.Millisecond)
		resp, err = (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Errorf("a stream: %v %+v", err, resp)
		return ""
	}
	defer resp.Body.Close()
	var text strings.Builder
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() && (lines.Text() != "" || text.Len() == 0) {
		text.WriteString(lines.Text() + "\n")
	}
	if connected != nil {
		for connected.Add(1); connected.Load() < feedStreams && ctx.Err() == nil && !b.Failed(); time.Sleep(10 * time.Millisecond) {
			continue
		}
	}
	return text.String()
}

// resident returns the memory of a process, and peak the most that it has had.
func (p *process) resident(b *testing.B) int64 { return p.memory(b, "VmRSS:") }
func (p *process) peak(b *testing.B) int64     { return p.memory(b, "VmHWM:") }

func (p *process) memory(b *testing.B, name string) int64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	must(b, err)
	for line := range strings.Lines(string(text)) {
		if rest, is := strings.CutPrefix(line, name); is {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			must(b, err)
			return kib << 10
		}
	}
	b.Fatalf("no %s", name)
	return 0
}
