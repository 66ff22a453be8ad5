package console

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// The size of the drawing of a chart. The browser stretches it.
const (
	chartWidth  = 240
	chartHeight = 60
)

// chart is a line or bar chart over equal spans of time, which ends now.
type chart struct {
	Title  string
	Text   string // what it shows, for people who do not see it
	From   string // the beginning of the axis
	Top    int64  // the value at the upper edge
	Per    string // the unit of Top, such as "a minute"
	Series []series
	Empty  bool
}

// series is one line of a chart.
type series struct {
	Name  string
	Place string // first, second or third: its colour
	Area  bool
	Bars  bool
	n     []int64
	top   int64
}

// newChart returns a chart of series with the same number of values.
func newChart(title, from, per string, list ...series) chart {
	c := chart{Title: title, From: from, Per: per, Empty: true}
	var parts []string
	for i := range list {
		sum, most := int64(0), int64(0)
		for _, n := range list[i].n {
			sum, most = sum+n, max(most, n)
		}
		c.Top, c.Empty = max(c.Top, most), c.Empty && sum == 0
		list[i].Place = []string{"first", "second", "third"}[i]
		parts = append(parts, fmt.Sprintf("%s: %s in total, at most %s %s", list[i].Name, number(sum), number(most), per))
	}
	c.Top = roundUp(c.Top)
	for i := range list {
		list[i].top = c.Top
	}
	c.Series, c.Text = list, title+". "+strings.Join(parts, ". ")+"."
	return c
}

// roundUp returns the next value of 1, 2 or 5 times a power of ten, and at least 5.
func roundUp(n int64) int64 {
	if n <= 5 {
		return 5
	}
	power := int64(math.Pow10(int(math.Log10(float64(n)))))
	for _, m := range []int64{1, 2, 5} {
		if n <= m*power {
			return m * power
		}
	}
	return 10 * power
}

// point returns the coordinates of a value.
func (s series) point(i int) (x, y float64) {
	if len(s.n) > 1 {
		x = float64(i) * chartWidth / float64(len(s.n)-1)
	}
	return x, chartHeight - float64(s.n[i])*(chartHeight-1)/float64(s.top)
}

// Line returns the path of the series.
func (s series) Line() string {
	var b strings.Builder
	for i := range s.n {
		x, y := s.point(i)
		fmt.Fprintf(&b, "%c%.1f %.1f", "ML"[min(i, 1)], x, y)
	}
	return b.String()
}

// Surface returns the path of the area below the line.
func (s series) Surface() string {
	return fmt.Sprintf("M0 %d", chartHeight) + "L" + s.Line()[1:] + fmt.Sprintf("L%d %dz", chartWidth, chartHeight)
}

// bar is a column of a bar chart.
type bar struct{ X, Y, Width, Height float64 }

// Columns returns the bars of the series.
func (s series) Columns() (list []bar) {
	width := chartWidth / float64(len(s.n))
	for i, n := range s.n {
		height := float64(n) * (chartHeight - 1) / float64(s.top)
		if n > 0 {
			list = append(list, bar{float64(i)*width + width*0.15, chartHeight - height, width * 0.7, height})
		}
	}
	return list
}

// buckets count values by the span of time that they fall into. The last span contains
// now.
type buckets struct {
	start time.Time
	span  time.Duration
	n     []int64
}

func newBuckets(now time.Time, span time.Duration, count int) *buckets {
	return &buckets{now.UTC().Truncate(span).Add(-time.Duration(count-1) * span), span, make([]int64, count)}
}

func (b *buckets) add(at time.Time, n int64) {
	if i := int(at.Sub(b.start) / b.span); !at.Before(b.start) && i < len(b.n) {
		b.n[i] += n
	}
}

func (b *buckets) sum() (sum int64) {
	for _, n := range b.n {
		sum += n
	}
	return sum
}
