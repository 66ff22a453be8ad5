package bench

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // queries PostgreSQL for its processes
)

// processCPU returns the CPU time that the threads of a process have used, in µs. It
// reads schedstat, which counts nanoseconds; /proc/PID/stat counts in units of 10 ms.
func processCPU(b *testing.B, pid int) (µs float64) {
	b.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		b.Fatalf("cannot read the CPU time of process %d: it must run on this machine, under Linux with schedstat", pid)
	}
	for _, name := range threads {
		text, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue // the thread has ended
		}
		must(b, err)
		used, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(used, 10, 64)
		must(b, err)
		µs += float64(ns) / 1000
	}
	return µs
}

// database is the PostgreSQL of the deployment.
type database struct{ *sql.DB }

// cpu returns the CPU time, in µs, of all PostgreSQL processes that work for the
// servers. Their connections stay open during the benchmark.
func (d database) cpu(b *testing.B) (µs float64) {
	b.Helper()
	rows, err := d.Query("SELECT pid FROM pg_stat_activity WHERE (datname = current_database() AND pid <> pg_backend_pid()) OR datname IS NULL")
	must(b, err)
	defer rows.Close()
	for rows.Next() {
		var pid int
		must(b, rows.Scan(&pid))
		µs += processCPU(b, pid)
	}
	must(b, rows.Err())
	return µs
}
