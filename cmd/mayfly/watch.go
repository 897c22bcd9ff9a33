package main

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/fsnotify/fsnotify"
)

// quiet is how long a directory must be left alone before it is deployed: an
// editor's save is several changes.
const quiet = 200 * time.Millisecond

// watch deploys a directory now and after each change, until ctx ends. What
// fails is told, and the next change tried again.
func (c *cli) watch(ctx context.Context, cl *client, dir string, o deployOptions) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	defer w.Close()
	if err := watchTree(w, dir); err != nil {
		return err
	}
	for {
		switch d, err := c.deploy(ctx, cl, dir, o); {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			lipgloss.Fprintln(c.err, bad.Render("error:"), describeError(err))
		default:
			if err := c.printDeployment(d); err != nil {
				return err
			}
		}
		fmt.Fprintf(c.err, "Watching %s; stop with Ctrl-C.\n", dir)
		if err := awaitChange(ctx, w, dir); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// awaitChange returns when something changed and then nothing more for a while,
// or when ctx ends.
func awaitChange(ctx context.Context, w *fsnotify.Watcher, dir string) error {
	var settled <-chan time.Time
	skip, err := readIgnore(filepath.Join(dir, ignoreFile))
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-settled:
			return watchTree(w, dir) // new directories too
		case err := <-w.Errors:
			return fmt.Errorf("watch %s: %w", dir, err)
		case e := <-w.Events:
			rel, err := filepath.Rel(dir, e.Name)
			if err != nil {
				return fmt.Errorf("watch %s: %w", dir, err)
			}
			wanted := rel == projectFile || rel == ignoreFile || !skip.match(filepath.ToSlash(rel), false)
			if wanted && !e.Has(fsnotify.Chmod) {
				settled = time.After(quiet)
			}
		}
	}
}

// watchTree watches a directory and those in it that are packed.
func watchTree(w *fsnotify.Watcher, dir string) error {
	skip, err := readIgnore(filepath.Join(dir, ignoreFile))
	if err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if path != dir && skip.match(filepath.ToSlash(rel), true) {
			return fs.SkipDir
		}
		if err := w.Add(path); err != nil {
			return fmt.Errorf("watch %s: %w", path, err)
		}
		return nil
	})
}
