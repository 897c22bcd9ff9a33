package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"charm.land/lipgloss/v2"
)

// step runs fn and shows that it goes on and how long it took: with a spinner on
// a terminal, else with a line now and then. What a machine lacks is passed over.
func step(out io.Writer, name string, fn func() error) error {
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- fn() }()
	terminal := isTerminal(out)
	every := 10 * time.Second
	if terminal {
		every = 100 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case err := <-done:
			mark := good.Render("✓")
			switch {
			case errors.As(err, new(missingTool)):
				mark = warned.Render("-")
			case err != nil:
				mark = bad.Render("✗")
			}
			if terminal {
				fmt.Fprint(out, "\r\x1b[K")
			}
			lipgloss.Fprintln(out, " ", mark, fmt.Sprintf("%-34s", name), faint.Render(secondsText(time.Since(began))))
			return err
		case <-tick.C:
			if terminal {
				spinner := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
				lipgloss.Fprint(out, "\r  ", accent.Render(string(spinner[n%len(spinner)])), " ", fmt.Sprintf("%-34s", name), " ", faint.Render(secondsText(time.Since(began))))
			} else {
				fmt.Fprintf(out, "  … %-34s %s\n", name, secondsText(time.Since(began)))
			}
		}
	}
}

func secondsText(d time.Duration) string { return fmt.Sprintf("%5.1f s", d.Seconds()) }
