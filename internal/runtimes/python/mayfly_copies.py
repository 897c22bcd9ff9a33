"""What a process does around the snapshot that copies are made of.

It is imported right before the snapshot, so that restoring reads no files. Only
modules that the function itself has loaded are looked at.
"""

import gc
import os
import sys


def _loaded(name):
    return sys.modules.get(name)


def before_snapshot():
    hooks = _loaded("snapshot_restore_py")
    if hooks is not None:
        registered = hooks.get_before_snapshot()
        while registered:
            func, args, kwargs = registered.pop()
            func(*args, **kwargs)
    gc.collect()


def after_restore(variables):
    """Make this copy another one than its siblings, then run the hooks."""
    os.environ.update(variables)
    _reseed()
    hooks = _loaded("snapshot_restore_py")
    if hooks is not None:
        for func, args, kwargs in hooks.get_after_restore():
            func(*args, **kwargs)


def _reseed():
    random = _loaded("random")
    if random is not None:
        random.seed()
    ssl = _loaded("ssl")
    if ssl is not None:
        ssl.RAND_add(os.urandom(48), 48.0)  # reseeds OpenSSL's generators, from the kernel's too
    uuid = _loaded("uuid")
    if uuid is not None:
        uuid._node = uuid._last_timestamp = None  # of uuid1
    tempfile = _loaded("tempfile")
    if tempfile is not None:
        tempfile._name_sequence = None
    numpy = _loaded("numpy.random")
    if numpy is not None:
        numpy.seed()
