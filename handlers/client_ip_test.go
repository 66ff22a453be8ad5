package handlers

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

func TestEveryFormOfAForwardedAddressIsRead(t *testing.T) {
	for _, c := range []struct{ forwarded, want string }{
		{"203.0.113.7", "203.0.113.7"},
		{"203.0.113.7:54321", "203.0.113.7"},
		{`"203.0.113.7:54321"`, "203.0.113.7"},
		{"2001:db8::7", "2001:db8::7"},
		{"[2001:db8::7]", "2001:db8::7"},
		{"[2001:db8::7]:443", "2001:db8::7"},
		{`"[2001:DB8:0::7]:443"`, "2001:db8::7"},
		{"::ffff:203.0.113.7", "203.0.113.7"},
		{"fe80::1%eth0", "fe80::1"},
		{"198.51.100.1, 203.0.113.7:1", "203.0.113.7"},
		{"203.0.113.7:1, 10.0.0.9:2", "203.0.113.7"},
		{"203.0.113.7, ", "203.0.113.7"},
		{"", "10.0.0.1"},
	} {
		var log bytes.Buffer
		p, err := parseProxies([]string{"10.0.0.0/8"}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		r := &http.Request{RemoteAddr: "10.0.0.1:5000", Header: http.Header{"X-Forwarded-For": {c.forwarded}}}
		if got := p.clientIP(r); got != c.want {
			t.Errorf("%q: client IP %q, want %q", c.forwarded, got, c.want)
		}
		if log.Len() > 0 {
			t.Errorf("%q: %s", c.forwarded, log.String())
		}
		r.RemoteAddr = "192.0.2.1:5000"
		if got := p.clientIP(r); got != "192.0.2.1" {
			t.Errorf("%q is used although the proxy is not trusted: %q", c.forwarded, got)
		}
	}
}

func TestAProxyWhoseHeaderCannotBeReadIsReportedOnce(t *testing.T) {
	for name, h := range map[string]http.Header{
		"not an address": {"X-Forwarded-For": {"198.51.100.1, unknown"}},
		"a name":         {"X-Forwarded-For": {"client.example:80"}},
		"Forwarded":      {"Forwarded": {"for=198.51.100.1"}},
	} {
		var log bytes.Buffer
		p, err := parseProxies([]string{"10.0.0.1"}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if got := p.clientIP(&http.Request{RemoteAddr: "10.0.0.1:5000", Header: h}); got != "10.0.0.1" {
				t.Errorf("%s: client IP %q", name, got)
			}
		}
		if lines := strings.Count(log.String(), "\n"); lines != 1 || strings.Contains(log.String(), "198.51") || strings.Contains(log.String(), "client.example") {
			t.Errorf("%s: %d lines: %s", name, lines, log.String())
		}
	}
}
