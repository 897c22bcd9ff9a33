package wire

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Words that stand for the payload's hash in x-amz-content-sha256.
const (
	unsignedPayload    = "UNSIGNED-PAYLOAD"
	streamingSigned    = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamingTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	streamingUnsigned  = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	emptySHA256        = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	maxChunkLine       = 4 << 10  // bytes of a chunk's first line, or of a trailer
	maxTrailers        = 16 << 10 // bytes of all trailers
	trailerSignature   = "x-amz-trailer-signature"
	chunkSignatureName = "chunk-signature"
)

// chunkReader reads an aws-chunked body and verifies its chunks. What it
// returns before io.EOF is not yet verified: a caller acts on the body only
// after it has seen io.EOF.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
type chunkReader struct {
	r        *bufio.Reader
	attempt  *attempt
	signed   bool // chunks have signatures
	trailers bool // headers follow the last chunk
	previous string
	claimed  string // signature of the current chunk
	left     int64  // of the current chunk
	sum      hash.Hash
	trailer  http.Header // filled at the end
	err      error
}

// newChunkReader reads the body of a request whose x-amz-content-sha256 is one
// of the STREAMING words. Trailers are added to trailer at the end.
func newChunkReader(body io.Reader, t *attempt, trailer http.Header) *chunkReader {
	return &chunkReader{
		r: bufio.NewReaderSize(body, 64<<10), attempt: t, trailer: trailer,
		signed: t.payload != streamingUnsigned, trailers: t.payload != streamingSigned,
		previous: hex.EncodeToString(t.value), left: -1, sum: sha256.New(),
	}
}

func malformedChunk(format string, args ...any) *Error {
	return &Error{Code: "InvalidRequest", Status: http.StatusBadRequest, Message: "The body is not well-formed aws-chunked data: " + fmt.Sprintf(format, args...), own: true}
}

// Read implements io.Reader.
func (c *chunkReader) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if c.left < 0 {
		if c.err = c.begin(); c.err != nil {
			return 0, c.err
		}
	}
	if len(p) == 0 {
		return 0, nil
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	if c.signed {
		c.sum.Write(p[:n])
	}
	c.left -= int64(n)
	switch {
	case c.left == 0:
		if c.err = c.end(); c.err != nil {
			return n, c.err
		}
		c.left = -1
	case err != nil:
		c.err = unexpected(err)
		return n, c.err
	}
	return n, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return malformedChunk("it ends too early")
	}
	return err
}

// line reads a line up to CRLF, which it leaves out.
func (c *chunkReader) line() (string, error) {
	b, err := c.r.ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		return "", unexpected(err)
	}
	if err != nil || len(b) > maxChunkLine {
		return "", malformedChunk("a line is too long")
	}
	return string(bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))), nil
}

// begin reads the first line of a chunk. After the last chunk it finishes the
// body and returns io.EOF.
func (c *chunkReader) begin() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	size, ext, _ := strings.Cut(line, ";")
	n, err := strconv.ParseInt(size, 16, 64)
	if err != nil || n < 0 {
		return malformedChunk("%q is not a size", printable(size))
	}
	c.claimed = ""
	if name, value, _ := strings.Cut(ext, "="); name == chunkSignatureName {
		c.claimed = value
	}
	if c.signed && c.claimed == "" {
		return malformedChunk("a chunk has no signature")
	}
	if c.left = n; n > 0 {
		return nil
	}
	if err := c.checkChunk(); err != nil {
		return err
	}
	if err := c.finish(); err != nil {
		return err
	}
	return io.EOF
}

// end checks a chunk and its CRLF.
func (c *chunkReader) end() error {
	var crlf [2]byte
	if _, err := io.ReadFull(c.r, crlf[:]); err != nil {
		return unexpected(err)
	}
	if string(crlf[:]) != "\r\n" {
		return malformedChunk("a chunk is longer than its size")
	}
	return c.checkChunk()
}

func (c *chunkReader) checkChunk() error {
	if !c.signed {
		return nil
	}
	sum := hex.EncodeToString(c.sum.Sum(nil))
	c.sum.Reset()
	return c.check("AWS4-HMAC-SHA256-PAYLOAD", emptySHA256+"\n"+sum, c.claimed)
}

// check verifies one signature of the chain.
func (c *chunkReader) check(kind, what, claimed string) error {
	t := c.attempt
	want := hex.EncodeToString(hmacSHA256(t.key, []byte(kind+"\n"+t.stamp+"\n"+t.scope()+"\n"+c.previous+"\n"+what)))
	if !hmac.Equal([]byte(want), []byte(claimed)) {
		return refuse("InvalidSignatureException", "The signature of a chunk does not match. Check your AWS Secret Access Key and signing method.")
	}
	c.previous = want
	return nil
}

// finish reads what follows the last chunk.
func (c *chunkReader) finish() error {
	var lines strings.Builder
	claimed := ""
	for {
		line, err := c.line()
		if err != nil {
			// Some clients leave out the last empty line.
			var e *Error
			if errors.As(err, &e) && e.Code == "InvalidRequest" && c.r.Buffered() == 0 {
				break
			}
			return err
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case !ok || !c.trailers:
			return malformedChunk("unexpected data after the last chunk")
		case name == trailerSignature:
			claimed = strings.TrimSpace(value)
			continue
		case lines.Len()+len(line) > maxTrailers:
			return malformedChunk("the trailers are too long")
		}
		value = strings.TrimSpace(value)
		lines.WriteString(name + ":" + value + "\n")
		c.trailer.Add(name, value)
	}
	if !c.signed || !c.trailers {
		return nil
	}
	return c.check("AWS4-HMAC-SHA256-TRAILER", hexSHA256([]byte(lines.String())), claimed)
}

// hashReader checks a body against the hash that was signed, at its end.
type hashReader struct {
	r    io.Reader
	sum  hash.Hash
	want string
}

// Read implements io.Reader.
func (h *hashReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.sum.Write(p[:n])
	if errors.Is(err, io.EOF) && hex.EncodeToString(h.sum.Sum(nil)) != h.want {
		return n, payloadMismatch()
	}
	return n, err
}

func payloadMismatch() *Error {
	return &Error{
		Code: "XAmzContentSHA256Mismatch", Status: http.StatusBadRequest,
		Message: "The provided 'x-amz-content-sha256' header does not match what was computed.", own: true,
	}
}
