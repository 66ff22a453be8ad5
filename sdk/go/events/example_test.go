package events_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/events"
	"github.com/latchkey/latchkey/sdk/go/latchkeytest"
)

// A handler that receives webhooks. It answers before it handles the event, because
// Latchkey sends the next event of the session only after the answer.
func ExampleWebhooks() {
	webhooks, err := events.NewWebhooks(secret) // the secret of the event destination
	if err != nil {
		panic(err)
	}
	var seen sync.Map // ids of events: keep them in your database, for a week
	handler := func(w http.ResponseWriter, r *http.Request) {
		event, err := webhooks.Read(r)
		if err != nil {
			http.Error(w, "not a valid webhook", http.StatusUnauthorized)
			return
		}
		if _, repeated := seen.LoadOrStore(event.ID, true); !repeated {
			fmt.Println(event.Type, event.User, event.Session)
		}
		w.WriteHeader(http.StatusNoContent)
	}

	// What Latchkey sends, twice:
	hook, _ := standardwebhooks.NewWebhook(secret)
	for range 2 {
		now := time.Now()
		signature, _ := hook.Sign("AAZhf8JqwRWbP9XgbfwR4w", now, []byte(body))
		r := httptest.NewRequest(http.MethodPost, "/hooks", strings.NewReader(body))
		r.Header.Set("webhook-id", "AAZhf8JqwRWbP9XgbfwR4w")
		r.Header.Set("webhook-timestamp", fmt.Sprint(now.Unix()))
		r.Header.Set("webhook-signature", signature)
		w := httptest.NewRecorder()
		handler(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// session.ended.signed_out alice s1
	// 204
	// 204
}

// A handler that receives pushed security event tokens (RFC 8935).
func ExampleVerifier() {
	issuer := latchkeytest.Start() // in a program, a Latchkey tenant
	defer issuer.Close()
	verifier, err := events.NewVerifier(issuer.URL, "risk-engine", events.Options{})
	if err != nil {
		panic(err)
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
		if err != nil {
			return
		}
		event, err := verifier.Verify(r.Context(), string(text))
		switch {
		case errors.Is(err, latchkey.ErrUnavailable):
			w.WriteHeader(http.StatusServiceUnavailable) // it is sent again
			return
		case err != nil:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"err":"invalid_request","description":"the token was not accepted"}`)
			return
		}
		if event.Type == events.SessionRevoked {
			fmt.Println("end session", event.Session, "of", event.User)
		}
		w.WriteHeader(http.StatusAccepted)
	}

	token := issuer.Sign("secevent+jwt", set(issuer, nil))
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/events", strings.NewReader(token))
	w := httptest.NewRecorder()
	handler(w, r)
	fmt.Println(w.Code)
	// Output:
	// end session s1 of alice
	// 202
}
