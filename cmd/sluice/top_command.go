package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"sluice/admin"
)

// topView is what one look of sluice top shows.
type topView struct {
	Time    time.Time       `json:"time"`
	Seconds float64         `json:"seconds"`
	Nodes   []string        `json:"nodes"`
	Missing []string        `json:"missing"`
	Total   admin.Traffic   `json:"total"`
	Routes  []admin.Traffic `json:"routes"`
	Tenants []admin.Traffic `json:"tenants"`
	Bans    []topBan        `json:"bans"`
	Alerts  []topAlert      `json:"alerts"`
}

// topBan and topAlert are the parts of these resources that top shows.
type topBan struct {
	Target string    `json:"target"`
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"`
}

type topAlert struct {
	Rule    string    `json:"rule"`
	State   string    `json:"state"`
	Since   time.Time `json:"since"`
	Summary string    `json:"summary"`
}

func newTop() *cobra.Command {
	o := topOptions{window: 10 * time.Second, every: 2 * time.Second}
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch rate, errors, latency, limits and bans, of the cluster or a node",
		Long: `top shows the traffic of the last seconds, the busiest routes and tenants first, and
what is banned or alerting now. On a terminal it goes on until Ctrl-C; otherwise, and
with --once, it looks once.`,
		Example: "  sluice top --window 1m\n  sluice top --once -o json",
		Args:    noArgs,
	}
	target, out := addAdminFlags(cmd), addOutputFlag(cmd)
	flags := cmd.Flags()
	flags.DurationVar(&o.window, "window", o.window, "how far back the numbers go, 1s to 24h")
	flags.DurationVar(&o.every, "every", o.every, "how often to look")
	flags.BoolVar(&o.once, "once", false, "look once")
	flags.BoolVar(&o.node, "node", false, "this node alone, not the cluster")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.window < time.Second || o.window > 24*time.Hour || o.every < 100*time.Millisecond {
			return usageError{errors.New("--window is 1s to 24h, --every at least 100ms")}
		}
		client, err := target.client()
		if err != nil {
			return err
		}
		w := cmd.OutOrStdout()
		height, width, terminal := terminalSize(w)
		if o.once || !terminal || out.format != "table" {
			v, err := lookTop(cmd.Context(), client, &o)
			if err != nil {
				return err
			}
			return out.print(w, v, func(w io.Writer) { printTop(w, v, 20) })
		}
		return watchTop(cmd.Context(), w, client, &o, height, width)
	}
	return cmd
}

type topOptions struct {
	window, every time.Duration
	once, node    bool
}

// watchTop draws the view again and again on the terminal's other screen.
func watchTop(ctx context.Context, w io.Writer, client *adminClient, o *topOptions, height, width int) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Fprint(w, "\x1b[?1049h\x1b[?25l")       // the other screen, no cursor
	defer fmt.Fprint(w, "\x1b[?25h\x1b[?1049l") // and back
	tick := time.NewTicker(o.every)
	defer tick.Stop()
	for {
		v, err := lookTop(ctx, client, o)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && v == nil {
			return err
		}
		if h, wd, ok := terminalSize(w); ok {
			height, width = h, wd
		}
		fmt.Fprint(w, "\x1b[H"+screen(v, height, width)+"\x1b[J")
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// screen is the view cut to the size of the terminal.
func screen(v *topView, height, width int) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	printTop(t, v, max(3, (height-14)/2))
	_ = t.Flush() // a Builder's
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	lines = lines[:min(len(lines), height-1)]
	for i, line := range lines {
		if r := []rune(line); len(r) > width {
			lines[i] = string(r[:width])
		}
	}
	return strings.Join(lines, "\x1b[K\r\n") + "\x1b[K"
}

