"""Kills a process at one of its writes, or slows it down, for publish_proofs.py."""

import array
import ctypes
import errno
import fcntl
import os
import platform
import select
import signal
import socket
import socketserver
import struct
import subprocess
import threading


WRITES = {"PUT", "POST", "DELETE"}
# The system calls that make a file visible or remove it: rename, renameat, renameat2, link, linkat,
# unlink, unlinkat. Newer machines lack the old ones.
CALLS = {
    "x86_64": [82, 264, 316, 86, 265, 87, 263],
    "aarch64": [38, 276, 37, 35],
}
SECCOMP = {"x86_64": 317, "aarch64": 277}
# From linux/seccomp.h and linux/filter.h.
PR_SET_NO_NEW_PRIVS = 38
SET_MODE_FILTER = 1
NEW_LISTENER = 1 << 3
ALLOW, USER_NOTIF = 0x7FFF0000, 0x7FC00000
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101
NOTIF_SIZE = 80
CONTINUE = 1


class FsKiller:
    """Kills a process at one of its system calls that change a directory.

    Linux holds each of these calls until this program lets it go on (seccomp_unotify(2)), so the
    calls of all threads are counted exactly.
    """

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def through(self, place):
        return place

    def works(self):
        """Returns whether this system lets a program watch another one."""

        def start(**options):
            nothing = subprocess.DEVNULL
            return subprocess.Popen(["true"], stdout=nothing, stderr=subprocess.PIPE, **options)

        try:
            return self.run(start, 0, "before")[0] == 0
        except (OSError, KeyError, subprocess.SubprocessError):
            return False

    def run(self, start, step, when, pause=lambda: None):
        """Starts a process, and kills it at its write `step`. Returns exit code and errors.

        Calls `pause` before each write.
        """
        ours, theirs = socket.socketpair()

        def watch_me():
            socket.send_fds(theirs, [b"."], [listener()])

        process = start(preexec_fn=watch_me)
        theirs.close()
        _, (calls,), _, _ = socket.recv_fds(ours, 1, 1)
        ours.close()
        try:
            # A call has ended when the next one is held, so there is no other moment than before.
            hold(calls, process, step, pause)
        finally:
            os.close(calls)
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors.decode(errors="replace")


def listener():
    """Returns a descriptor that reports the calls of this process from now on."""
    machine = platform.machine()
    calls = CALLS[machine]
    program = [(LOAD, 0, 0, 0)]
    for at, call in enumerate(calls):
        program.append((JUMP_IF_EQUAL, len(calls) - at, 0, call))
    program += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, USER_NOTIF)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    filter = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    descriptor = libc.syscall(SECCOMP[machine], SET_MODE_FILTER, NEW_LISTENER, filter)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return descriptor


def hold(calls, process, step, pause):
    """Lets calls go on until the one that is to be the last, and kills the process there."""
    poll = select.poll()
    poll.register(calls, select.POLLIN)
    number = 0
    while process.poll() is None:
        events = poll.poll(100)
        if not events:
            continue
        if not events[0][1] & select.POLLIN:
            return
        notification = array.array("B", bytes(NOTIF_SIZE))
        try:
            fcntl.ioctl(calls, NOTIF_RECV, notification)
        except OSError as error:
            # The process, or the thread of the call, has ended.
            if error.errno == errno.ENOENT:
                continue
            raise
        pause()
        number += 1
        if number == step:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return
        (identity,) = struct.unpack("Q", notification[:8])
        try:
            fcntl.ioctl(calls, NOTIF_SEND, struct.pack("QqiI", identity, 0, 0, CONTINUE))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise


class ProxyKiller:
    """A proxy in front of an S3 server, which kills its client at one of its writes."""

    def __init__(self, place):
        self.upstream = place.server.removeprefix("http://").split(":")
        self.lock = threading.Lock()
        self.process = None
        self.arm(0, "before")

    def arm(self, step, when):
        self.step, self.when, self.number = step, when, 0

    def __enter__(self):
        self.server = Proxy(self)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def through(self, place):
        return place.through(f"http://127.0.0.1:{self.server.server_address[1]}")

    def run(self, start, step, when):
        self.arm(step, when)
        self.process = None
        # A connection waits for the lock until the process is known.
        with self.lock:
            self.process = start()
        _, errors = self.process.communicate(timeout=300)
        return self.process.returncode, errors.decode(errors="replace")

    def is_last(self, method):
        """Counts a request. Returns whether the client dies at it."""
        with self.lock:
            self.number += method in WRITES
            return method in WRITES and self.number == self.step

    def kill(self):
        self.process.send_signal(signal.SIGKILL)


class Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, killer):
        self.killer = killer
        super().__init__(("127.0.0.1", 0), Connection)

    def handle_error(self, request, address):
        # A client that was killed breaks its connections.
        pass


class Connection(socketserver.StreamRequestHandler):
    """One connection of the client, with one to the server."""

    def handle(self):
        killer = self.server.killer
        host, port = killer.upstream
        with socket.create_connection((host, int(port))) as upstream:
            responses = upstream.makefile("rb")
            while head := read_head(self.rfile):
                method = head.split(b" ", 1)[0].decode()
                is_last = killer.is_last(method)
                body = read_body(self.rfile, head)
                if is_last and killer.when == "before":
                    killer.kill()
                    return
                upstream.sendall(head + body)
                head = read_head(responses)
                has_body = method != "HEAD" and head.split(b" ", 2)[1] not in (b"204", b"304")
                body = read_body(responses, head) if has_body else b""
                if is_last:
                    killer.kill()
                    return
                self.wfile.write(head + body)


def read_head(file):
    """Returns a head with its empty line, or nothing at the end of the connection."""
    lines = []
    while line := file.readline():
        lines.append(line)
        if line == b"\r\n":
            if lines[0].split(b" ")[1] == b"100":
                lines = []
                continue
            return b"".join(lines)
    return b""


def read_body(file, head):
    headers = dict(
        (name.strip().lower(), value.strip())
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
    )
    if headers.get(b"transfer-encoding", b"").lower() != b"chunked":
        return file.read(int(headers.get(b"content-length", 0)))
    parts = []
    while True:
        size = file.readline()
        length = int(size.split(b";")[0], 16)
        parts += [size, file.read(length + 2)]
        if length == 0:
            return b"".join(parts)
