package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// urgent has the types of events that need a person, and what they mean.
var urgent = map[string]string{
	"session.ended.reuse_detected": "a refresh token was used twice and may have been stolen; the session was ended",
	"session.ended.inconsistent":   "a refresh token is newer than the database, which was restored or has lost data",
	"session.refresh_shared":       "two parties seem to share the refresh tokens of a session",
	"client_token.replayed":        "a client token was used twice and may have been copied",
	"key.retired":                  "a signing key was taken out of service",
}

// event is the body of a webhook.
type event struct {
	Type string
	Data struct{ Tenant, Session, User, Client string }
}

// rememberFor is how long a webhook is recognized when it is repeated. Latchkey repeats
// one for 3 days.
const rememberFor = 7 * 24 * time.Hour

// receiver counts events and posts the urgent ones. It keeps everything in memory: after
// a restart, counters begin at 0, and a repeated event counts again.
type receiver struct {
	webhook *standardwebhooks.Webhook
	slack   string // URL; empty: nothing is posted
	client  http.Client

	mu     sync.Mutex
	seen   map[string]time.Time // ids of webhooks
	counts map[string]int       // by type
}

func newReceiver(secret, slack string) (*receiver, error) {
	if !strings.HasPrefix(secret, "whsec_") {
		return nil, errors.New("WEBHOOK_SECRET must be the secret of the event destination: whsec_…")
	}
	webhook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return nil, err
	}
	r := &receiver{webhook: webhook, slack: slack, seen: map[string]time.Time{}, counts: map[string]int{}}
	r.client.Timeout = 5 * time.Second // Latchkey waits for 10 s
	for what := range urgent {
		r.counts[what] = 0 // a rule sees a counter rise only if it has seen it before
	}
	return r, nil
}

func (r *receiver) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /hooks", r.receive)
	mux.HandleFunc("GET /metrics", r.metrics)
	return mux
}

// receive accepts a webhook once the chat has its message. Otherwise Latchkey sends it
// again later, so nothing is lost while the chat is away.
func (r *receiver) receive(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, 1<<20))
	var e event
	if err != nil || r.webhook.Verify(body, q.Header) != nil || json.Unmarshal(body, &e) != nil {
		http.Error(w, "not a valid webhook", http.StatusUnauthorized)
		return
	}
	id := q.Header.Get(standardwebhooks.HeaderWebhookID)
	if r.known(id) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if meaning, is := urgent[e.Type]; is && r.slack != "" {
		if err := r.post(q, message(e, meaning)); err != nil {
			http.Error(w, "the chat did not accept the message", http.StatusServiceUnavailable)
			return
		}
	}
	r.count(id, e.Type, time.Now())
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) known(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.seen[id]
	return known
}

func (r *receiver) count(id, what string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.seen, func(_ string, at time.Time) bool { return now.Sub(at) > rememberFor })
	if _, known := r.seen[id]; !known {
		r.seen[id] = now
		r.counts[what]++
	}
}

// message returns the text about an event. Slack reads &, < and > as markup.
func message(e event, meaning string) string {
	text := fmt.Sprintf("Latchkey, tenant %s: %s (%s)", e.Data.Tenant, meaning, e.Type)
	for _, part := range []struct{ name, value string }{{"user", e.Data.User}, {"client", e.Data.Client}, {"session", e.Data.Session}} {
		if part.value != "" {
			text += fmt.Sprintf(", %s %s", part.name, part.value)
		}
	}
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

func (r *receiver) post(q *http.Request, text string) error {
	body, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		return err
	}
	post, err := http.NewRequestWithContext(q.Context(), http.MethodPost, r.slack, bytes.NewReader(body))
	if err != nil {
		return err
	}
	post.Header.Set("Content-Type", "application/json")
	resp, err := r.client.Do(post)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("the chat answered %d", resp.StatusCode)
	}
	return nil
}

// metrics writes the counters in the text format of Prometheus.
func (r *receiver) metrics(w http.ResponseWriter, _ *http.Request) {
	r.mu.Lock()
	counts := maps.Clone(r.counts)
	r.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	fmt.Fprint(w, "# HELP latchkey_received_events_total Events of Latchkey that were received, by type.\n# TYPE latchkey_received_events_total counter\n")
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(w, "latchkey_received_events_total{type=%q} %d\n", what, counts[what])
	}
}
