package main

import "syscall"

// dieWithParent makes a child end when its parent does, even by SIGKILL.
func dieWithParent() *syscall.SysProcAttr {
	// A process group of its own keeps the terminal's Ctrl-C from reaching it
	// before its parent has told it to drain.
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
