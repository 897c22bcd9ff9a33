package s3

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3err"
)

// The gateway makes paths of files of what clients name, and trusts some of it:
// ids of uploads, ids of versions, keys in the body of DeleteObjects. What would
// lead out of its place, or to another object's file, is refused here.

// maxKey is the longest key, in bytes.
const maxKey = 1024

// validKey reports whether a key can be one of an object: the path of a file, each
// file by one key only. A key that ends with a slash is that of a directory.
func validKey(key string) bool {
	if key == "" || len(key) > maxKey || strings.ContainsRune(key, 0) {
		return false
	}
	parts := strings.Split(strings.TrimSuffix(key, "/"), "/")
	for _, part := range parts {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return parts[0] != posix.MetaTmpDir
}

var (
	versionID = regexp.MustCompile(`^(null|[0-9A-Za-z]{26})?$`)
	uploadID  = regexp.MustCompile(`^[0-9A-Za-z-]*$`)
)

func errKey(key string) s3err.S3Error {
	return s3err.APIError{
		Code: "InvalidArgument", HTTPStatusCode: http.StatusBadRequest,
		Description: "The key '" + key + "' can't be stored: a key is the path of a file here, without empty parts and without '.' and '..'.",
	}
}

func errVersion() s3err.S3Error {
	return s3err.APIError{Code: "InvalidArgument", Description: "Invalid version id specified", HTTPStatusCode: http.StatusBadRequest}
}

// checkObject refuses an object that can't be, or a version of it.
func checkObject(key, version string) s3err.S3Error {
	switch {
	case len(key) > maxKey:
		return s3err.GetAPIError(s3err.ErrKeyTooLong)
	case !validKey(key):
		return errKey(key)
	case !versionID.MatchString(version):
		return errVersion()
	}
	return nil
}

// checkNames refuses a request whose path, query or source of a copy names what
// can't be. It reads them as the gateway does.
func checkNames(c fiber.Ctx) s3err.S3Error {
	path, err := url.PathUnescape(c.Path())
	if err != nil {
		return s3err.GetAPIError(s3err.ErrBadRequest)
	}
	_, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	version := c.Query("versionId")
	switch {
	case !uploadID.MatchString(c.Query("uploadId")):
		return s3err.GetNoSuchUploadErr(c.Query("uploadId"))
	case !versionID.MatchString(version):
		return errVersion()
	case key != "" && len(key) <= maxKey && !validKey(key) && !changes(c.Method()):
		return s3err.GetAPIError(s3err.ErrNoSuchKey)
	}
	if key != "" {
		if err := checkObject(key, version); err != nil {
			return err
		}
	}
	source := c.Get("X-Amz-Copy-Source")
	if source == "" {
		return nil
	}
	if source, err = url.QueryUnescape(source); err != nil {
		return nil // the gateway says what is wrong with it
	}
	_, key, _ = strings.Cut(strings.TrimPrefix(source, "/"), "/")
	key, version, _ = strings.Cut(key, "?versionId=")
	return checkObject(key, version)
}
