package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

// A stream outlasts every limit of a request, reports events of another node, and does
// not prevent its own node from stopping.
func TestAStreamOutlivesRequestTimeouts(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			d := newRaceDeployment(t, testdb.Postgres(t))
			certificate, key := selfSigned(t)
			d.write("cert.pem", certificate)
			d.write("key.pem", key)
			other := d.serve()
			d.edit("\nissuer: http:", "\nissuer: https:", "metrics_listen: none", "metrics_listen: none\ntls: { cert_file: cert.pem, key_file: key.pem }")
			s := d.start()
			s.scheme = "https"
			s.untilServing()
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM([]byte(certificate))
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: protocol == "HTTP/2.0"}}
			var resp *http.Response
			eventually(t, "a stream", func() bool {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/revocations", nil)
				must(t, err)
				r.Header.Set("Accept", "text/event-stream")
				r.SetBasicAuth("backend", testserver.ClientSecret)
				resp, err = client.Do(r)
				must(t, err)
				return resp.StatusCode == 200
			})
			defer resp.Body.Close()
			if resp.Proto != protocol {
				t.Fatalf("served by %s", resp.Proto)
			}
			a := d.signIn(other, "alice")
			lines := bufio.NewScanner(resp.Body)
			for beats := 0; lines.Scan(); {
				switch line := lines.Text(); {
				case strings.HasPrefix(line, ": as_of"):
					if beats++; beats == 3 { // 30 s
						if got := other.revoke(a.text("refresh_token")); got.status != 200 {
							t.Fatalf("revoke: %d %s", got.status, got.body)
						}
					}
				case strings.HasPrefix(line, "data: {\"sid\":"):
					if beats < 3 || !strings.Contains(line, a.text("session_id")) {
						t.Errorf("after %d beats: %s", beats, line)
					}
					s.signal(syscall.SIGTERM)
				}
			}
			if err := lines.Err(); err != nil {
				t.Errorf("the stream broke: %v", err)
			}
			if code := s.wait(); code != 0 || !strings.Contains(s.err.String(), "the node no longer follows the event log") {
				t.Errorf("exit code %d; the stream did not end with the node", code)
			}
		})
	}
}
