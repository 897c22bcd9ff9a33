"""Hooks around a snapshot, with the interface of AWS's module of this name.

Functions that were registered with register_before_snapshot run right before an
initialised instance is saved, the last one first; those registered with
register_after_restore run in each copy of it before its first call, in order.
Both work as decorators too. A package that holds AWS's own module shadows this
one, and works as well.
"""

_before_snapshot_registry = []
_after_restore_registry = []


def register_before_snapshot(func, *args, **kwargs):
    _before_snapshot_registry.append((func, args, kwargs))
    return func


def register_after_restore(func, *args, **kwargs):
    _after_restore_registry.append((func, args, kwargs))
    return func


def get_before_snapshot():
    return _before_snapshot_registry


def get_after_restore():
    return _after_restore_registry
