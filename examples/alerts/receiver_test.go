package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// chat is a Slack-shaped webhook.
type chat struct {
	answer int
	texts  []string
}

func (c *chat) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var message struct{ Text string }
	if json.NewDecoder(r.Body).Decode(&message) != nil || message.Text == "" {
		http.Error(w, "invalid_payload", http.StatusBadRequest)
		return
	}
	if c.answer == http.StatusOK {
		c.texts = append(c.texts, message.Text)
	}
	w.WriteHeader(c.answer)
}

// send delivers an event as Latchkey does, and returns the status of the answer.
func send(t *testing.T, to http.Handler, key, id, body string) int {
	t.Helper()
	hook, err := standardwebhooks.NewWebhook(key)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	signature, err := hook.Sign(id, now, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/hooks", strings.NewReader(body))
	r.Header.Set("webhook-id", id)
	r.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	r.Header.Set("webhook-signature", signature)
	w := httptest.NewRecorder()
	to.ServeHTTP(w, r)
	return w.Code
}

func TestEventsAreCountedAndUrgentOnesPosted(t *testing.T) {
	const (
		created = `{"type":"session.created","data":{"tenant":"acme","user":"alice"}}`
		stolen  = `{"type":"session.ended.reuse_detected","data":{"tenant":"acme","user":"<alice>","client":"web","session":"6KYm"}}`
	)
	c := &chat{answer: http.StatusOK}
	slack := httptest.NewServer(c)
	defer slack.Close()
	r, err := newReceiver(secret, slack.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name, key, id, body string
		chat, want          int
	}{
		{"an event that nobody needs to read", secret, "1", created, 200, 204},
		{"the same again", secret, "1", created, 200, 204},
		{"a wrong signature", "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=", "2", stolen, 200, 401},
		{"an urgent event while the chat is busy", secret, "3", stolen, 429, 503},
		{"the same, repeated", secret, "3", stolen, 200, 204},
		{"the same, repeated after it was accepted", secret, "3", stolen, 200, 204},
	} {
		c.answer = step.chat
		if got := send(t, r.handler(), step.key, step.id, step.body); got != step.want {
			t.Errorf("%s: status %d, want %d", step.name, got, step.want)
		}
	}
	const text = "Latchkey, tenant acme: a refresh token was used twice and may have been stolen; the session was ended (session.ended.reuse_detected), user &lt;alice&gt;, client web, session 6KYm"
	if len(c.texts) != 1 || c.texts[0] != text {
		t.Errorf("posted %q", c.texts)
	}
	w := httptest.NewRecorder()
	r.handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{
		`latchkey_received_events_total{type="session.created"} 1`, `latchkey_received_events_total{type="session.ended.reuse_detected"} 1`,
		`latchkey_received_events_total{type="key.retired"} 0`,
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("no line %q in\n%s", line, w.Body)
		}
	}
}

func TestASecretIsRequired(t *testing.T) {
	if _, err := newReceiver("", ""); err == nil || !strings.Contains(err.Error(), "WEBHOOK_SECRET") {
		t.Errorf("without a secret: %v", err)
	}
}
