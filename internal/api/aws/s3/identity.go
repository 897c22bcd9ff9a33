package s3

import (
	"context"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"

	"github.com/mayfly-dev/mayfly/internal/api/aws/wire"
	"github.com/mayfly-dev/mayfly/internal/errs"
)

// identity lets the gateway verify signatures with the node's keys. All of them
// act for one account, which owns the buckets whatever key made them; what a
// function may not do has been refused before (see Front).
type identity struct {
	credentials wire.Credentials
	account     auth.Account
}

var (
	_ auth.IAMService         = identity{}
	_ auth.SigningKeyProvider = identity{}
)

func newIdentity(c wire.Credentials, account string) identity {
	return identity{credentials: c, account: auth.Account{Access: account, Role: auth.RoleAdmin}}
}

// DeriveSigningKey implements auth.SigningKeyProvider.
func (i identity) DeriveSigningKey(access, token, date, region, service string) ([]byte, auth.Account, error) {
	ctx := context.Background() // the interface has none, and keys are in memory
	find, missing := i.credentials.Secret, auth.ErrNoSuchUser
	if token != "" {
		sessions, ok := i.credentials.(wire.SessionCredentials)
		if !ok {
			return nil, auth.Account{}, auth.ErrInvalidSessionToken
		}
		missing = auth.ErrInvalidSessionToken
		find = func(ctx context.Context, access string) (string, string, error) {
			return sessions.SessionSecret(ctx, access, token)
		}
	}
	secret, _, err := find(ctx, access)
	if errs.Is(err, errs.NotFound) || errs.Is(err, errs.Denied) {
		return nil, auth.Account{}, missing
	}
	if err != nil {
		return nil, auth.Account{}, err
	}
	return wire.SigningKey(secret, date, region, service), i.account, nil
}

// GetUserAccount implements auth.IAMService: there is the one account.
func (i identity) GetUserAccount(access string) (auth.Account, error) {
	if access != i.account.Access {
		return auth.Account{}, auth.ErrNoSuchUser
	}
	return i.account, nil
}

// ResolveAccounts returns those that name no account.
func (i identity) ResolveAccounts(names []string) (missing []string, err error) {
	for _, n := range names {
		if n != i.account.Access {
			missing = append(missing, n)
		}
	}
	return missing, nil
}

// ListUserAccounts implements auth.IAMService.
func (i identity) ListUserAccounts() ([]auth.Account, error) {
	return []auth.Account{i.account}, nil
}

// Accounts can't be changed through the gateway.
func (identity) CreateAccount(auth.Account) error { return errNoAccounts() }
func (identity) UpdateUserAccount(string, auth.MutableProps) error {
	return errNoAccounts()
}
func (identity) DeleteUserAccount(string) error { return errNoAccounts() }
func (identity) Shutdown() error                { return nil }

func errNoAccounts() error { return s3err.GetAPIError(s3err.ErrAdminMethodNotSupported) }
