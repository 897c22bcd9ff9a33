package egress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	relayTimeout = 2 * time.Second // for one nameserver; resolvers inside wait 5 s by default
	relayPerPeer = 64              // queries of one sandbox at a time
	relayTotal   = 1024            // queries at a time
	maxDatagram  = 64 << 10
)

// relay passes DNS queries of sandboxes on to the host's own nameservers, which
// may be on addresses that sandboxes can't reach (127.0.0.53, link-local,
// IPv6). It listens in a namespace like a sandbox's, so it opens no port on the
// host, and asks from the host's. It does not look into messages.
type relay struct {
	addr   netip.Addr
	search []byte // the host's search and options lines
	file   string
	log    *slog.Logger

	packets net.PacketConn
	streams net.Listener
	stop    context.CancelFunc
	work    sync.WaitGroup

	mu     sync.Mutex
	total  int
	byPeer map[netip.Addr]int

	servers resolvConf
}

// startRelay opens the relay in v's namespace. close ends it.
func startRelay(v *veth, resolvConf string, log *slog.Logger) (*relay, error) {
	r := &relay{addr: v.addr, file: resolvConf, log: log, byPeer: map[netip.Addr]int{}}
	_, r.search = r.servers.read(r.file, log)
	at := netip.AddrPortFrom(v.addr, 53).String()
	err := v.ns.within(func() (err error) {
		// The literal address keeps both calls from starting goroutines
		// (lookups) outside of the namespace.
		if r.packets, err = net.ListenPacket("udp4", at); err != nil {
			return err
		}
		r.streams, err = net.Listen("tcp4", at)
		return err
	})
	if err != nil {
		if r.packets != nil {
			r.packets.Close()
		}
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background()) // ended by close
	r.stop = stop
	r.work.Go(func() { r.servePackets(ctx) })
	r.work.Go(func() { r.serveStreams(ctx) })
	return r, nil
}

// apiPort is the port of the API in the relay's namespace.
const apiPort = 80

// listenAPI listens for connections of sandboxes in v's namespace.
func listenAPI(v *veth) (l net.Listener, err error) {
	err = v.ns.within(func() (err error) {
		l, err = net.Listen("tcp4", netip.AddrPortFrom(v.addr, apiPort).String())
		return err
	})
	return l, err
}

func (r *relay) close() {
	r.stop()
	r.packets.Close()
	r.streams.Close()
	r.work.Wait()
}

func (r *relay) servePackets(ctx context.Context) {
	buf := make([]byte, maxDatagram)
	for ctx.Err() == nil {
		n, from, err := r.packets.ReadFrom(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP error for an earlier answer
		}
		peer := from.(*net.UDPAddr).AddrPort().Addr().Unmap()
		if !r.enter(peer) {
			continue // the resolver inside asks again
		}
		query := bytes.Clone(buf[:n])
		r.work.Go(func() {
			defer r.leave(peer)
			if answer := r.ask(ctx, query); answer != nil {
				_, _ = r.packets.WriteTo(answer, from) // a lost answer is asked for again
			}
		})
	}
}

// ask returns the first answer of a nameserver to the query, or nil.
func (r *relay) ask(ctx context.Context, query []byte) []byte {
	servers, _ := r.servers.read(r.file, r.log)
	for _, s := range servers {
		answer, err := exchange(ctx, s, query)
		if err == nil {
			return answer
		}
		if ctx.Err() != nil {
			return nil
		}
		r.log.Debug("nameserver did not answer", "server", s, "err", err)
	}
	return nil
}

// exchange sends the query from a fresh port and returns the answer that bears
// its id.
func exchange(ctx context.Context, server string, query []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, relayTimeout)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "udp", server)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, maxDatagram)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil, err
		}
		if n >= 2 && len(query) >= 2 && bytes.Equal(buf[:2], query[:2]) {
			return buf[:n], nil
		}
	}
}

func (r *relay) serveStreams(ctx context.Context) {
	for {
		c, err := r.streams.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			r.log.Warn("DNS relay could not accept a connection", "err", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(100 * time.Millisecond): // out of files, most likely
			}
			continue
		}
		peer := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		if !r.enter(peer) {
			c.Close()
			continue
		}
		r.work.Go(func() {
			defer r.leave(peer)
			defer c.Close()
			r.pipe(ctx, c)
		})
	}
}

// pipe joins c with a nameserver for as long as an exchange over TCP may take.
func (r *relay) pipe(ctx context.Context, c net.Conn) {
	servers, _ := r.servers.read(r.file, r.log)
	ctx, cancel := context.WithTimeout(ctx, 5*relayTimeout)
	defer cancel()
	for _, s := range servers {
		up, err := (&net.Dialer{Timeout: relayTimeout}).DialContext(ctx, "tcp", s)
		if err != nil {
			r.log.Debug("nameserver did not answer", "server", s, "err", err)
			continue
		}
		defer up.Close()
		defer context.AfterFunc(ctx, func() { c.Close(); up.Close() })()
		var both sync.WaitGroup
		both.Go(func() { copyAndClose(up, c) })
		both.Go(func() { copyAndClose(c, up) })
		both.Wait()
		return
	}
}

// copyAndClose copies until src ends, then tells dst so. Errors end the
// exchange, which the sandbox's resolver sees and repeats.
func copyAndClose(dst, src net.Conn) {
	_, _ = io.Copy(dst, src)
	_ = dst.(*net.TCPConn).CloseWrite()
}

// enter counts one more exchange for peer, unless there are too many.
func (r *relay) enter(peer netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.total >= relayTotal || r.byPeer[peer] >= relayPerPeer {
		return false
	}
	r.total++
	r.byPeer[peer]++
	return true
}

func (r *relay) leave(peer netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total--
	if r.byPeer[peer]--; r.byPeer[peer] == 0 {
		delete(r.byPeer, peer)
	}
}

// resolvConf is what the host's resolv.conf says, read again when it changes.
// The zero value is ready for use.
type resolvConf struct {
	mu      sync.Mutex
	changed time.Time
	size    int64
	servers []string // host:port
	search  []byte
}

// read returns the nameservers and the search and options lines. A file that
// can't be read leaves what was known, at first the resolver's default.
func (c *resolvConf) read(file string, log *slog.Logger) (servers []string, search []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fi, err := os.Stat(file)
	if err == nil && (!fi.ModTime().Equal(c.changed) || fi.Size() != c.size) {
		var b []byte
		if b, err = os.ReadFile(file); err == nil {
			c.changed, c.size = fi.ModTime(), fi.Size()
			c.servers, c.search = parseResolvConf(b)
		}
	}
	if err != nil {
		log.Warn("could not read the host's resolver configuration", "err", err)
		if c.servers == nil {
			c.servers, c.search = parseResolvConf(nil)
		}
	}
	return c.servers, c.search
}

// parseResolvConf follows resolv.conf(5): at most three nameservers, and the
// local host if there is none.
func parseResolvConf(b []byte) (servers []string, search []byte) {
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(f[1]); err == nil && len(servers) < 3 {
				servers = append(servers, netip.AddrPortFrom(a, 53).String())
			}
		case "search", "domain", "options":
			search = append(search, strings.Join(f, " ")+"\n"...)
		}
	}
	if len(servers) == 0 {
		servers = []string{"127.0.0.1:53"}
	}
	return servers, search
}
