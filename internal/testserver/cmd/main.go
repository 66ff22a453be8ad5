// Command cmd is the test server: the real server with its own database, and a second
// loopback port with which a test controls the server's environment (see control.go). It
// is for tests in languages other than Go, and never part of a release.
//
//	go run ./internal/testserver/cmd -origin http://127.0.0.1:5173
//
// It prints one line of JSON with its addresses. It exits when its standard input ends,
// so that it does not outlive the test that started it.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	_ "github.com/latchkey/latchkey/internal/testdb/schema"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

func main() {
	origins := flag.String("origin", "", "origins of the browser app of the client web, separated by commas")
	database := flag.String("database", "", "URL of a database to use; default: a SQLite file that goes with the process")
	ttl := flag.Duration("access-token-ttl", 0, "how long access tokens of the client web are valid; default: the server's default")
	statusList := flag.Bool("status-list", false, "access tokens of the client web name an entry of a status list")
	app := flag.String("bff", "", "folder of a page to serve from a back end of package bff for the client web; default: no back end")
	flag.Parse()
	web := testserver.Web()
	if *origins != "" {
		web.Origins = strings.Split(*origins, ",")
	}
	if *ttl > 0 {
		web.AccessTokenTTL = testserver.Duration(*ttl)
	}
	web.StatusList = *statusList
	run(*database, *app, web, os.Stdin, os.Stdout)
}

// run serves until stdin ends. web is the client of the browser app, and app the folder
// of its page, if a back end serves it.
func run(database, app string, web settings.ClientSpec, stdin io.Reader, stdout io.Writer) {
	p := &process{}
	defer p.end()
	if database == "" {
		database = testdb.SQLite(p)
	}
	clock, network := testserver.NewClock(), &testserver.Network{}
	issuer := testserver.NewIssuer(p, clock)
	server := testserver.New(p, testserver.Options{DatabaseURL: database, Clock: clock, Run: true, Admin: true, Wrap: network.Wrap})
	p.Cleanup(network.Release)
	backend := testserver.Backend()
	backend.ManageSessions = true
	server.Apply(testserver.Tenant("default", issuer, web, backend))
	adminKey, _ := server.NewAdminKey(oauth.AdminKeySpec{Name: "tests", Role: models.RoleOwner})
	control := &control{server: server, issuer: issuer, network: network, bff: &testserver.Network{}}
	started := map[string]string{
		"issuer": server.URL, "client_id": web.ID, "control": control.listen(p), "admin": server.AdminURL, "admin_key": adminKey,
	}
	if app != "" {
		p.Cleanup(control.bff.Release)
		started["app"] = serveBFF(p, server, app, control.bff)
	}
	if err := json.NewEncoder(stdout).Encode(started); err != nil {
		p.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, stdin) // any end of the input will do
}

// fatal ends a process that has no test to fail.
func fatal(text string) {
	fmt.Fprintln(os.Stderr, "testserver:", text)
	os.Exit(1)
}
