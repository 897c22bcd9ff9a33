package sandbox

import "slices"

// Instances whose version takes many calls at one time are shared: they count
// their users, and stay in their group's open list while they have room for more.

// join adds a user to an instance of g that is busy and has room; nil if there is
// none.
func (g *group) join() *Instance {
	for n := len(g.open); n > 0; n-- {
		i := g.open[n-1]
		if !i.alive() || i.broken {
			g.open = g.open[:n-1] // closed when its last user leaves
			continue
		}
		g.enter(i)
		return i
	}
	return nil
}

// enter counts a user of i.
func (g *group) enter(i *Instance) {
	i.users++
	at := slices.Index(g.open, i)
	switch full := i.users >= i.Version.Width(); {
	case full && at >= 0:
		g.open = slices.Delete(g.open, at, at+1)
	case !full && at < 0:
		g.open = append(g.open, i)
	}
}

// leave counts one user less, and reports whether there are others. While there
// are, who waits may have the place.
func (p *Pool) leave(i *Instance) (shared bool) {
	g := i.group
	if i.users--; i.users == 0 {
		g.close(i)
		return false
	}
	switch {
	case i.broken || p.shut || g.retired || !i.alive():
		g.close(i)
	case !slices.Contains(g.open, i):
		g.open = append(g.open, i)
		p.fill(i)
	}
	return true
}

// Abandon lets no more calls into a shared instance, which can't be reached; it
// ends with its last user.
func (p *Pool) Abandon(i *Instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i.broken = true
	i.group.close(i)
}

// close lets no more users in.
func (g *group) close(i *Instance) {
	if at := slices.Index(g.open, i); at >= 0 {
		g.open = slices.Delete(g.open, at, at+1)
	}
}

// fill gives the room that a busy instance has to those who wait.
func (p *Pool) fill(i *Instance) {
	for i.users < i.Version.Width() {
		w := p.oldest(i.group)
		if w == nil {
			return
		}
		p.forget(w)
		i.group.enter(i)
		w.got <- grant{i: i}
	}
}
