#!/usr/bin/env python3
"""Uploads with tuspy and tus-js-client to `anystorage serve --uploads`.

Usage: tus.py COMMAND MODULES

COMMAND is the path of the command. MODULES is a directory in which node finds tus-js-client. Each
test runs on a local directory and on the S3 server that the environment names. `clients/run`
prepares all of this.
"""

import concurrent.futures
import hashlib
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

from tusclient.client import TusClient

from servers import Proxy, Server, storages

MIB = 1 << 20
# More than two parts of 8 MiB, and no multiple of anything.
SIZE = 21 * MIB + 12345
TIMEOUT_SECONDS = 120


class Context:
    """A storage with its server, and the clients."""

    def __init__(self, server, scratch, modules):
        self.server, self.scratch, self.modules = server, scratch, modules
        self.count = 0

    def new_file(self, size=SIZE):
        """Creates a file with random bytes. Returns its path and its name, which is a stem."""
        self.count += 1
        name = f"file{self.count:03}"
        path = pathlib.Path(self.scratch) / f"{name}.bin"
        path.write_bytes(random.Random(self.count).randbytes(size))
        return path, name

    def expect_object(self, name, path):
        """Fails unless there is exactly one object with this stem, with the bytes of the file."""
        keys = [key for key in self.server.keys() if f"{name}-" in key]
        assert len(keys) == 1, f"{name}: {keys}"
        with self.server.read(keys[0]) as response:
            stored = hashlib.file_digest(response, "sha256").hexdigest()
        with open(path, "rb") as file:
            assert stored == hashlib.file_digest(file, "sha256").hexdigest(), f"{name}: bytes"

    def expect_none(self, name):
        keys = [key for key in self.server.keys() if f"{name}-" in key]
        assert not keys, keys

    def tuspy(self, path, name, endpoint=None, **options):
        """Returns an uploader of tuspy."""
        options = {"chunk_size": 5 * MIB, "retries": 20, "retry_delay": 1} | options
        client = TusClient(endpoint or self.server.endpoint)
        return client.uploader(str(path), metadata={"filename": f"{name}.bin"}, **options)

    def tus_js(self, *uploads):
        """Runs uploads at once with tus-js-client. Returns their results."""
        wanted = json.dumps([{"endpoint": self.server.endpoint} | upload for upload in uploads])
        done = subprocess.run(
            ["node", self.modules / "tus.mjs", wanted],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
        assert done.returncode == 0, f"tus-js-client: {done.stderr[-2000:]}"
        return json.loads(done.stdout)

    def status(self, url, method="HEAD"):
        request = urllib.request.Request(url, method=method, headers={"Tus-Resumable": "1.0.0"})
        try:
            with urllib.request.urlopen(request) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code

    def restart_during(self, upload):
        """Calls a function with the URL of a proxy, which kills the server within its upload and
        starts it again on the same port."""

        def restart():
            self.server.kill()
            self.server.start()

        proxy = Proxy(self.server.port, SIZE // 2, restart)
        try:
            result = upload(proxy.endpoint)
        finally:
            proxy.close()
        assert proxy.has_cut, "the upload was not cut"
        return result


def tuspy_uploads_a_file(context):
    path, name = context.new_file()
    context.tuspy(path, name).upload()
    context.expect_object(name, path)


def tuspy_uploads_an_empty_file(context):
    path, name = context.new_file(0)
    context.tuspy(path, name).upload()
    context.expect_object(name, path)


def tuspy_uploads_with_checksums(context):
    path, name = context.new_file()
    context.tuspy(path, name, upload_checksum=True).upload()
    context.expect_object(name, path)


def tuspy_continues_after_the_server_was_killed(context):
    path, name = context.new_file()
    # All bytes are one request, so that it is cut.
    upload = lambda url: context.tuspy(path, name, url, chunk_size=SIZE).upload()
    context.restart_during(upload)
    context.expect_object(name, path)


def tuspy_continues_in_another_process(context):
    path, name = context.new_file()
    first = context.tuspy(path, name)
    first.upload(stop_at=7 * MIB)
    context.server.kill()
    context.server.start()
    second = context.tuspy(path, name, url=first.url)
    assert second.offset == 7 * MIB, second.offset
    context.expect_none(name)
    second.upload()
    context.expect_object(name, path)


def tus_js_uploads_a_file(context):
    path, name = context.new_file()
    [result] = context.tus_js({"file": str(path), "name": f"{name}.bin"})
    # The beginning and all bytes.
    assert result["requests"] == 2 and result["retries"] == 0, result
    context.expect_object(name, path)


def tus_js_continues_after_the_server_was_killed(context):
    path, name = context.new_file()
    upload = {"file": str(path), "name": f"{name}.bin", "chunkSize": SIZE}
    [result] = context.restart_during(
        lambda url: context.tus_js(upload | {"endpoint": url})
    )
    assert result["retries"] > 0, result
    context.expect_object(name, path)


def tus_js_uploads_a_stream_of_unknown_length(context):
    path, name = context.new_file()
    upload = {"file": str(path), "name": f"{name}.bin", "chunkSize": 4 * MIB, "deferred": True}
    context.tus_js(upload)
    context.expect_object(name, path)


def tus_js_terminates_an_upload(context):
    path, name = context.new_file()
    upload = {"file": str(path), "name": f"{name}.bin", "chunkSize": 4 * MIB}
    [result] = context.tus_js(upload | {"stopAfter": 8 * MIB})
    assert context.status(result["url"]) in (404, 410), result
    context.expect_none(name)
    listed = context.server.run("uploads", "list", context.server.location).decode()
    assert name not in listed, listed


def tus_js_uploads_in_parallel(context):
    path, name = context.new_file()
    context.tus_js({"file": str(path), "name": f"{name}.bin", "parallel": 3, "chunkSize": 4 * MIB})
    context.expect_object(name, path)


def tus_js_uploads_with_the_ietf_draft(context):
    for protocol in ("ietf-draft-03", "ietf-draft-05"):
        # With chunks of a file stream, the client does not mark the last one as the last.
        for options in ({}, {"chunkSize": 4 * MIB, "deferred": True}):
            path, name = context.new_file()
            upload = {"file": str(path), "name": f"{name}.bin", "protocol": protocol}
            context.tus_js(upload | options)
            context.expect_object(name, path)


def tus_js_continues_with_the_ietf_draft_after_the_server_was_killed(context):
    path, name = context.new_file()
    upload = {"file": str(path), "name": f"{name}.bin", "protocol": "ietf-draft-05"}
    [result] = context.restart_during(
        lambda url: context.tus_js(upload | {"chunkSize": SIZE, "endpoint": url})
    )
    assert result["retries"] > 0, result
    context.expect_object(name, path)


def two_clients_continue_one_upload(context):
    path, name = context.new_file()
    first = context.tuspy(path, name)
    first.upload_chunk()
    upload = {"file": str(path), "uploadUrl": first.url, "name": name, "chunkSize": 3 * MIB}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        by_python = pool.submit(context.tuspy(path, name, url=first.url, chunk_size=2 * MIB).upload)
        context.tus_js(upload, upload)
        by_python.result(timeout=TIMEOUT_SECONDS)
    context.expect_object(name, path)


TESTS = [
    tuspy_uploads_a_file,
    tuspy_uploads_an_empty_file,
    tuspy_uploads_with_checksums,
    tuspy_continues_after_the_server_was_killed,
    tuspy_continues_in_another_process,
    tus_js_uploads_a_file,
    tus_js_continues_after_the_server_was_killed,
    tus_js_uploads_a_stream_of_unknown_length,
    tus_js_terminates_an_upload,
    tus_js_uploads_in_parallel,
    tus_js_uploads_with_the_ietf_draft,
    tus_js_continues_with_the_ietf_draft_after_the_server_was_killed,
    two_clients_continue_one_upload,
]

def main():
    command, modules = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    names = sys.argv[3:]
    shutil.copy(pathlib.Path(__file__).with_name("tus.mjs"), modules)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="anystorage-tus-") as scratch:
        for kind, location, environment in storages(scratch):
            server = Server(command, location, environment, scratch)
            context = Context(server, scratch, modules)
            try:
                for test in TESTS:
                    if names and test.__name__ not in names:
                        continue
                    try:
                        test(context)
                        print(f"{kind}: {test.__name__}: ok", flush=True)
                    except Exception as error:
                        failed += 1
                        print(f"{kind}: {test.__name__}: FAILED: {error!r}", flush=True)
            finally:
                server.kill()
    sys.exit(f"{failed} tests failed" if failed else 0)


main()
