package bench

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
)

const (
	baseIssuer    = "http://localhost:8080" // nobody listens there
	rootSecret    = "a-root-secret-for-benchmarks-of-more-than-32-bytes"
	backendSecret = "a-client-secret-for-benchmarks-of-40-characters"
)

const configuration = `
issuer: ` + baseIssuer + `
secret: ` + rootSecret + `
listen: 127.0.0.1:0
metrics_listen: none
shutdown_delay: 0s
database: { url: "$DATABASE" }
tenants:
  - id: default
    trusted_issuers:
      - issuer: https://auth.example.com
        token_type: jwt
        keys: { pem: $PEM }
        user_attributes: { email: token.email }
    clients:
      - id: web
        auth: none
        grants: [token-exchange, refresh]
        preset: consumer
        scopes: [profile, orders:read]
        claims: { email: user.email }
      - id: backend
        auth: secret
        secret: ` + backendSecret + `
        grants: [client-credentials]
        introspect: all
`

// deployment is two nodes of the real command on one PostgreSQL: one with the
// defaults, and one that introspects from memory. All tokens, including client
// tokens, are signed with 2048-bit RSA keys.
type deployment struct {
	b              *testing.B
	key            *rsa.PrivateKey // of the trusted issuer
	database       database
	server, memory *process
	empty          *process
}

func deploy(b *testing.B) *deployment {
	b.Helper()
	folder, url := b.TempDir(), testdb.EmptyPostgres(b)
	d := &deployment{b: b}
	var err error
	d.key, err = rsa.GenerateKey(rand.Reader, 2048)
	must(b, err)
	public, err := x509.MarshalPKIXPublicKey(d.key.Public())
	must(b, err)
	text := strconv.Quote(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
	file := filepath.Join(folder, "latchkey.yaml")
	must(b, os.WriteFile(file, []byte(strings.NewReplacer("$DATABASE", url, "$PEM", text).Replace(configuration)+destinations(b)), 0o600))
	d.database.DB, err = sql.Open("pgx", url)
	must(b, err)
	b.Cleanup(func() { _ = d.database.Close() })

	binary := filepath.Join(folder, "latchkey")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "github.com/latchkey/latchkey/cmd/latchkey")
	build.Env, build.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	must(b, build.Run())
	d.server = start(b, binary, nil, "serve", "--config", file)
	d.memory = start(b, binary, []string{"LATCHKEY_INTROSPECTION_MAX_AGE=10s"}, "serve", "--config", file)
	d.empty = startEmpty(b)
	return d
}

// clientToken returns a new client token of a user.
func (d *deployment) clientToken(user int) string {
	now := time.Now().Unix()
	id := strconv.Itoa(user)
	claims, err := json.Marshal(map[string]any{
		"iss": "https://auth.example.com", "aud": baseIssuer, "sub": "user-" + id, "email": "user-" + id + "@example.com",
		"jti": rand.Text(), "iat": now, "exp": now + 300, "auth_time": now, "amr": []string{"hwk"},
	})
	must(d.b, err)
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, d.key, crypto.SHA256, digest[:])
	must(d.b, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// sign makes one signature like that of a token.
func sign(b *testing.B, key *rsa.PrivateKey) {
	digest := sha256.Sum256([]byte("signed text"))
	_, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	must(b, err)
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
