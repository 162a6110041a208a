package main

import (
	"fmt"

	"sluice/loadtest/compare/report"
)

// growth compares the level of a series in its last quarter with that in its
// second (the first is warming up). It returns an error when the level has risen
// by more than share of itself plus slack, in the series' unit. A leak under a
// steady load grows with the requests served; a heap that breathes does not.
func growth(what string, series []float64, share, slack float64) error {
	quarter := len(series) / 4
	if quarter == 0 {
		return fmt.Errorf("%s: %d samples are too few to judge growth", what, len(series))
	}
	early := report.SpreadOf(series[quarter : 2*quarter]).Median
	late := report.SpreadOf(series[len(series)-quarter:]).Median
	if late > early*(1+share)+slack {
		return fmt.Errorf("%s grew from %.1f to %.1f", what, early, late)
	}
	return nil
}
