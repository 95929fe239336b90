#!/usr/bin/env python3
"""Uploads many files at once to `anystorage serve --uploads`, over connections that break.

Usage: load.py COMMAND [--uploads N] [--mib N] [--kills N] [--seed N]

COMMAND is the path of the command. Each upload begins at the same time, sends requests of random
sizes, and breaks its connection at random. Meanwhile the server is killed and started again. Fails
if an object has wrong bytes, if an offset falls below one that the server acknowledged, or if the
memory of the server exceeds its bound. Runs on a local directory and on the S3 server that the
environment names. Needs no package.
"""

import argparse
import asyncio
import base64
import os
import random
import re
import socket
import struct
import sys
import tempfile
import time

from servers import Server, storages

MIB = 1 << 20
MAX_MEMORY_MIB = {"fs": 200, "s3": 400}
MIN_REQUEST = 256 << 10
MAX_REQUEST = 8 * MIB
# How long the client waits before it repeats a request that failed.
PAUSE_SECONDS = 0.2
RESPONSE_SECONDS = 120


class Load:
    def __init__(self, options, server):
        self.options, self.server = options, server
        # The bytes of each upload are a part of this, at a place of its own.
        self.pool = random.Random(options.seed).randbytes(2 * options.mib * MIB)
        self.cuts = self.requests = self.conflicts = self.failures = 0
        self.acknowledged = 0

    def content(self, number):
        """Returns the bytes of an upload, without a copy."""
        chosen = random.Random(self.options.seed + number)
        start = chosen.randrange(self.options.mib * MIB)
        return memoryview(self.pool)[start : start + chosen.randint(1, self.options.mib * MIB)]

    async def upload(self, number):
        chosen = random.Random(f"{self.options.seed}-{number}")
        content = self.content(number)
        url = await self.begin(number, len(content))
        acknowledged = 0
        while acknowledged < len(content):
            left = len(content) - acknowledged
            size = min(left, chosen.randint(MIN_REQUEST, MAX_REQUEST))
            # One of three requests is cut after some of its bytes.
            cut = chosen.randrange(size) if chosen.random() < 1 / 3 else None
            body = content[acknowledged : acknowledged + size]
            offset = await self.append(url, acknowledged, body, cut)
            if offset is None:
                offset = await self.offset(url)
            if offset < acknowledged:
                raise AssertionError(f"upload {number}: {offset} after {acknowledged} bytes")
            self.acknowledged += offset - acknowledged
            acknowledged = offset

    async def begin(self, number, size):
        name = base64.b64encode(b"load%06d.bin" % number).decode()
        fields = f"Upload-Length: {size}\r\nUpload-Metadata: filename {name}\r\n"
        while True:
            status, headers = await self.request("POST", "/uploads", fields)
            if status == 201:
                return headers["location"]
            await asyncio.sleep(PAUSE_SECONDS)

    async def append(self, url, offset, body, cut):
        """Returns the offset that the server acknowledges, or None if that is not known."""
        fields = (
            f"Upload-Offset: {offset}\r\nContent-Type: application/offset+octet-stream\r\n"
        )
        status, headers = await self.request("PATCH", url, fields, body, cut)
        if status == 204:
            return int(headers["upload-offset"])
        if status == 409:
            self.conflicts += 1
        elif status is not None and status < 500:
            raise AssertionError(f"PATCH: {status}")
        return None

    async def offset(self, url):
        while True:
            status, headers = await self.request("HEAD", url, "")
            if status == 200:
                return int(headers["upload-offset"])
            if status is not None and status < 500:
                raise AssertionError(f"HEAD: {status}")
            await asyncio.sleep(PAUSE_SECONDS)

    async def request(self, method, path, fields, body=b"", cut=None):
        """Returns the status and the headers of the response, or None if there is none."""
        self.requests += 1
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        except OSError:
            self.failures += 1
            await asyncio.sleep(PAUSE_SECONDS)
            return None, {}
        try:
            head = (
                f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\n{fields}"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            writer.write(head.encode())
            end = len(body) if cut is None else cut
            for start in range(0, end, 1 << 16):
                writer.write(body[start : min(start + (1 << 16), end)])
                await writer.drain()
            if cut is not None:
                self.cut(writer, random.random() < 0.5)
                return None, {}
            response = await asyncio.wait_for(reader.read(1 << 16), RESPONSE_SECONDS)
            return parse(response)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            self.failures += 1
            return None, {}
        finally:
            writer.close()

    def cut(self, writer, at_once):
        """Breaks a connection: at once (RST), or after what is buffered (FIN)."""
        self.cuts += 1
        if at_once:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )
            writer.transport.abort()

    async def kill(self, uploads):
        """Kills the server when a share of all bytes is acknowledged, and starts it again."""
        total = sum(len(self.content(number)) for number in range(self.options.uploads))
        for number in range(self.options.kills):
            share = total * (number + 1) // (self.options.kills + 1)
            while self.acknowledged < share and not uploads.done():
                await asyncio.sleep(0.05)
            if uploads.done():
                raise AssertionError("the uploads ended before the server was killed")
            self.server.kill()
            self.server.start()

    async def run(self):
        uploads = asyncio.gather(*map(self.upload, range(self.options.uploads)))
        await asyncio.gather(self.kill(uploads), uploads)

    def verify(self):
        """Compares all objects with what was sent."""
        keys = self.server.keys()
        numbers = sorted(int(re.search(r"load(\d+)-", key)[1]) for key in keys)
        if numbers != list(range(self.options.uploads)):
            raise AssertionError(f"{len(numbers)} objects: {numbers}")
        for key in keys:
            content, offset = self.content(int(re.search(r"load(\d+)-", key)[1])), 0
            with self.server.read(key) as response:
                while chunk := response.read(MIB):
                    if content[offset : offset + len(chunk)] != chunk:
                        raise AssertionError(f"{key}: wrong bytes after {offset}")
                    offset += len(chunk)
            if offset != len(content):
                raise AssertionError(f"{key}: {offset} bytes instead of {len(content)}")


def parse(response):
    """Returns the status and the headers of a response."""
    head, end, _ = response.partition(b"\r\n\r\n")
    if not end:
        raise ValueError("the response broke off")
    first, *lines = head.decode().split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return int(first.split(" ")[1]), {name.lower(): value for name, value in pairs}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--mib", type=int, default=48, help="the largest size of an upload")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    command = os.path.abspath(options.command)
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="anystorage-load-") as scratch:
        for kind, location, environment in storages(scratch):
            server = Server(command, location, environment, scratch)
            try:
                load = Load(options, server)
                start = time.monotonic()
                asyncio.run(load.run())
                seconds = time.monotonic() - start
                memory = server.measure()
                load.verify()
            finally:
                server.kill()
            print(
                f"{kind}: {options.uploads} uploads of {load.acknowledged / MIB:.0f} MiB in all in "
                f"{seconds:.0f}s, {memory:.0f} MiB of memory; {load.requests} requests, "
                f"{load.cuts} cut, {load.conflicts} conflicts, {load.failures} without a response, "
                f"{options.kills} kills; no wrong and no lost byte",
                flush=True,
            )
            if not load.cuts:
                sys.exit(f"{kind}: no connection was cut")
            if memory > MAX_MEMORY_MIB[kind]:
                sys.exit(f"{kind}: more than {MAX_MEMORY_MIB[kind]} MiB of memory")


main()
