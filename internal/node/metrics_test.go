package node

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestFiguresOfOneScrapeShareALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		look := oneLook(func() int { looks++; return looks })
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { look() })
		}
		all.Wait()
		if looks != 1 {
			t.Errorf("%d looks for one scrape", looks)
		}
		time.Sleep(time.Second) // of the bubble: the next scrape
		if got := look(); got != 2 {
			t.Errorf("the next scrape sees look %d", got)
		}
	})
}
