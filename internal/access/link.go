package access

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-dev/mayfly/internal/errs"
)

// LinkLife is how long a sign-in link can be opened.
const LinkLife = 2 * time.Minute

// NewLink makes the token of a sign-in link: it proves, until LinkLife has
// passed, that its maker holds the key, without telling the secret. Whoever
// redeems links must take each only once.
func NewLink(key Key, now time.Time) string {
	var nonce [12]byte
	rand.Read(nonce[:]) // never fails
	text := fmt.Sprintf("%s.%d.%s", key.ID, now.Add(LinkLife).Unix(), base64.RawURLEncoding.EncodeToString(nonce[:]))
	return text + "." + linkProof(key.Secret, text)
}

// OpenLink returns the key that a token of NewLink stands for. It fails with
// errs.Denied if the token is wrong or too old.
func (k *Keys) OpenLink(ctx context.Context, token string, now time.Time) (Key, error) {
	refused := errs.Newf(errs.Denied, "this sign-in link is not valid any more: make a new one with `mayfly console`")
	cut := strings.LastIndexByte(token, '.')
	if cut < 0 {
		return Key{}, refused
	}
	text, proof := token[:cut], token[cut+1:]
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return Key{}, refused
	}
	secret, _, err := k.Secret(ctx, parts[0])
	if err != nil {
		return Key{}, refused
	}
	until, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || !hmac.Equal([]byte(proof), []byte(linkProof(secret, text))) || now.Unix() > until {
		return Key{}, refused
	}
	return Key{ID: parts[0], Secret: secret}, nil
}

func linkProof(secret, text string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("mayfly console sign-in link\n" + text)) // never fails
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
