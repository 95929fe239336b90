#!/usr/bin/env python3
"""Compares uploads to `anystorage serve --uploads` with @tus/server and with a plain PUT.

Usage: bench.py COMMAND MODULES [--dir DIR] [--mib N] [--rounds N] [--only NAME]

COMMAND is the path of the command, as a release build. MODULES is a directory where npm has
installed the packages of `package.json`. `benches/tus/run` prepares both.

In each round every server receives the same bytes in one request over loopback, one server after
the other. The ratios are computed within the round, and the median of the rounds is printed. The
memory is the peak of the server's process during the upload. Runs on a local directory, and on the
S3 server that the variables of storage-s3/servers name.
"""

import argparse
import base64
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

MIB = 1 << 20
BUFFER = 8 * MIB
CONFIG = """
[storages.fast]
driver = "fs"
root = "fast"
durable = false

[storages.durable]
driver = "fs"
root = "durable"
"""
S3_CONFIG = """
[storages.bucket]
driver = "s3"
"""


class Server:
    """A server as a process."""

    def __init__(self, command, directory):
        self.process = subprocess.Popen(
            command,
            cwd=directory,
            env=os.environ | {"STORAGE_CONFIG": "storages.toml"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.port = None
        address = re.compile(rb"(?:receiving tus uploads at http://127.0.0.1:|^)(\d+)\b")
        for line in self.process.stdout:
            if found := address.search(line):
                self.port = int(found[1])
                return
        raise SystemExit(f"{command[0]} does not start")

    def status(self, name):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith(name)) / 1024

    def processor_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            ticks = stat.read().rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def reset_peak(self):
        with open(f"/proc/{self.process.pid}/clear_refs", "w") as file:
            file.write("5")

    def stop(self):
        self.process.kill()
        self.process.wait()

    def request(self, method, path, fields, size=0, content=b""):
        """Sends `size` bytes of repeated content. Returns the status and the headers."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            head = (
                f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{fields}"
                f"Content-Length: {size}\r\nConnection: close\r\n\r\n"
            )
            connection.sendall(head.encode())
            view, sent = memoryview(content), 0
            while sent < size:
                chunk = view[: size - sent]
                connection.sendall(chunk)
                sent += len(chunk)
            response = b""
            while chunk := connection.recv(1 << 16):
                response += chunk
        first, *lines = response.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        return int(first.split(" ")[1]), {name.lower(): value for name, value in pairs}


TUS = "Tus-Resumable: 1.0.0\r\n"
PATCH = TUS + "Content-Type: application/offset+octet-stream\r\n"


def begin(server, size):
    name = base64.b64encode(b"bench.bin").decode()
    fields = f"{TUS}Upload-Length: {size}\r\nUpload-Metadata: filename {name}\r\n"
    status, headers = server.request("POST", "/uploads", fields)
    assert status == 201, status
    # @tus/server returns a URL.
    return re.sub(r"^https?://[^/]*", "", headers["location"])


def append(server, url, offset, size, content):
    fields = f"{PATCH}Upload-Offset: {offset}\r\n"
    status, headers = server.request("PATCH", url, fields, size, content)
    assert (status, headers["upload-offset"]) == (204, str(offset + size)), (status, headers)


def tus(server, size, content):
    append(server, begin(server, size), 0, size, content)


def put(server, size, content):
    status, _ = server.request("PUT", f"/put-{time.monotonic_ns()}.bin", "", size, content)
    assert status == 201, status


def timed(server, upload, size, content):
    """Returns the seconds of an upload, those of the processor, and the peak memory in MiB."""
    server.reset_peak()
    processor, start = server.processor_seconds(), time.monotonic()
    upload(server, size, content)
    took = time.monotonic() - start
    return took, server.processor_seconds() - processor, server.status("VmHWM:")


def compare(title, peers, options, content, clean):
    """Prints a table of the peers. The first one is what the others are compared with."""
    seconds, processor, memory = ({name: [] for name in peers} for _ in range(3))
    size = options.mib * MIB
    names = list(peers)
    for number in range(options.rounds):
        # No server always comes after the same other one.
        for name in names[number % len(names) :] + names[: number % len(names)]:
            server, upload = peers[name]
            measured = timed(server, upload, size, content)
            for results, value in zip((seconds, processor, memory), measured, strict=True):
                results[name].append(value)
            clean()

    def ratio(results, name):
        pairs = zip(results[names[0]], results[name], strict=True)
        ratios = sorted(other / own for own, other in pairs)
        return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"

    load = os.getloadavg()[0]
    print(f"\n## Uploads: {title}, {options.mib} MiB, {options.rounds} rounds, load {load:.0f}\n")
    print(
        "| | median MiB/s | anystorage / peer (median of the rounds, min to max) "
        "| processor time, peer / anystorage | peak memory |\n|-|-|-|-|-|"
    )
    for name in names:
        speed = options.mib / statistics.median(seconds[name])
        print(
            f"| {name} | {speed:.0f} | {ratio(seconds, name)} | {ratio(processor, name)} "
            f"| {max(memory[name]):.0f} MiB |",
            flush=True,
        )


def idle(server, content):
    """Prints the memory before and after 1,000 uploads that are not finished."""
    tus(server, MIB, content)
    before = server.status("VmRSS:")
    for _ in range(1000):
        append(server, begin(server, 2 * MIB), 0, 4096, content)
    after = server.status("VmRSS:")
    print(f"\n1,000 unfinished uploads: {before:.0f} MiB before, {after:.0f} MiB after")


def completion(server, mib, content, clean):
    """Prints how long the request with the last byte takes, after whole parts."""
    size = mib * MIB
    url = begin(server, size + 1)
    append(server, url, 0, size, content)
    start = time.monotonic()
    append(server, url, size, 1, content)
    took = (time.monotonic() - start) * 1000
    print(f"last byte and completion of {mib} MiB: {took:.1f} ms", flush=True)
    clean()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("modules")
    parser.add_argument("--dir")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["fs", "s3", "idle", "completion"])
    options = parser.parse_args()
    command = os.path.abspath(options.command)
    modules = os.path.abspath(options.modules)
    shutil.copy(pathlib.Path(__file__).with_name("server.mjs"), modules)
    content = os.urandom(BUFFER)
    with tempfile.TemporaryDirectory(prefix="anystorage-tus-bench-", dir=options.dir) as scratch:
        scratch = pathlib.Path(scratch)
        run(options, command, modules, content, scratch)


def run(options, command, modules, content, scratch):
    config = CONFIG
    if endpoint := os.environ.get("STORAGE_S3_TEST_ENDPOINT"):
        config += S3_CONFIG + (
            f'bucket = "{os.environ["STORAGE_S3_TEST_BUCKET"]}"\nendpoint = "{endpoint}"\n'
            f'quirks = "{os.environ["STORAGE_S3_TEST_QUIRKS"]}"\nallow_http = true\n'
            f'region = "{os.environ["AWS_REGION"]}"\n'
        )
    (scratch / "storages.toml").write_text(config)
    for name in ("fast", "durable", "node"):
        (scratch / name).mkdir()
    servers = []

    def serve(location):
        arguments = ["serve", location, "--uploads", "--writable", "--listen", "127.0.0.1:0"]
        servers.append(Server([command, *arguments], scratch))
        return servers[-1]

    def node(store):
        program = os.path.join(modules, "server.mjs")
        servers.append(Server(["node", program, store, str(scratch / "node")], scratch))
        return servers[-1]

    def clean_files():
        for name in ("fast", "durable", "node"):
            for path in (scratch / name).rglob("*"):
                if path.is_file() and path.stat().st_size > 2 * MIB:
                    path.unlink()

    def clean_bucket():
        keys = subprocess.run(
            [command, "ls", "-r", "bucket:"],
            cwd=scratch,
            env=os.environ | {"STORAGE_CONFIG": "storages.toml"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        keys = [f"bucket:{key}" for key in keys if "signing-key" not in key]
        for start in range(0, len(keys), 500):
            subprocess.run(
                [command, "rm", *keys[start : start + 500]],
                cwd=scratch,
                env=os.environ | {"STORAGE_CONFIG": "storages.toml"},
                check=True,
            )
        # The server removes deleted objects after a time, and its memory is limited.
        time.sleep(5)

    try:
        fast = serve("fast:")
        if options.only in (None, "fs"):
            durable = serve("durable:")
            peers = {
                "anystorage": (fast, tus),
                "anystorage, durable": (durable, tus),
                "@tus/server, file store": (node("file"), tus),
                "plain PUT": (fast, put),
                "plain PUT, durable": (durable, put),
            }
            compare("a local directory", peers, options, content, clean_files)
        if options.only in (None, "s3") and endpoint:
            bucket = serve("bucket:")
            peers = {
                "anystorage": (bucket, tus),
                "@tus/server, S3 store": (node("s3"), tus),
                "plain PUT": (bucket, put),
            }
            compare("RadosGW", peers, options, content, clean_bucket)
        if options.only in (None, "idle"):
            idle(fast, content)
        if options.only in (None, "completion"):
            for mib in (64, 1024, 64, 1024, 64, 1024, 10240):
                completion(fast, mib, content, clean_files)
    finally:
        for server in servers:
            server.stop()


main()
