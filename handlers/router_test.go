package handlers

import "testing"

func TestHSTSIsSetOnlyForPublicHosts(t *testing.T) {
	for issuer, want := range map[string]bool{
		"https://id.example.com": true, "https://id.example.com:8443": true, "https://localhost.example.com": true, "https://203.0.113.7": true,
		"https://localhost:8443": false, "https://localhost.": false, "https://app.localhost": false,
		"https://127.0.0.1:8443": false, "https://127.9.9.9": false, "https://[::1]:8443": false, "http://id.example.com": false,
	} {
		if got := mayUseHSTS(issuer); got != want {
			t.Errorf("%s: %v, want %v", issuer, got, want)
		}
	}
}
