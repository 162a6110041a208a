package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/store"
)

// limitFlags describe a limit on the command line.
type limitFlags struct {
	requests  int64
	per       string
	window    string
	burst     string
	burstSize int64
}

// notGiven tells a flag that was not given from one with 0, which the API refuses.
const notGiven = -1 << 63

func (l *limitFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Int64Var(&l.requests, "requests", notGiven, "how many requests in a window")
	f.Lookup("requests").DefValue = "" // nothing to show in --help
	f.StringVar(&l.per, "per", "", "the window: 1m, 1h, 1d (default 1h)")
	f.StringVar(&l.window, "window", "", "sliding (default) or fixed")
	f.StringVar(&l.burst, "burst", "", "how fast at most: 50/s")
	f.Int64Var(&l.burstSize, "burst-size", 0, "how many at once")
}

// body is the limit for the API; nil when no flag was given.
func (l *limitFlags) body() (map[string]any, error) {
	if *l == (limitFlags{requests: notGiven}) {
		return nil, nil
	}
	if l.requests == notGiven {
		return nil, usageError{fmt.Errorf("a limit needs --requests")}
	}
	if l.burst == "" && l.burstSize != 0 {
		return nil, usageError{fmt.Errorf("--burst-size needs --burst")}
	}
	body := map[string]any{"requests": l.requests}
	put(body, "per", l.per)
	put(body, "window", l.window)
	if l.burst != "" {
		burst := map[string]any{"rate": l.burst}
		if l.burstSize != 0 {
			burst["size"] = l.burstSize
		}
		body["burst"] = burst
	}
	return body, nil
}

// put sets what was given.
func put(body map[string]any, name, value string) {
	if value != "" {
		body[name] = value
	}
}

// words is a limit in a table.
func words(l *store.Limit) string {
	if l == nil {
		return "-"
	}
	per := l.Per.String()
	if l.Per == 0 {
		per = "1h"
	}
	text := fmt.Sprintf("%d/%s", l.Requests, per)
	if l.Window == "fixed" {
		text += " fixed"
	}
	if l.Burst != nil {
		text += ", burst " + l.Burst.Rate.String()
	}
	return text
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.RFC3339)
}

// one wants exactly one argument, called what in the error.
func one(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError{fmt.Errorf("%s takes one %s", cmd.CommandPath(), what)}
		}
		return nil
	}
}

// resource is a path of the API with an id in it.
func resource(collection, id string, verb ...string) string {
	return "/api/v1/" + collection + "/" + strings.ReplaceAll(url.PathEscape(id), "..", "%2E%2E") + strings.Join(verb, "")
}

// asked is a command's call, made and printed.
type asked[T any] struct {
	target *adminFlags
	out    *outputFlag
	table  func(io.Writer, []T)
}

// send makes a call and prints the one thing that it answers.
func (a asked[T]) send(cmd *cobra.Command, method, path string, body any, options ...callOption) error {
	client, err := a.target.client()
	if err != nil {
		return err
	}
	var answer T
	if _, err := client.call(cmd.Context(), method, path, body, &answer, options...); err != nil {
		return err
	}
	return a.out.print(cmd.OutOrStdout(), answer, func(w io.Writer) { a.table(w, []T{answer}) })
}

// list prints all pages of a list.
func (a asked[T]) list(cmd *cobra.Command, path string, query url.Values) error {
	client, err := a.target.client()
	if err != nil {
		return err
	}
	items, err := listAll[T](cmd.Context(), client, path, query)
	if err != nil {
		return err
	}
	return a.out.print(cmd.OutOrStdout(), items, func(w io.Writer) { a.table(w, items) })
}

// drop deletes and says so.
func drop(cmd *cobra.Command, target *adminFlags, path, done string) error {
	client, err := target.client()
	if err != nil {
		return err
	}
	if _, err := client.call(cmd.Context(), http.MethodDelete, path, nil, nil); err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), done)
	return nil
}

// filters makes a query of what was given.
func filters(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}
