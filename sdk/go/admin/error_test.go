package admin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/admin"
)

func get(ctx context.Context, c *admin.Client) error {
	_, err := c.Clients.Get(ctx, "default", "web")
	return err
}

func patch(ctx context.Context, c *admin.Client) error {
	_, err := c.Clients.Patch(ctx, "default", "web", nil)
	return err
}

func remove(ctx context.Context, c *admin.Client) error {
	return c.Clients.Delete(ctx, "default", "web")
}

func putIf(ctx context.Context, c *admin.Client) error {
	_, err := c.Clients.Put(ctx, "default", "web", nil, admin.IfMatch(`"1"`))
	return err
}

func put(ctx context.Context, c *admin.Client) error {
	_, err := c.Clients.Put(ctx, "default", "web", admin.Settings{"auth": "none"})
	return err
}

func putWithoutSecret(ctx context.Context, c *admin.Client) error {
	_, err := c.Clients.Put(ctx, "default", "web", admin.Settings{"auth": "secret"})
	return err
}

func TestAnErrorReportsEveryFault(t *testing.T) {
	s := newFakeServer(t, answer(400, `{"title":"Bad Request","status":400,"code":"invalid_request","detail":"The request is not valid; errors lists what is wrong","errors":[{"pointer":"/claims/a~1b","detail":"does not compile"},{"parameter":"limit","detail":"is too large"},{"detail":"the body is missing"}]}`))
	err := patch(t.Context(), s.client)
	var refusal *latchkey.Error
	if !errors.As(err, &refusal) {
		t.Fatal(err)
	}
	if refusal.StatusCode != 400 || refusal.Code != "invalid_request" || len(refusal.Faults) != 3 || refusal.Faults[0].Pointer != "/claims/a~1b" || refusal.Faults[1].Parameter != "limit" {
		t.Errorf("%+v", refusal)
	}
	if want := "latchkey: 400 invalid_request: The request is not valid; errors lists what is wrong; /claims/a~1b: does not compile; limit: is too large; the body is missing"; err.Error() != want {
		t.Errorf("the error is %s", err)
	}
	if errors.Is(err, latchkey.ErrUnavailable) || errors.Is(err, latchkey.ErrInvalidToken) {
		t.Error("it matches another error")
	}
}

func TestErrorsReportWhetherToRetry(t *testing.T) {
	page := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
		}
	}
	for name, c := range map[string]struct {
		answer      http.HandlerFunc
		unavailable bool
		text        string
	}{
		"throttled":             {problem(429, "too_many_failures", "Retry-After: 7"), true, "429 too_many_failures"},
		"a fault of the server": {problem(500, "server_error"), true, "500 server_error"},
		"a stale change":        {problem(412, "precondition_failed"), false, "412 precondition_failed"},
		"a page of a proxy":     {page(502), true, "status 502, which is not from the admin API"},
		"another server":        {page(404), false, "unexpected response to PATCH /admin/v1/tenants/default/clients/web: status 404"},
		"a redirect":            {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, false, "status 302"},
		"no response":           {cut, true, "EOF"},
		"no JSON":               {answer(200, "<html>"), true, "invalid JSON in the response from PATCH"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFakeServer(t, c.answer)
			err := patch(t.Context(), s.client)
			if err == nil || errors.Is(err, latchkey.ErrUnavailable) != c.unavailable || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v", err)
			}
			if n := len(s.seen()); n != 1 {
				t.Errorf("%d requests", n)
			}
			if strings.Contains(err.Error(), key) {
				t.Error("it contains the key")
			}
		})
	}
	s := newFakeServer(t, problem(429, "too_many_failures", "Retry-After: 7"))
	var refusal *latchkey.Error
	if err := get(t.Context(), s.client); !errors.As(err, &refusal) || refusal.RetryAfter != 7*time.Second {
		t.Errorf("%v", err)
	}
}

