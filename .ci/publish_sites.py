#!/usr/bin/env python3
"""Publishes built sites, serves them in several ways, and checks every file that they serve.

Usage: python3 .ci/publish_sites.py COMMAND SERVER SITES NODE...

COMMAND is `anystorage`, SERVER the example `serve_release`, SITES a directory with a directory for
each site; NAME.bucket is another build of NAME, for the bucket. At the end, runs NODE, which is
`node open.mjs CHROMIUM`, with the list of sites while all servers run. The sites are served

- `fs`: from a directory through the release's manifest, with brotli or gzip as curl accepts them,
- `nginx`: from the same directory as it is, with the siblings `.gz`,
- `s3`: from a bucket through the release's manifest,
- `bucket`: from a public bucket without a server in front, with gzip under the plain names.

The last two need the variables that `storage-s3/servers/radosgw up` prints.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

sys.dont_write_bytecode = True

from publish_places import Directory, Nginx, S3, Served

MAX_PAGES = 6
# Files of a kind differ little, and curl starts a process for each.
MAX_FILES = 60
# A debug build takes seconds for brotli of 100 kB, so a slice has few such files.
BROTLI = ["**"] if os.environ.get("ALL_FILES") else ["index.html", "*.min.js"]
ENCODINGS = 'encodings = ["gzip"]\n' + "".join(
    f'[[publish.rules]]\nmatch = "{pattern}"\nencodings = ["br", "gzip"]\n' for pattern in BROTLI
)
ENCODED = '[[publish.rules]]\nmatch = "**"\nencoding = "gzip"\n'
IMMUTABLE = "public, max-age=31536000, immutable"
MANIFEST = ".anystorage-publish/releases/{}/manifest.json"
# The type without parameters, by the end of the name.
TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "woff2": "font/woff2",
    "woff": "font/woff",
    "json": "application/json",
    "png": "image/png",
    "txt": "text/plain",
    "webmanifest": "application/manifest+json",
    "xml": "text/xml",
}
SYNONYMS = {"application/javascript": "text/javascript", "application/xml": "text/xml"}


def main():
    command, server, sites, *node = sys.argv[1:]
    sites = sorted(path for path in pathlib.Path(sites).iterdir() if path.suffix != ".bucket")
    with tempfile.TemporaryDirectory(prefix="anystorage-sites-") as directory:
        with contextlib.ExitStack() as stack:
            work = Work(pathlib.Path(directory), command, server, stack)
            opened = [entry for site in sites for entry in work.site(site)]
            if node:
                listed = work.directory / "sites.json"
                listed.write_text(json.dumps(opened))
                # The browser's profile must not outlive the test.
                subprocess.run([*node, listed], check=True, env=work.environment)


class Work:
    """The directory, the servers and the destinations of one run."""

    def __init__(self, directory, command, server, stack):
        self.directory = directory
        self.command = command
        self.server = server
        self.stack = stack
        self.environment = dict(os.environ, TMPDIR=str(directory))
        self.s3 = S3(os.environ) if "STORAGE_S3_TEST_ENDPOINT" in os.environ else None
        if not self.s3 and os.environ.get("CI") == "true":
            sys.exit("there is no S3 server")

    def site(self, site):
        """Publishes one site everywhere. Returns what the browser opens."""
        name, opened = site.name, []

        def add(where, base, manifest):
            opened.append(self.checked(name, where, base, manifest))

        directory = Directory(self.directory / "fs").new()
        manifest = self.publish(site, directory, "/", ENCODINGS)
        add("fs", self.serve(Served(self.server, directory)), manifest)
        add("nginx", self.serve(Nginx(directory, self.directory)), manifest)
        if self.s3:
            prefix = self.s3.new()
            manifest = self.publish(site, prefix, "/", ENCODINGS)
            add("s3", self.serve(Served(self.server, prefix)), manifest)
            prefix = self.s3.new(f"bare-{name}")
            base = f"/{prefix.bucket}/{prefix.prefix}/"
            # A site with absolute paths is built for the path of the bucket.
            built = site.with_name(f"{name}.bucket")
            built = built if built.exists() else site
            add("bucket", prefix.server + base, self.publish(built, prefix, base, ENCODED))
        return opened

    def serve(self, server):
        return self.stack.enter_context(server).base + "/"

    def publish(self, site, place, base, encodings):
        """Publishes twice. The second publish has nothing to do. Returns the manifest."""
        configuration = self.directory / "publish.toml"
        configuration.write_text(f'[storages]\n[publish]\nbase_path = "{base}"\n{encodings}')
        environment = self.environment | {"STORAGE_SITE_URL": place.url()}
        publish = [self.command, "--config", configuration, "publish", "--json", site, "site:"]

        def run(*arguments):
            run = subprocess.run(arguments, env=environment, capture_output=True, text=True)
            if run.returncode != 0:
                sys.exit(f"{site.name} on {place.name}: exit code {run.returncode}\n{run.stderr}")
            return json.loads(run.stdout)

        first, second = run(*publish), run(*publish)
        if second["new"] or second["uploaded"] or second["headers"]:
            sys.exit(f"{site.name}: the second publish has found changes: {second}")
        return run(self.command, "cat", f"site:{MANIFEST.format(first['release'])}")

    def checked(self, name, where, base, manifest):
        """Checks files with curl. Returns what the browser opens."""
        entries = manifest["entries"]
        # Some of each kind.
        kinds = {}
        for entry in entries.values():
            kinds.setdefault(entry["name"].rsplit(".", 1)[-1], []).append(entry)
        share = max(MAX_FILES // len(kinds), 2)
        chosen = [entry for kind in kinds.values() for entry in kind[:share]]
        for entry in chosen:
            check_file(where, base, entry)
        print(f"{name} on {where}: {len(chosen)} of {len(entries)} files are right with curl")
        pages = sorted(entry["name"] for entry in entries.values() if is_page(entry))
        # The start page has a test of its own.
        pages.sort(key=lambda page: page not in ("index.html", "page.html"))
        return {"name": name, "where": where, "base": base, "pages": pages[:MAX_PAGES]}


def is_page(entry):
    return entry["name"].endswith(".html") and entry["name"].split("/")[-1] not in (
        "404.html",
        # A part of the book that other pages show in a frame.
        "toc.html",
    )


def check_file(where, base, entry):
    """Fails unless `curl --compressed` receives the bytes of the file, with the right headers."""
    url = base + urllib.request.quote(entry["name"])
    body, headers = curl(url, "--compressed")
    if hashlib.sha256(body).hexdigest() != entry["sha256"]:
        sys.exit(f"{url}: other bytes than in the manifest")
    encoding = headers.get("content-encoding")
    form = entry.get("encodings", {})
    body = entry.get("body", {}).get("encoding")
    # nginx has the siblings of hashed names beside them, and knows only gzip.
    expected = {"bucket": body, "nginx": "gzip" if "gzip" in form and not is_fixed(entry) else None}
    wanted = expected.get(where, "br" if "br" in form else "gzip" if "gzip" in form else None)
    if encoding != wanted:
        sys.exit(f"{url}: the encoding is {encoding}, not {wanted}")
    found = headers.get("content-type", "").split(";")[0]
    kind = TYPES.get(entry["name"].rsplit(".", 1)[-1])
    if where != "nginx" and kind and SYNONYMS.get(found, found) != kind:
        sys.exit(f"{url}: the type is {found}, not {kind}")
    control = "no-cache" if is_fixed(entry) else IMMUTABLE
    if where != "nginx" and headers.get("cache-control") != control:
        sys.exit(f"{url}: Cache-Control is {headers.get('cache-control')}, not {control}")
    if not headers.get("etag"):
        sys.exit(f"{url}: there is no ETag")
    if form and where in ("fs", "s3"):
        if "accept-encoding" not in headers.get("vary", "").lower():
            sys.exit(f"{url}: Vary is {headers.get('vary')}")
        plain, headers = curl(url)
        if hashlib.sha256(plain).hexdigest() != entry["sha256"] or "content-encoding" in headers:
            sys.exit(f"{url}: a client without encodings receives other bytes")


def is_fixed(entry):
    return entry["naming"] == "fixed"


def curl(url, *options):
    """Returns the decoded body and the headers of a response with status 200."""
    with tempfile.NamedTemporaryFile("r") as head:
        command = ["curl", "-sS", "--fail", "-D", head.name, *options, url]
        run = subprocess.run(command, capture_output=True)
        if run.returncode != 0:
            sys.exit(f"{url}: {run.stderr.decode()}")
        lines = [line.partition(":") for line in head.read().splitlines()[1:] if line]
    return run.stdout, {name.lower(): value.strip() for name, _, value in lines}


main()
