package testops

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
)

const host = "id.example.com"

// documented returns the code block of a language from docs/proxies.md, with texts
// replaced as pairs of old, new. Each old text must occur.
func documented(t *testing.T, language string, replace ...string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/proxies.md")
	must(t, err)
	_, rest, found := strings.Cut(string(page), "```"+language+"\n")
	block, _, _ := strings.Cut(rest, "```")
	if !found {
		t.Fatalf("docs/proxies.md has no block of %s", language)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(block, replace[i]) {
			t.Fatalf("the %s block of docs/proxies.md does not contain %q", language, replace[i])
		}
		block = strings.ReplaceAll(block, replace[i], replace[i+1])
	}
	return block
}

// certificate writes a certificate of id.example.com and its key to a folder.
func certificate(t *testing.T, folder string) (pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	certText, keyText := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	must(t, os.WriteFile(filepath.Join(folder, "cert.pem"), certText, 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "key.pem"), keyText, 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "both.pem"), append(certText, keyText...), 0o600))
	parsed, err := x509.ParseCertificate(der)
	must(t, err)
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	return pool
}

const nodeConfiguration = `
issuer: https://id.example.com
listen: 127.0.0.1:$PORT
metrics_listen: none
admin_listen: none
behind_proxy: true
trusted_proxies: [127.0.0.1/32]
shutdown_delay: 5s
secret: a-root-secret-for-tests-of-more-than-32-bytes
database: { url: "$DATABASE" }
tenants:
  - id: default
    signing_algorithm: ES256
    trusted_issuers:
      - { issuer: https://auth.example.com, token_type: jwt, keys: { shared_secret: ` + clientTokenSecret + ` } }
    clients:
      - { id: web, auth: none, grants: [token-exchange, refresh] }
      - { id: api, auth: secret, secret: ` + apiSecret + `, introspect: all }
`

// node is one node of the deployment, which can be restarted on its port.
type node struct {
	port   int
	file   string
	plain  *http.Client
	binary string
	*process
}

func newNode(t *testing.T, folder, database string) *node {
	t.Helper()
	return newNodeWith(t, folder, database, "")
}

// newNodeWith adds settings to those of the tenant.
func newNodeWith(t *testing.T, folder, database, tenant string) *node {
	t.Helper()
	binary, err := latchkey()
	must(t, err)
	n := &node{port: freePort(t), plain: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}, binary: binary}
	n.file = filepath.Join(folder, "node-"+text(n.port)+".yaml")
	must(t, os.WriteFile(n.file, []byte(strings.NewReplacer("$PORT", text(n.port), "$DATABASE", database).Replace(nodeConfiguration)+tenant), 0o600))
	n.start(t)
	return n
}

func (n *node) start(t *testing.T) {
	t.Helper()
	n.process = start(t, n.binary, "serve", "--config", n.file)
	waitFor(t, n.plain, "http://127.0.0.1:"+text(n.port)+"/readyz", n.process)
}

// proxies start each proxy with its documented configuration.
var proxies = map[string]func(t *testing.T, folder string, port int, first, second string) *process{
	"nginx": func(t *testing.T, folder string, port int, first, second string) *process {
		block := documented(t, "nginx", "127.0.0.1:8081", first, "127.0.0.1:8082", second, "listen 443", "listen 127.0.0.1:"+text(port),
			"/etc/ssl/id.example.com.pem", folder+"/cert.pem", "/etc/ssl/id.example.com.key", folder+"/key.pem")
		file := filepath.Join(folder, "nginx.conf")
		must(t, os.WriteFile(file, []byte("worker_processes 1; daemon off; pid "+folder+"/nginx.pid; error_log stderr warn;\n"+
			"events { worker_connections 1024; }\nhttp { access_log off; client_body_temp_path "+folder+"/body; proxy_temp_path "+folder+"/proxy;\n"+
			"fastcgi_temp_path "+folder+"/f; uwsgi_temp_path "+folder+"/u; scgi_temp_path "+folder+"/s;\n"+block+"}\n"), 0o600))
		return start(t, "nginx", "-e", "stderr", "-p", folder, "-c", file)
	},
	"haproxy": func(t *testing.T, folder string, port int, first, second string) *process {
		block := documented(t, "haproxy", "127.0.0.1:8081", first, "127.0.0.1:8082", second, "bind :443", "bind 127.0.0.1:"+text(port),
			"/etc/ssl/id.example.com.both.pem", folder+"/both.pem")
		file := filepath.Join(folder, "haproxy.cfg")
		must(t, os.WriteFile(file, []byte(block), 0o600))
		return start(t, "haproxy", "-db", "-f", file)
	},
	"caddy": func(t *testing.T, folder string, port int, first, second string) *process {
		block := documented(t, "caddyfile", "127.0.0.1:8081", first, "127.0.0.1:8082", second,
			"id.example.com {", "id.example.com:"+text(port)+" {\n\tbind 127.0.0.1\n\ttls "+folder+"/cert.pem "+folder+"/key.pem")
		file := filepath.Join(folder, "Caddyfile")
		must(t, os.WriteFile(file, []byte("{\n\tadmin off\n\tauto_https off\n}\n"+block), 0o600))
		return start(t, "caddy", "run", "--config", file, "--adapter", "caddyfile")
	},
}

// throughProxy returns a client that connects to the proxy for id.example.com.
func throughProxy(pool *x509.CertPool, port int) *http.Client {
	return &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+text(port))
		},
		TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 32,
	}}
}

func TestARollingRestartBehindAProxyFailsNoRequest(t *testing.T) {
	for name, startProxy := range proxies {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(name); err != nil {
				t.Fatalf("%s is required (Debian: apt-get install %s)", name, name)
			}
			folder := t.TempDir()
			pool := certificate(t, folder)
			database := testdb.Postgres(t)
			first, second := newNode(t, folder, database), newNode(t, folder, database)
			port := freePort(t)
			proxy := startProxy(t, folder, port, "127.0.0.1:"+text(first.port), "127.0.0.1:"+text(second.port))
			client, base := throughProxy(pool, port), "https://"+host
			waitFor(t, client, base+"/.well-known/jwks.json", proxy)

			operators, err := client.Get(base + "/readyz")
			must(t, err)
			operators.Body.Close()
			if operators.StatusCode != http.StatusNotFound {
				t.Errorf("the proxy answers %d to /readyz, which is for the operator", operators.StatusCode)
			}
			l := startLoad(t.Context(), base, client, 4)
			time.Sleep(2 * time.Second)
			for _, n := range []*node{first, second} {
				n.stop(t)
				n.start(t)
				time.Sleep(3 * time.Second) // the proxy detects the restarted node
			}
			l.end(t)
		})
	}
}
