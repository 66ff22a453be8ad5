//go:build unix

package main

import (
	"fmt"
	"os"
	"syscall"
)

// ownFolder refuses a folder whose files another user chooses: whoever made the
// root secret and the issuer's key there can sign anybody in.
func ownFolder(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("the data folder %s belongs to another user: give --data a folder of your own", path)
	}
	const othersWrite os.FileMode = 0o002
	if info.Mode().Perm()&othersWrite != 0 {
		return fmt.Errorf("other users may write to the data folder %s: chmod 700 it, or give --data another folder", path)
	}
	return nil
}
