package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
)

func TestTLSRequiresVersion12(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	certificate, key := selfSigned(t)
	d.write("cert.pem", certificate)
	d.write("key.pem", key)
	d.edit("issuer: http:", "issuer: https:", "metrics_listen: none", "metrics_listen: none\ntls: { cert_file: cert.pem, key_file: key.pem }")
	s := d.start()
	s.scheme = "https"
	s.untilServing()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(certificate))

	for name, c := range map[string]struct {
		version uint16
		served  bool
	}{
		"1.0": {tls.VersionTLS10, false},
		"1.1": {tls.VersionTLS11, false},
		"1.2": {tls.VersionTLS12, true},
		"1.3": {tls.VersionTLS13, true},
	} {
		t.Run(name, func(t *testing.T) {
			client := &http.Client{Timeout: waitTimeout, Transport: &http.Transport{
				TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: c.version, MaxVersion: c.version},
				ForceAttemptHTTP2: true, DisableKeepAlives: true,
			}}
			resp, err := client.Get(s.url + "/.well-known/openid-configuration")
			switch {
			case !c.served && (err == nil || !strings.Contains(err.Error(), "remote error: tls: protocol version not supported")):
				t.Errorf("not refused by the server: %v", err)
			case !c.served:
			case err != nil:
				t.Error(err)
			default:
				resp.Body.Close()
				if resp.StatusCode != 200 || resp.TLS.Version != c.version || resp.Header.Get("Strict-Transport-Security") != "" { // of localhost
					t.Errorf("%s, TLS version %x, headers %v", resp.Status, resp.TLS.Version, resp.Header)
				}
			}
		})
	}

	t.Run("never in the clear", func(t *testing.T) {
		resp, err := http.Get(strings.Replace(s.url, "https:", "http:", 1) + "/healthz")
		if err != nil {
			return
		}
		defer resp.Body.Close()
		if resp.StatusCode == 200 {
			t.Error("plain HTTP gets a response")
		}
	})
	t.Run("healthcheck uses TLS", func(t *testing.T) {
		code, _, stderr := run(t, []string{"LATCHKEY_LISTEN=" + strings.TrimPrefix(s.url, "https://")}, "healthcheck", "--config", d.file)
		if code != 0 {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	})
}

func TestServeRejectsAnUnusableCertificate(t *testing.T) {
	t.Parallel()
	d := newDeployment(t, testdb.SQLite(t))
	certificate, _ := selfSigned(t)
	_, foreign := selfSigned(t)
	d.write("cert.pem", certificate)
	d.write("key.pem", foreign)
	d.edit("metrics_listen: none", "metrics_listen: none\ntls: { cert_file: cert.pem, key_file: key.pem }")
	d.rejects([]string{"serve"}, "tls: ", "private key does not match public key")
	d.edit("key_file: key.pem", "key_file: nowhere.pem")
	d.rejects([]string{"serve"}, "tls.cert_file, tls.key_file: ", "nowhere.pem")
	d.edit(", key_file: nowhere.pem", "")
	d.rejects([]string{"serve"}, "tls.key_file: is missing: tls.cert_file is set")
}

// selfSigned makes a certificate for this machine, and its key, in PEM.
func selfSigned(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	var c, k bytes.Buffer
	must(t, pem.Encode(&c, &pem.Block{Type: "CERTIFICATE", Bytes: der}))
	must(t, pem.Encode(&k, &pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	return c.String(), k.String()
}