func TestOnlySafeRequestsAreRetried(t *testing.T) {
	busy, ok := problem(503, "temporarily_unavailable"), answer(200, "{}")
	for name, c := range map[string]struct {
		call    func(context.Context, *admin.Client) error
		answers []http.HandlerFunc
		sent    int
		fails   bool
	}{
		"retries a read":                           {get, []http.HandlerFunc{busy, cut, ok}, 3, false},
		"retries a replacement":                    {put, []http.HandlerFunc{cut, ok}, 2, false},
		"does not retry if a secret would be lost": {putWithoutSecret, []http.HandlerFunc{cut, ok}, 1, true},
		"does not retry a conditional change":      {putIf, []http.HandlerFunc{cut, ok}, 1, true},
		"does not retry a patch":                   {patch, []http.HandlerFunc{busy, ok}, 1, true},
		"retries a removal":                        {remove, []http.HandlerFunc{cut, answer(204, "")}, 2, false},
		"retries a removal that had succeeded":     {remove, []http.HandlerFunc{cut, problem(404, "not_found")}, 2, false},
		"reports the removal of nothing":           {remove, []http.HandlerFunc{problem(404, "not_found")}, 1, true},
		"does not retry what is refused":           {get, []http.HandlerFunc{problem(403, "forbidden"), ok}, 1, true},
		"does not retry a fault of the server":     {get, []http.HandlerFunc{problem(500, "server_error"), ok}, 1, true},
		"does not retry with a throttled key":      {get, []http.HandlerFunc{problem(429, "too_many_failures", "Retry-After: 0"), ok}, 1, true},
		"does not wait for hours":                  {get, []http.HandlerFunc{problem(503, "temporarily_unavailable", "Retry-After: 7200"), ok}, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFakeServer(t, c.answers...)
			err := c.call(t.Context(), s.client)
			if n := len(s.seen()); n != c.sent || (err != nil) != c.fails {
				t.Errorf("%d requests, %v", n, err)
			}
		})
	}
}

func TestRetriesEndWithTheRetryWindow(t *testing.T) {
	s := newFakeServer(t, problem(503, "temporarily_unavailable"))
	for window, most := range map[time.Duration]int{-1: 1, 200 * time.Millisecond: 4} {
		before := len(s.seen())
		c, err := admin.New(admin.Config{Server: s.URL, Key: key, RetryWindow: window})
		if err != nil {
			t.Fatal(err)
		}
		if err := get(t.Context(), c); !errors.Is(err, latchkey.ErrUnavailable) {
			t.Error(err)
		}
		if n := len(s.seen()) - before; n < 1 || n > most {
			t.Errorf("window %s: %d requests", window, n)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := get(ctx, s.client); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestTheKeyIsSentOnlyOverSecureConnections(t *testing.T) {
	for server, want := range map[string]string{
		"http://id.example.com":            "expected https",
		"http://192.0.2.1:8081":            "expected https",
		"http://localhost.example.com":     "expected https",
		"ftp://127.0.0.1":                  "expected https",
		"127.0.0.1:8081":                   "invalid Server",
		"":                                 "invalid Server",
		"https://alice:pw@id.example.com":  "invalid Server",
		"https://id.example.com/?tenant=a": "invalid Server",
		"https://id.example.com":           "",
		"https://id.example.com/latchkey/": "",
		"http://127.0.0.1:8081":            "",
		"http://[::1]:8081":                "",
		"http://localhost:8081":            "",
	} {
		_, err := admin.New(admin.Config{Server: server, Key: key})
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pw")) {
			t.Errorf("%s: %v", server, err)
		}
	}
	for _, wrong := range []string{"", "lk_ak_a b", "lk_ak_a\n", "lk_ak_é"} {
		if _, err := admin.New(admin.Config{Server: "https://id.example.com", Key: wrong}); err == nil || wrong != "" && strings.Contains(err.Error(), wrong) {
			t.Errorf("key %q: %v", wrong, err)
		}
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	config := admin.Config{Server: "https://id.example.com", Key: key}
	client, err := admin.New(config)
	if err != nil {
		t.Fatal(err)
	}
	made := &admin.AdminKey{ID: "k1", Name: "n", Role: "owner", Key: key}
	var printed bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&printed, nil))
	for _, v := range []any{config, client, *client, made, *made, admin.NewSecret{Secret: key}, admin.ExplainParams{SubjectToken: key}, admin.ClientToken{Token: key}, admin.AppClient{Secret: key}, &admin.AppClient{Secret: key}} {
		fmt.Fprintf(&printed, "%v %+v %#v %s\n", v, v, v, v)
		if _, hides := v.(slog.LogValuer); hides {
			log.Info("used", "value", v)
		}
	}
	if strings.Contains(printed.String(), key) {
		t.Errorf("printed:\n%s", printed.String())
	}
}
