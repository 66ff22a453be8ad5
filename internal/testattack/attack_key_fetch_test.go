package testattack

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/settings"
)

const fetchRefused = "the address is private" // only in the log

// privatePort listens on a port of this machine, with IPv4 and IPv6 if possible, and
// counts connections.
func privatePort(t *testing.T) (port string, reached *atomic.Int32) {
	t.Helper()
	reached = new(atomic.Int32)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	listeners := []net.Listener{listener}
	if second, err := net.Listen("tcp", "[::1]:"+port); err == nil {
		listeners = append(listeners, second)
	}
	for _, l := range listeners {
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				reached.Add(1)
				conn.Close()
			}
		}()
	}
	return port, reached
}

// serveDNS is the DNS server while the test runs. resolve returns the addresses of a
// name; before is the number of earlier queries for that kind of address.
func serveDNS(t *testing.T, resolve func(name string, before int) []string) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		asked, query := map[string]int{}, make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(query)
			if err != nil {
				return
			}
			name, kind, end := question(query[:n])
			before := asked[fmt.Sprint(kind, name)]
			asked[fmt.Sprint(kind, name)]++
			var records [][]byte
			for _, text := range resolve(name, before) {
				addr := netip.MustParseAddr(text)
				if is4 := addr.Is4(); kind == 1 && is4 || kind == 28 && !is4 {
					rdata := addr.AsSlice()
					record := []byte{0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(len(rdata))} // the queried name, with TTL 0
					records = append(records, append(record, rdata...))
				}
			}
			reply := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, byte(len(records)), 0, 0, 0, 0}, query[12:end]...)
			server.WriteTo(append(reply, bytes.Join(records, nil)...), from)
		}
	}()
	usual := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = usual })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

// question parses the question of a query (RFC 1035 §4.1.2).
func question(query []byte) (name string, kind uint16, end int) {
	at := 12
	for query[at] != 0 {
		name += string(query[at+1:at+1+int(query[at])]) + "."
		at += 1 + int(query[at])
	}
	return strings.TrimSuffix(name, "."), binary.BigEndian.Uint16(query[at+1:]), at + 5
}

// unavailable checks the response for a token whose issuer's keys cannot be fetched. It
// is always the same, and does not reveal the address.
func unavailable(t *testing.T, what string, a *testserver.Answer) {
	t.Helper()
	const body = `{"error":"temporarily_unavailable","error_description":"The server is temporarily unavailable; try again","latchkey_reason":"issuer_unavailable"}`
	if a.Status != 503 || string(a.Body) != body || a.Header.Get("Retry-After") == "" {
		t.Errorf("%s: %d %s %v", what, a.Status, a.Body, a.Header)
	}
}

// presentAndLog presents a valid token of an issuer whose keys must be fetched first,
// and returns the response and the log of that time.
func presentAndLog(d *testserver.Exchanger, issuer string) (a *testserver.Answer, log string) {
	d.T.Helper()
	before := len(d.Log.String())
	now := d.Clock.Now().Unix()
	payload, err := json.Marshal(map[string]any{"iss": issuer, "aud": d.URL, "sub": "alice", "jti": fmt.Sprint(before), "iat": now, "exp": now + 60})
	if err != nil {
		d.T.Fatal(err)
	}
	a = d.Present(testserver.TypeJWT, testserver.Forge(`{"alg":"ES256","kid":"ES256"}`, string(payload), testserver.Signers()[2].Sign))
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(d.Log.String()[before:], `"msg":"request"`); time.Sleep(time.Millisecond) { // it comes after the answer
		if time.Now().After(deadline) {
			d.T.Fatal("the request was not logged")
		}
	}
	return a, d.Log.String()[before:]
}

// entryWithKeys returns an entry of an issuer with these keys.
func entryWithKeys(issuer string, keys settings.IssuerKeys, private bool) settings.IssuerSpec {
	return settings.IssuerSpec{IssuerSettings: settings.IssuerSettings{
		Issuer: issuer, TokenType: settings.TokenTypeJWT, Keys: keys, AllowPrivateAddresses: private, SubjectPrefix: "x:", ShareSubjects: true, Algorithms: []string{"ES256"},
	}}
}

