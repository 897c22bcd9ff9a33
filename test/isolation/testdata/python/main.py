"""A hostile function: each do_* is one thing that it must not get away with.

They return what happened, for the test to judge.
"""

import errno
import json
import os
import random
import signal
import socket
import stat
import struct
import sys
import threading
import time
import uuid

STARTED = time.monotonic()


def handler(event, context):
    return globals()["do_" + event["do"]](event)


def word(e):
    """The name of what went wrong, such as EACCES."""
    if isinstance(e, OSError) and e.errno:
        return errno.errorcode.get(e.errno, str(e.errno))
    return type(e).__name__


def attempt(fn, *args):
    try:
        return "got: %s" % (fn(*args),)
    except BaseException as e:
        return word(e)


# --- files -------------------------------------------------------------------


def do_whoami(event):
    return {"instance": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"], "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(), "pid": os.getpid(), "env": dict(os.environ)}


def do_read(event):
    """Which of the given paths can be read, as a file or as a directory?"""
    read = {}
    for path in event["paths"]:
        try:
            if os.path.isdir(path):
                os.listdir(path)
            else:
                with open(path, "rb") as f:
                    f.read(1)
            read[path] = True
        except OSError as e:
            read[path] = word(e)
    return read


def do_search(event):
    """Walk everything for names and contents that belong to others."""
    needles = [n.encode() for n in event["needles"]]
    found, seen = [], 0
    for dir, dirs, files in os.walk("/"):
        if dir == "/":
            dirs[:] = [d for d in dirs if d not in ("proc", "sys", "dev")]
        for name in dirs + files:
            path = os.path.join(dir, name)
            seen += 1
            if any(n in os.fsencode(path) for n in needles):
                found.append(path)
        for name in files:
            path = os.path.join(dir, name)
            try:
                if not stat.S_ISREG(os.lstat(path).st_mode) or os.path.getsize(path) > 64 << 10:
                    continue
                with open(path, "rb") as f:
                    data = f.read()
            except OSError:
                continue
            if path != "/var/task/main.py" and any(n in data for n in needles):
                found.append(path)
    return {"found": found, "seen": seen}


def do_setuid_files(event):
    found = []
    for dir, dirs, files in os.walk("/"):
        if dir == "/":
            dirs[:] = [d for d in dirs if d not in ("proc", "sys")]
        for name in files:
            path = os.path.join(dir, name)
            try:
                if os.lstat(path).st_mode & (stat.S_ISUID | stat.S_ISGID):
                    found.append(path)
            except OSError:
                pass
    return found


def do_write(event):
    """Try to change each of the given places, all ways that there are."""
    out = {}
    for place in event["places"]:
        path = os.path.join(place, "planted")
        out[place] = [
            attempt(lambda: open(path, "w").write("x")),
            attempt(os.mkdir, path + ".d"),
            attempt(os.symlink, "/etc/passwd", path + ".l"),
            attempt(os.chmod, place, 0o777),
            attempt(os.rename, place, place.rstrip("/") + ".old"),
        ]
    for path in event["files"]:
        out[path] = [attempt(lambda: open(path, "a").write("x")), attempt(os.unlink, path), attempt(os.chmod, path, 0o777)]
    return out


def do_fill_tmp(event):
    block, n = b"\xa5" * (1 << 20), 0
    try:
        with open("/tmp/fill", "wb", buffering=0) as f:
            while n < event["mb"]:
                f.write(block)
                n += 1
        return {"mb": n, "error": ""}
    except OSError as e:
        return {"mb": n, "error": word(e)}
    finally:
        os.unlink("/tmp/fill")


# --- exhaustion --------------------------------------------------------------


def do_exhaust_memory(event):
    held = []
    while True:
        held.append(bytearray(os.urandom(1 << 16)) * 64)


def do_exhaust_files(event):
    held, e = [], None
    try:
        while len(held) < 100_000:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as caught:
        e = caught
    n = len(held)
    for fd in held:
        os.close(fd)
    return {"n": n, "error": word(e) if e else ""}


def do_fork_bomb(event):
    """Fork until it fails; the children only wait to be killed."""
    pids, e = [], None
    try:
        while len(pids) < 20_000:
            pid = os.fork()
            if pid == 0:
                while True:
                    signal.pause()
            pids.append(pid)
    except OSError as caught:
        e = caught
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)
    return {"n": len(pids), "error": word(e) if e else ""}


def do_wild_fork_bomb(event):
    """The same without a plan: every child forks on, nobody waits."""
    while True:
        try:
            os.fork()
        except OSError:
            pass


def do_threads(event):
    stop, n, e = threading.Event(), 0, None
    try:
        while n < 20_000:
            threading.Thread(target=stop.wait, daemon=True).start()
            n += 1
    except RuntimeError as caught:
        e = caught
    stop.set()
    return {"n": n, "error": type(e).__name__ if e else ""}


def do_flood_log(event):
    line = "x" * 1023 + "\n"
    for _ in range(event["mb"] << 10):
        sys.stdout.write(line)
    sys.stdout.flush()
    os.write(2, b"\x00\xff\xfe no newline " * 1000)
    return "flooded"


# --- time --------------------------------------------------------------------

ticks = 0


