package testfeed

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

// million is the number of sessions on the list of the benchmark.
const million = 1_000_000

// BenchmarkStatusList builds and serves a list of a million sessions, some of which are
// revoked, and opens sessions at the same time:
//
//	go test -run '^$' -bench StatusList -benchtime 5x ./internal/testfeed/
//
// lst-B is the size of the compressed list, jwt-B of the token, gzip-B of the response.
func BenchmarkStatusList(b *testing.B) {
	for engine, url := range map[string]func(testing.TB) string{"sqlite": testdb.SQLite, "postgres": testdb.Postgres} {
		for _, percent := range []int{0, 1, 50} {
			b.Run(fmt.Sprintf("%s/%d percent", engine, percent), func(b *testing.B) { benchmarkStatusList(b, url(b), percent) })
		}
	}
}

func benchmarkStatusList(b *testing.B, url string, percent int) {
	clock := testserver.NewClock()
	s := testserver.New(b, testserver.Options{DatabaseURL: url, Clock: clock})
	issuer := testserver.NewIssuer(b, clock)
	listed := testserver.WebOnStatusList()
	listed.ID = "listed"
	spec := testserver.Tenant("default", issuer, testserver.Web(), listed)
	spec.SigningAlgorithm = "RS256"
	s.Apply(spec)
	exchange := func(client string) {
		if a := s.Exchange("", client, issuer.Token(s.URL, rand.Text(), nil)); a.Status != 200 {
			b.Fatalf("%s", a.Body)
		}
	}
	exchange("listed")
	fillStatusList(b, s, percent)
	ask := func(encoding string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/status/0", nil)
		r.Header.Set("Accept-Encoding", encoding)
		w := httptest.NewRecorder()
		s.Handler.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatalf("%d %s", w.Code, w.Body)
		}
		return w
	}
	b.Run("build", func(b *testing.B) {
		for b.Loop() {
			clock.Advance(time.Minute)
			ask("identity")
		}
		plain, short := ask("identity"), ask("gzip")
		var list statusList
		text, err := base64.RawURLEncoding.DecodeString(strings.Split(plain.Body.String(), ".")[1])
		if err = cmp.Or(err, json.Unmarshal(text, &list)); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(list.List.List)), "lst-B")
		b.ReportMetric(float64(plain.Body.Len()), "jwt-B")
		b.ReportMetric(float64(short.Body.Len()), "gzip-B")
	})
	for _, encoding := range []string{"identity", "gzip"} {
		b.Run("serve "+encoding, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "/status/0", nil)
			r.Header.Set("Accept-Encoding", encoding)
			for b.Loop() {
				s.Handler.ServeHTTP(discard{http.Header{}}, r)
			}
		})
	}
	b.Run("build beside a mark", func(b *testing.B) {
		spec.Clients[0].Disabled = true
		s.Apply(spec)
		for b.Loop() {
			clock.Advance(time.Second)
			ask("identity")
		}
		spec.Clients[0].Disabled = false
		s.Apply(spec)
	})
	for _, client := range []string{"web", "listed"} {
		b.Run("exchange "+client, func(b *testing.B) {
			for b.Loop() {
				exchange(client)
			}
		})
	}
}

// fillStatusList copies the only session to a million entries of its list.
func fillStatusList(b *testing.B, s *testserver.Server, percent int) {
	b.Helper()
	db := testserver.OpenDatabase(b, s.DatabaseURL)
	id, chance := "decode(md5(n::text), 'hex')", "random() * 100"
	if strings.HasPrefix(s.DatabaseURL, "sqlite:") {
		id, chance = "CAST(printf('%016d', n) AS BLOB)", "abs(random() % 100)"
	}
	ended := fmt.Sprintf("CASE WHEN %s < %d THEN created_at ELSE NULL END", chance, percent)
	columns := "tenant_id, client_id, issuer_id, subject, created_at, auth_time, last_active_at, absolute_expires_at, idle_expires_at, generation, root_version, refresh_digest, next_digest, session_token_generation, factors, session_attributes, scope, audience, device_name, user_agent, ip, prune_at"
	for _, statement := range []string{
		"WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < " + fmt.Sprint(million-1) + ") INSERT INTO sessions (id, " + columns + ", status_index, ended_at) SELECT " + id + ", " + columns +
			", CAST(n AS BIGINT) * 1048573 % 1048576, " + ended + " FROM numbers CROSS JOIN (SELECT * FROM sessions LIMIT 1) one WHERE true ON CONFLICT DO NOTHING",
		"ANALYZE",
	} {
		if _, err := db.Exec(statement); err != nil {
			b.Fatal(err)
		}
	}
}

// discard is a response that discards its body.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return io.Discard.Write(p) }
func (discard) WriteHeader(int)               {}
