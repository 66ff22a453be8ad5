package main

import (
	"testing"
	"time"
)

func TestDevicesAreInWords(t *testing.T) {
	for agent, want := range map[string][2]string{
		firefox: {"computer", "Firefox on Windows"},
		iPhone:  {"phone", "Safari on iPhone"},
		"Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1": {"tablet", "Safari on iPad"},
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36":                {"phone", "Chrome on Android"},
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36":                  {"computer", "Chrome on Linux"},
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126":  {"computer", "Edge on Mac"},
		"Kettle/3.2 (iPhone; iOS 17.5; Scale/3.00)": {"phone", "An app on iPhone"},
		"Call +49 123 to keep your account/1.0":     {"computer", "An app"},
		"Go-http-client/1.1":                        {"computer", "An app"},
		"":                                          {"computer", "An app"},
	} {
		if kind, words := describe(agent); kind != want[0] || words != want[1] {
			t.Errorf("%q is a %s, %q, expected a %s, %q", agent, kind, words, want[0], want[1])
		}
	}
}

func TestAgo(t *testing.T) {
	now := time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		-time.Second: "just now", 119 * time.Second: "just now", 2 * time.Minute: "2 minutes ago", 59 * time.Minute: "59 minutes ago",
		time.Hour: "an hour ago", 2 * time.Hour: "2 hours ago", 24 * time.Hour: "yesterday", 48 * time.Hour: "2 days ago", 50 * 24 * time.Hour: "on 31 March 2026",
	} {
		if got := ago(now.Add(-d), now); got != want {
			t.Errorf("%s: %q, expected %q", d, got, want)
		}
	}
}