def do_haunt(event):
    """Start a thread that outlives the call, and say what it has done so far."""
    global ticks
    so_far = ticks
    if event.get("start"):
        def run():
            global ticks
            while True:
                ticks += 1
                time.sleep(0.001)
        threading.Thread(target=run, daemon=True).start()
    if event.get("stay"):
        time.sleep(event["stay"])
        so_far = ticks
    return {"ticks": so_far, "instance": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]}


def do_spin(event):
    """Ignore everything and burn all CPUs."""
    for s in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(s, signal.SIG_IGN)
    for _ in range(4):
        if os.fork() == 0:
            while True:
                pass
    while True:
        pass


# --- processes and the kernel ------------------------------------------------


def do_processes(event):
    seen = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/cmdline" % name, "rb") as f:
                    seen[name] = f.read().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError as e:
                seen[name] = word(e)
    return seen


def do_kill(event):
    return {str(pid): attempt(os.kill, pid, signal.SIGKILL) for pid in event["pids"]}


def do_kill_all(event):
    return attempt(os.kill, -1, signal.SIGKILL)


def do_kill_self(event):
    os.kill(os.getpid(), event["signal"])
    time.sleep(60)


def do_exit(event):
    os._exit(event["code"])


def do_close_everything(event):
    os.closerange(0, 1024)
    return "closed"


def do_privileges(event):
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def call(name, *args):
        ctypes.set_errno(0)
        r = getattr(libc, name)(*args)
        return "got: %d" % r if r != -1 else errno.errorcode.get(ctypes.get_errno(), "?")

    def raw(family, kind, proto):
        return attempt(lambda: socket.socket(family, kind, proto).close())

    return {
        "setuid": attempt(os.setuid, 0),
        "setgid": attempt(os.setgid, 0),
        "setgroups": attempt(os.setgroups, [0]),
        "chroot": attempt(os.chroot, "/tmp"),
        "mknod": attempt(os.mknod, "/tmp/sda", 0o600 | stat.S_IFBLK, os.makedev(8, 0)),
        "mount": call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "umount": call("umount2", b"/var/task", 2),
        "pivot_root": call("syscall", 155, b"/tmp", b"/tmp"),
        "sethostname": call("sethostname", b"owned", 5),
        "reboot": call("reboot", 0x1234567),
        "swapon": call("swapon", b"/tmp/x", 0),
        "ptrace init": call("ptrace", 16, 1, None, None) if os.getpid() != 1 else "EPERM",
        "raw socket": raw(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "packet socket": raw(socket.AF_PACKET, socket.SOCK_RAW, 0),
        "settime": attempt(time.clock_settime, time.CLOCK_REALTIME, 0),
        "rlimit": attempt(raise_limit),
        "bpf": call("syscall", 321, 0, None, 0),
        "init_module": call("syscall", 175, b"x", 1, b""),
        "kexec": call("syscall", 246, 0, 0, None, 0),
    }


def raise_limit():
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))


# --- network -----------------------------------------------------------------


def do_connect(event):
    out = {}
    for to in event["to"]:
        host, port = to.rsplit(":", 1)
        try:
            with socket.create_connection((host, int(port)), timeout=5) as s:
                s.settimeout(5)
                out[to] = "got: " + s.recv(100).decode()
        except OSError as e:
            out[to] = word(e)
    return out


def do_gateway(event):
    """The address of the host's end of the wire."""
    with open("/proc/net/route") as f:
        for line in f.readlines()[1:]:
            cells = line.split()
            if cells[1] == "00000000":
                return socket.inet_ntoa(struct.pack("<L", int(cells[2], 16)))
    return ""


# --- the link to the host ----------------------------------------------------


def link_ends():
    """The pipes that this process holds: the link is among them."""
    ends = []
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                ends.append(fd)
        except OSError:
            pass
    return ends


def send(data):
    for fd in link_ends():
        try:
            os.write(fd, data)
        except OSError:
            pass  # a reading end


def frame(kind, body=b"", header=b""):
    return struct.pack("<IBBH", len(body), kind, 0, len(header)) + header + body


def do_link(event):
    what = event["what"]
    if what == "garbage":
        send(random.Random(1).randbytes(60_000))
    elif what == "oversized":
        send(struct.pack("<IBBH", 0xFFFFFFFF, 18, 0, 0xFFFF))
    elif what == "unknown kind":
        send(frame(99, b"?"))
    elif what == "host's kind":
        send(frame(1, b"{}", b"Lambda-Runtime-Aws-Request-Id: x\r\n"))
    elif what == "ready again":
        send(frame(16))
    elif what == "init error late":
        send(frame(17, b"{}"))
    elif what == "half a frame":
        send(struct.pack("<IBBH", 1 << 20, 18, 0, 0) + b"only this")
    elif what == "hostile header":
        send(frame(19, b"{}", b"Error-Type: " + b"A" * 60_000))
    elif what == "two answers":
        send(frame(18, b'"forged"') + frame(18, b'"forged again"'))
    elif what == "closed":
        for fd in link_ends():
            os.close(fd)
    elif what == "steal":
        # Read what the host sends next, before the bootstrap does.
        def run():
            for fd in link_ends():
                try:
                    os.read(fd, 1 << 20)
                except OSError:
                    pass
        threading.Thread(target=run, daemon=True).start()
    return "done"


def do_huge_answer(event):
    return "x" * (event["mb"] << 20)