func TestNoKeyIsFetchedFromAPrivateAddress(t *testing.T) {
	leadsTo := map[string][]string{
		"loopback.example.com": {"127.0.0.1", "::1"}, "mapped.example.com": {"::ffff:127.0.0.1"}, "private.example.com": {"10.0.0.1"},
		"metadata.example.com": {"169.254.169.254"}, "nat64.example.com": {"64:ff9b::7f00:1"}, "local-nat64.example.com": {"64:ff9b:1::a00:1"},
		"6to4.example.com": {"2002:7f00:1::1"}, "teredo.example.com": {"2001::1"}, "ula.example.com": {"fd00:ec2::254"}, "zero.example.com": {"0.0.0.0", "::"},
		// As from a resolver that accepts numbers in every form of inet_aton.
		"127.1": {"127.0.0.1"}, "2130706433": {"127.0.0.1"}, "0x7f000001": {"127.0.0.1"}, "0177.0.0.1": {"127.0.0.1"}, "0x7f.1": {"127.0.0.1"},
	}
	serveDNS(t, func(name string, _ int) []string { return leadsTo[name] })
	port, reached := privatePort(t)
	d := testserver.NewExchanger(t, testdb.SQLite(t))
	hosts := []string{
		"127.0.0.1", "127.255.255.254", "localhost", "LOCALHOST.", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
		"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.254", "169.254.169.254", "[::ffff:169.254.169.254]",
		"[fe80::1]", "[fe80::1%25lo]", "[fc00::1]", "[fd00:ec2::254]", "[fec0::1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a00:1]",
		"[2002:7f00:1::1]", "[2001::1]", "[2001:0:7f00:1::]", "0.0.0.0", "0.0.0.1", "[::]", "224.0.0.1", "239.255.255.250", "[ff02::1]", "255.255.255.255", "240.0.0.1",
		"192.0.0.170", "198.18.0.1",
	}
	for name := range leadsTo {
		hosts = append(hosts, name)
	}
	var entries []settings.IssuerSpec
	for _, host := range hosts {
		address := "https://" + host + ":" + port
		entries = append(entries, entryWithKeys("https://auth.example.com/"+host, settings.IssuerKeys{JWKSURI: address + "/keys"}, false),
			entryWithKeys(address, settings.IssuerKeys{Discovery: true}, false))
	}
	d.Reconfigure(testserver.Trusting(entries...))
	before := d.Written()
	for i, entry := range entries {
		host := hosts[i/2]
		a, log := presentAndLog(d, entry.Issuer)
		unavailable(t, entry.Issuer, a)
		// Numbers that are not addresses are not names either, and are not resolved.
		if !strings.Contains(log, fetchRefused) && !strings.Contains(log, "cannot be resolved") {
			t.Errorf("%s: not refused: %s", entry.Issuer, log)
		}
		for _, addr := range leadsTo[host] {
			if strings.Contains(log, net.JoinHostPort(addr, port)) {
				t.Errorf("the log shows that %s resolves to %s: %s", host, addr, log)
			}
		}
	}
	if d.Written() != before {
		t.Errorf("written %v, before %v", d.Written(), before)
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
	d.WantAccepted(t, testserver.TypeJWT, d.TokenWith(nil))
}

// TestANameThatChangesToAPrivateAddressIsNotFollowed resolves a name first to an
// unassigned address and then to a private one. A client that resolves a name to check
// it, and then connects by name, would reach the private address.
func TestANameThatChangesToAPrivateAddressIsNotFollowed(t *testing.T) {
	const unassigned = "2d00::1" // a public address that the IANA has reserved
	port, reached := privatePort(t)
	serveDNS(t, func(name string, before int) []string {
		switch {
		case name == "both.example.com":
			return []string{"127.0.0.1", "::1", "169.254.169.254"}
		case name == "moving.example.com" && before == 0:
			return []string{unassigned}
		default:
			return []string{"127.0.0.1", "::1"}
		}
	})
	d := testserver.NewExchanger(t, testdb.SQLite(t))
	d.Reconfigure(testserver.Trusting(
		entryWithKeys("https://moving.example.com", settings.IssuerKeys{JWKSURI: "https://moving.example.com:" + port + "/keys"}, false),
		entryWithKeys("https://both.example.com", settings.IssuerKeys{JWKSURI: "https://both.example.com:" + port + "/keys"}, false)))
	for range 3 {
		a, log := presentAndLog(d, "https://moving.example.com")
		unavailable(t, "moving", a)
		if strings.Contains(log, "127.0.0.1:"+port) || strings.Contains(log, "[::1]:"+port) {
			t.Errorf("the log shows the address: %s", log)
		}
		d.Clock.Advance(5 * time.Second) // then it may fetch again
	}
	a, log := presentAndLog(d, "https://both.example.com")
	if unavailable(t, "both", a); !strings.Contains(log, fetchRefused) {
		t.Errorf("%s", log)
	}
	if n := reached.Load(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
}

func TestPrivateAddressesAreAllowedForOneEntryOnly(t *testing.T) {
	d, p := testserver.NewExchanger(t, testdb.SQLite(t)), testserver.NewProvider(t)
	allowed := p.Entry(settings.IssuerKeys{JWKSURI: p.URL + "/keys"})
	other := entryWithKeys("https://other.example.com", settings.IssuerKeys{JWKSURI: strings.Replace(p.URL, "http:", "https:", 1) + "/keys"}, false)
	same := p.Entry(settings.IssuerKeys{JWKSURI: strings.Replace(p.URL, "http:", "https:", 1) + "/keys"})
	same.AllowPrivateAddresses, same.TokenType, same.Audiences, same.SubjectPrefix = false, settings.TokenTypeIDToken, []string{"app"}, "y:"
	d.Reconfigure(testserver.Trusting(allowed, other, same))
	es := testserver.Signers()[2]
	d.WantAccepted(t, testserver.TypeJWT, p.Token(d, es, es.Algorithm, nil))
	asked := len(p.Requests)
	unavailable(t, "another issuer's entry", d.Present(testserver.TypeJWT, p.Token(d, es, es.Algorithm, map[string]any{"iss": other.Issuer})))
	unavailable(t, "another entry of the issuer", d.Present(testserver.TypeIDToken, p.Token(d, es, es.Algorithm, map[string]any{"aud": "app"})))
	if len(p.Requests) != asked || strings.Count(d.Log.String(), fetchRefused) != 2 {
		t.Errorf("%d more requests were made", len(p.Requests)-asked)
	}
	d.WantAccepted(t, testserver.TypeJWT, p.Token(d, es, es.Algorithm, nil))
}

func TestConfiguredKeyURLsMustBeHTTP(t *testing.T) {
	for _, address := range []string{
		"file:///etc/passwd", "file://localhost/etc/passwd", "data:application/json,{}", "ftp://auth.example.com/keys", "gopher://auth.example.com/",
		"unix:///run/docker.sock", "jar:https://auth.example.com!/", "//auth.example.com/keys", "/keys", "auth.example.com", "https:", "https:///keys", "https://:443/keys",
		"https://user:password@auth.example.com/", "https://user@auth.example.com/", "https://auth.example.com/#keys", "https://auth.example.com/\r\nHost: inside", "HTTPS://auth .example.com/",
	} {
		for _, private := range []bool{false, true} {
			for kind, entry := range map[string]settings.IssuerSpec{
				"jwks_uri":  entryWithKeys("https://auth.example.com", settings.IssuerKeys{JWKSURI: address}, private),
				"discovery": entryWithKeys(address, settings.IssuerKeys{Discovery: true}, private),
			} {
				faults := settings.ValidateTenants([]settings.TenantSpec{{ID: "default", TrustedIssuers: []settings.IssuerSpec{entry}}}, "https://id.example.com")
				if len(faults) == 0 {
					t.Errorf("%s %q with private addresses %t: accepted", kind, address, private)
				}
			}
		}
	}
	faults := settings.ValidateTenants([]settings.TenantSpec{{ID: "default", TrustedIssuers: []settings.IssuerSpec{
		entryWithKeys("https://auth.example.com", settings.IssuerKeys{JWKSURI: "http://auth.example.com/keys"}, false),
	}}}, "https://id.example.com")
	if len(faults) == 0 {
		t.Error("plain HTTP is accepted without private addresses")
	}
}

// newIssuerServer starts an issuer on this machine with the handler of a test.
func newIssuerServer(t *testing.T, serve func(w http.ResponseWriter, r *http.Request)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(serve))
	t.Cleanup(server.Close)
	return server.URL
}

// keySet returns a key set for signatures of Signers()[2], with additional members.
func keySet(t *testing.T, also string) string {
	t.Helper()
	key, err := json.Marshal(jose.JSONWebKey{Key: testserver.Signers()[2].Public, KeyID: "ES256", Algorithm: "ES256", Use: "sig"})
	if err != nil {
		t.Fatal(err)
	}
	return `{"keys":[` + string(key) + also + `]}`
}

func TestNoResponseOfAnIssuerRedirectsTheKeyFetch(t *testing.T) {
	var reached atomic.Int32
	elsewhere := newIssuerServer(t, func(w http.ResponseWriter, _ *http.Request) {
		reached.Add(1)
		fmt.Fprint(w, keySet(t, ""))
	})
	port, insideReached := privatePort(t)
	data := "data:application/json;base64," + base64.StdEncoding.EncodeToString([]byte(keySet(t, "")))
	redirects := map[string]string{
		"within": "/keys", "host": elsewhere + "/keys", "port": "http://127.0.0.1:" + port + "/keys", "name": "http://localhost:" + port, "metadata": "http://169.254.169.254/latest/meta-data",
		"file": "file:///etc/passwd", "data": data, "gopher": "gopher://127.0.0.1/", "empty": "", "loop": "/loop", "scheme": "//" + strings.TrimPrefix(elsewhere, "http://") + "/keys",
	}
	discovered := map[string]string{
		"good": `"%s/keys"`, "file": `"file:///etc/passwd"`, "data": `"` + data + `"`, "ftp": `"ftp://127.0.0.1/keys"`, "relative": `"/keys"`, "none": `""`, "null": `null`,
		"number": `1`, "list": `["%s/keys"]`,
	}
	var here string
	here = newIssuerServer(t, func(w http.ResponseWriter, r *http.Request) {
		kind, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		switch target, redirected := redirects[kind]; {
		case redirected && rest == "":
			w.Header().Set("Location", target)
			w.WriteHeader(http.StatusTemporaryRedirect)
		case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
			uri := discovered[rest[:strings.Index(rest, "/")]]
			fmt.Fprintf(w, `{"issuer":"%s","jwks_uri":%s}`, here+strings.TrimSuffix(r.URL.Path, "/.well-known/openid-configuration"), strings.Replace(uri, "%s", here, 1))
		default:
			fmt.Fprint(w, keySet(t, ""))
		}
	})
	d := testserver.NewExchanger(t, testdb.SQLite(t))
	check := func(what string, good bool, entry settings.IssuerSpec) {
		t.Helper()
		d.Reconfigure(testserver.Trusting(entry))
		before := d.Written()
		a, _ := presentAndLog(d, entry.Issuer)
		if good {
			if a.Status != 200 {
				t.Errorf("%s: %d %s", what, a.Status, a.Body)
			}
			return
		}
		if strings.HasSuffix(what, ": none") || strings.HasSuffix(what, ": null") { // it contains no address
			if a.Status != 500 || a.Error() != "server_error" {
				t.Errorf("%s: %d %s", what, a.Status, a.Body)
			}
		} else {
			unavailable(t, what, a)
		}
		if d.Written() != before {
			t.Errorf("%s: written %v", what, d.Written())
		}
	}
	for kind := range redirects {
		check("a redirect: "+kind, kind == "within", entryWithKeys("https://redirects.example.com/"+kind, settings.IssuerKeys{JWKSURI: here + "/" + kind}, true))
	}
	for kind := range discovered {
		check("a jwks_uri: "+kind, kind == "good", entryWithKeys(here+"/issuer/"+kind, settings.IssuerKeys{Discovery: true}, true))
	}
	if reached.Load() > 0 || insideReached.Load() > 0 {
		t.Errorf("%d and %d requests to another host", reached.Load(), insideReached.Load())
	}
}

func TestAnOversizedKeySetIsRejected(t *testing.T) {
	var sent atomic.Int64
	flood := func(w http.ResponseWriter, piece []byte, pause time.Duration, r *http.Request) {
		for r.Context().Err() == nil {
			n, err := w.Write(piece)
			if sent.Add(int64(n)); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(pause)
		}
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write([]byte(keySet(t, "")))
	z.Write(bytes.Repeat([]byte(" "), 4<<20))
	z.Close()
	many := func(n int) string {
		key := strings.TrimSuffix(strings.TrimPrefix(keySet(t, ""), `{"keys":[`), `]}`)
		return keySet(t, strings.Repeat(","+strings.Replace(key, `"kid":"ES256"`, `"kid":"x"`, 1), n-1))
	}
	served := map[string]func(w http.ResponseWriter, r *http.Request){
		"good":               func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, keySet(t, "")) },
		"100 keys":           func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, many(100)) },
		"101 keys":           func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, many(101)) },
		"512 KiB":            func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%-*s", 512<<10, keySet(t, "")) },
		"an additional byte": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%-*s", 512<<10+1, keySet(t, "")) },
		"endless":            func(w http.ResponseWriter, r *http.Request) { flood(w, bytes.Repeat([]byte(" "), 64<<10), 0, r) },
		"slow":               func(w http.ResponseWriter, r *http.Request) { flood(w, []byte(" "), 50*time.Millisecond, r) },
		"silent":             func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"a zip bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb.Bytes())
		},
		"deep":       func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat(`{"keys":[`, 50_000)) },
		"a huge key": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, rsaKeyOf(300<<10)) },
		"an error": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, keySet(t, ""), http.StatusInternalServerError)
		},
		"a web page": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>"+strings.Repeat("<p>", 1000)) },
		"no set":     func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "[]") },
		"a secret key": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"ES256"}]}`)
		},
	}
	here := newIssuerServer(t, func(w http.ResponseWriter, r *http.Request) { served[strings.TrimPrefix(r.URL.Path, "/")](w, r) })
	d := testserver.NewExchanger(t, testdb.SQLite(t))
	var entries []settings.IssuerSpec
	for name := range served {
		entry := entryWithKeys("https://auth.example.com/"+name, settings.IssuerKeys{JWKSURI: here + "/" + strings.ReplaceAll(name, " ", "%20")}, true)
		entry.Algorithms = []string{"ES256", "RS256"}
		entries = append(entries, entry)
	}
	d.Reconfigure(testserver.Trusting(entries...))
	p := &testserver.Provider{}
	before := d.Written()
	var all sync.WaitGroup
	for name := range served {
		all.Go(func() {
			over := map[string]any{"iss": "https://auth.example.com/" + name}
			by := testserver.Signers()[2]
			if name == "a huge key" {
				by = testserver.Signer{Algorithm: "RS256", Sign: testserver.HS256(nil)} // verifying with such a key takes a minute
			}
			a := d.Present(testserver.TypeJWT, p.Token(d, by, "ES256", over))
			switch name {
			case "good", "100 keys", "512 KiB":
				if a.Status != 200 {
					t.Errorf("%s: %d %s", name, a.Status, a.Body)
				}
			case "a secret key", "a huge key":
				if a.Status != 500 || a.Error() != "server_error" {
					t.Errorf("%s: %d %s", name, a.Status, a.Body)
				}
			default:
				unavailable(t, name, a)
			}
		})
	}
	all.Wait()
	if got := d.Written(); got[0] != before[0]+3 || got[2] != before[2]+3 {
		t.Errorf("written %v, before %v", got, before)
	}
	if n := sent.Load(); n > 32<<20 {
		t.Errorf("%d bytes were taken before it was cut off", n)
	}
	d.WantAccepted(t, testserver.TypeJWT, d.TokenWith(nil))
}

// rsaKeyOf returns a key set with one RSA key of this size.
func rsaKeyOf(bytes int) string {
	return `{"keys":[{"kty":"RSA","kid":"ES256","e":"AQAB","n":"` + strings.Repeat("_", bytes/3*4) + `"}]}`
}

func TestUnknownKidsDoNotFloodAnIssuer(t *testing.T) {
	d, p := testserver.NewExchanger(t, testdb.SQLite(t)), testserver.NewProvider(t)
	d.Reconfigure(testserver.Trusting(p.Entry(settings.IssuerKeys{JWKSURI: p.URL + "/keys"})))
	es, stranger := testserver.Signers()[2], testserver.Signer{Algorithm: "ES256", Sign: testserver.ES256(testserver.NewES256Key(t))}
	now := d.Clock.Now().Unix()
	for _, over := range []map[string]any{ // what is detected without its keys
		{"iss": p.URL + "/"}, {"aud": "https://other.example.com"}, {"exp": now - 60}, {"iat": now + 60}, {"exp": nil}, {"client_id": "backend"},
	} {
		d.WantRejected(t, testserver.TypeJWT, p.Token(d, stranger, "ES256", over))
	}
	d.WantRejected(t, testserver.TypeJWT, testserver.Forge(`{"alg":"RS512","kid":"ES256"}`, d.Payload(), stranger.Sign))
	if len(p.Requests) != 0 {
		t.Fatalf("asked %d times for tokens that need no keys", len(p.Requests))
	}
	d.WantAccepted(t, testserver.TypeJWT, p.Token(d, es, es.Algorithm, nil))
	flood := func(n int) {
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				testserver.WantSubjectRejected(t, d.Present(testserver.TypeJWT, p.Token(d, stranger, fmt.Sprint("made up ", i), nil)))
			})
		}
		all.Wait()
	}
	for round := range 3 {
		flood(20)
		if len(p.Requests) != 1+round {
			t.Errorf("asked %d times after %d rounds", len(p.Requests), round+1)
		}
		d.Clock.Advance(29 * time.Second)
		flood(5)
		if len(p.Requests) != 1+round {
			t.Errorf("asked %d times within 30 s of round %d", len(p.Requests), round+1)
		}
		d.Clock.Advance(time.Second)
	}
	d.WantAccepted(t, testserver.TypeJWT, p.Token(d, es, es.Algorithm, nil))
}