// terminalSize returns the size of the terminal that w is; false: it is none.
func terminalSize(w io.Writer) (height, width int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile {
		return 0, 0, false
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Row == 0 || size.Col == 0 {
		return 0, 0, false
	}
	return int(size.Row), int(size.Col), true
}

// lookTop asks for all that the view shows.
func lookTop(ctx context.Context, client *adminClient, o *topOptions) (*topView, error) {
	scope := "cluster"
	if o.node {
		scope = "node"
	}
	v := &topView{Bans: []topBan{}, Alerts: []topAlert{}}
	q := url.Values{"window": {o.window.String()}, "scope": {scope}, "top": {"100"}}
	if _, err := client.call(ctx, http.MethodGet, "/api/v1/live?"+q.Encode(), nil, v); err != nil {
		return nil, err
	}
	for resource, list := range map[string]any{
		"/api/v1/bans?limit=1000":   &struct{ Items *[]topBan }{&v.Bans},
		"/api/v1/alerts?limit=1000": &struct{ Items *[]topAlert }{&v.Alerts},
	} {
		_, err := client.call(ctx, http.MethodGet, resource, nil, list)
		if failed, ok := errors.AsType[*apiError](err); err != nil && (!ok || failed.Status != http.StatusNotFound) {
			return v, err
		}
	}
	return v, nil
}

// printTop writes the view in columns, at most rows of each list.
func printTop(w io.Writer, v *topView, rows int) {
	nodes := strings.Join(v.Nodes, " ")
	if len(v.Missing) > 0 {
		nodes += "; no answer from " + strings.Join(v.Missing, " ")
	}
	fmt.Fprintf(w, "%s  last %s  of %s\n\n", v.Time.Local().Format(time.TimeOnly), seconds(v.Seconds), nodes)
	printTraffic(w, "ALL", append([]admin.Traffic{}, named(v.Total, "requests")), 1)
	printTraffic(w, "ROUTE", v.Routes, rows)
	printTraffic(w, "TENANT", v.Tenants, rows)
	if len(v.Alerts) > 0 {
		fmt.Fprintln(w, "ALERT\tSTATE\tSINCE\tSUMMARY")
		for _, a := range v.Alerts[:min(len(v.Alerts), 5)] {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", a.Rule, a.State, a.Since.Local().Format(time.TimeOnly), a.Summary)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%d bans\n", len(v.Bans))
	for _, b := range v.Bans[:min(len(v.Bans), 5)] {
		fmt.Fprintf(w, "%s\tuntil %s\t%s\n", b.Target, b.Until.Local().Format(time.TimeOnly), b.Reason)
	}
}

func named(t admin.Traffic, name string) admin.Traffic {
	t.Name = name
	return t
}

func printTraffic(w io.Writer, title string, list []admin.Traffic, rows int) {
	fmt.Fprintf(w, "%s\tREQ/S\tERRORS\t4XX\tLIMITED\tP50\tP95\tP99\tIN\tOUT\n", title)
	for _, t := range list[:min(len(list), rows)] {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", t.Name, strconv.FormatFloat(t.Rate, 'f', 1, 64),
			percent(t.ErrorRatio), t.Status["4xx"], t.Limited, ms(t.P50), ms(t.P95), ms(t.P99), bytesText(t.BytesIn), bytesText(t.BytesOut))
	}
	if more := len(list) - rows; more > 0 {
		fmt.Fprintf(w, "… %d more\n", more)
	}
	fmt.Fprintln(w)
}

func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

func percent(ratio float64) string { return strconv.FormatFloat(100*ratio, 'f', 1, 64) + "%" }

// ms prints milliseconds with as many digits as the sketch knows.
func ms(v float64) string {
	switch {
	case v == 0:
		return "-"
	case v < 1:
		return strconv.FormatFloat(v, 'f', 2, 64) + "ms"
	case v < 10:
		return strconv.FormatFloat(v, 'f', 1, 64) + "ms"
	case v < 10_000:
		return strconv.FormatFloat(v, 'f', 0, 64) + "ms"
	}
	return strconv.FormatFloat(v/1000, 'f', 0, 64) + "s"
}

// bytesText prints a number of bytes with a unit, in powers of 1024.
func bytesText(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v := float64(n)
	for i, u := range units {
		if v < 1024 || i == len(units)-1 {
			if i == 0 {
				return fmt.Sprintf("%d%s", n, u)
			}
			return strconv.FormatFloat(v, 'f', 1, 64) + u
		}
		v /= 1024
	}
	return ""
}
