// Package image builds the read-only file trees that sandboxes run on: code
// packages and the root file systems of language runtimes. Each is had as an
// EROFS image or as a directory, is built once, and is kept until Collect.
package image
