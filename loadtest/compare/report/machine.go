package report

import (
	"bytes"
	"debug/buildinfo"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is what a figure depends on.
type Machine struct {
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	Kernel   string            `json:"kernel"`
	Go       string            `json:"go"`
	Versions map[string]string `json:"versions"` // of the programs measured, by name
}

// ThisMachine asks the system; what it does not tell stays empty.
func ThisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), Versions: map[string]string{}}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU = cpuModel(info)
	}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		m.Kernel = unix.ByteSliceToString(uts.Sysname[:]) + " " + unix.ByteSliceToString(uts.Release[:])
	}
	return m
}

// cpuModel finds the first "model name" of /proc/cpuinfo.
func cpuModel(info []byte) string {
	for line := range bytes.Lines(info) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && string(bytes.TrimSpace(name)) == "model name" {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}

// ProgramVersion runs a program with the argument that makes it tell its
// version and returns the first dotted number in the first line that has one.
func ProgramVersion(program, argument string) string {
	out, _ := exec.Command(program, argument).CombinedOutput() // wrk -v exits 1
	return firstVersion(out)
}

var dotted = regexp.MustCompile(`\d+\.\d+(\.\d+)?`)

func firstVersion(out []byte) string { return dotted.FindString(string(out)) }

// ModuleVersion reads from a Go program which version of module it holds.
func ModuleVersion(program, module string) string {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return ""
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == module {
			return strings.TrimPrefix(m.Version, "v")
		}
	}
	return ""
}
