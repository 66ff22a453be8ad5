//go:build unix

package main

import (
	"fmt"
	"os"
	"syscall"
)

// ownFolder rejects a folder that another user controls: whoever created its root
// secret or issuer key could sign in as anybody.
func ownFolder(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("the data folder %s belongs to another user: use --data with a folder of your own", path)
	}
	const othersWrite os.FileMode = 0o002
	if info.Mode().Perm()&othersWrite != 0 {
		return fmt.Errorf("other users can write to the data folder %s: run chmod 700 on it, or use --data with another folder", path)
	}
	return nil
}
