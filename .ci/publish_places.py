"""Destinations of publishes, and servers in front of them, for publish_proofs.py."""

import base64
import email.utils
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

NGINX = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/nginx.log;
events {{ worker_connections 256; }}
http {{
    access_log off; keepalive_requests 1000000; gzip_static on;
    include /etc/nginx/mime.types;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""
# That of docs/publish.md, with a local directory as origin.
MIRROR = """
listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
admin_token = "{token}"
cache_dir = "{directory}/cache"
max_size = "1GiB"
origin = "site"
website = true

[storages.site]
driver = "fs"
root = "{root}"
read_only = true
"""
# The mirror logs both addresses when it accepts connections.
LISTENING = r"is listening listen=(127\.0\.0\.1:\d+) admin=(127\.0\.0\.1:\d+)"
# How often nginx starts with another port.
ATTEMPTS = 5


class Place:
    """A destination. Its objects are read as visitors read them, without the driver."""

    numbers = 0

    def check(self, key, sha256):
        """Fails unless an object has these bytes."""
        body = self.get(key)
        if body is None:
            raise SystemExit(f"FAILED: {key} of the current release is missing")
        if hashlib.sha256(body).hexdigest() != sha256:
            raise SystemExit(f"FAILED: {key} of the current release has other bytes")

    def next(self):
        Place.numbers += 1
        return f"site-{Place.numbers}"


class Directory(Place):
    """A local directory."""

    name = "a local directory"

    def __init__(self, root):
        self.root = root

    def new(self):
        """Returns an empty destination."""
        root = self.root / self.next()
        root.mkdir(parents=True)
        return Directory(root)

    def url(self):
        return f"file://{self.root}?durable=false"

    def get(self, key):
        try:
            return (self.root / key).read_bytes()
        except FileNotFoundError:
            return None


class S3(Place):
    """A prefix of a bucket that everyone may read."""

    name = "S3"

    def __init__(self, environment, prefix=None, endpoint=None):
        self.environment = environment
        self.server = environment["STORAGE_S3_TEST_ENDPOINT"]
        self.bucket = environment["STORAGE_S3_TEST_BUCKET"]
        # Where the command connects to: the server, or a proxy.
        self.endpoint = endpoint or self.server
        self.prefix = prefix
        self.client = Client(self.server)
        if prefix is None:
            make_public(environment, self.server, self.bucket)

    def new(self, prefix=None):
        return S3(self.environment, prefix or self.next())

    def through(self, endpoint):
        """Returns the same destination through a proxy."""
        return S3(self.environment, self.prefix, endpoint)

    def url(self):
        quirks = self.environment["STORAGE_S3_TEST_QUIRKS"]
        region = self.environment["AWS_REGION"]
        options = f"allow_http=true&quirks={quirks}&region={region}"
        return f"s3://{self.bucket}/{self.prefix}?endpoint={self.endpoint}&{options}"

    def get(self, key):
        return self.client(f"{self.bucket}/{self.prefix}/{key}")


class Client:
    """Sends GETs on one connection. Returns the body, or `None` for a 404."""

    def __init__(self, server):
        self.connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=60)

    def __call__(self, path):
        self.connection.request("GET", "/" + urllib.parse.quote(path))
        response = self.connection.getresponse()
        body = response.read()
        if response.status not in (200, 404):
            raise SystemExit(f"FAILED: {path}: {response.status} {body[:200]}")
        return body if response.status == 200 else None


class Server:
    """A web server, which runs in a `with`."""

    def client(self):
        return Client(self.base)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


class Nginx(Server):
    """nginx in front of a directory, which it shows as it is."""

    def __init__(self, place, scratch):
        self.place = place
        self.scratch = scratch

    def __enter__(self):
        for _ in range(ATTEMPTS):
            directory = pathlib.Path(tempfile.mkdtemp(prefix="nginx-", dir=self.scratch))
            if self.starts(directory, free_port()):
                return self
        raise SystemExit(f"FAILED: nginx does not start\n{(directory / 'nginx.log').read_text()}")

    def starts(self, directory, port):
        """Returns whether nginx has started. It ends if another program took the port before it."""
        text = NGINX.format(directory=directory, port=port, root=self.place.root)
        (directory / "nginx.conf").write_text(text)
        command = ["nginx", "-c", directory / "nginx.conf", "-p", directory, "-e", "stderr"]
        self.process = subprocess.Popen(command)
        self.base = f"http://127.0.0.1:{port}"
        # nginx writes this file when it listens.
        while self.process.poll() is None and not (directory / "nginx.pid").exists():
            time.sleep(0.05)
        return self.process.poll() is None


class Mirror(Server):
    """`anystorage mirror` in front of a local directory, where a website was published."""

    TOKEN = "token-of-the-proofs"

    def __init__(self, command, place, scratch, environment):
        self.command = command
        self.place = place
        self.scratch = scratch
        self.environment = environment

    def __enter__(self):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="mirror-", dir=self.scratch))
        configuration, self.log = directory / "mirror.toml", directory / "mirror.log"
        text = MIRROR.format(directory=directory, root=self.place.root, token=self.TOKEN)
        configuration.write_text(text)
        command = [self.command, "mirror", "--config", configuration]
        environment = self.environment | {"NO_COLOR": "1"}
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        addresses = await_text(self.log, LISTENING, "the mirror")
        self.base, self.admin = (f"http://{address}" for address in addresses)
        return self

    def __exit__(self, failure, *_):
        super().__exit__()
        if failure:
            print(self.log.read_text(), flush=True)

    def metric(self, name):
        headers = {"Authorization": f"Bearer {self.TOKEN}"}
        request = urllib.request.Request(f"{self.admin}/metrics", headers=headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            text = response.read().decode()
        return int(re.search(rf"^anystorage_mirror_{name} (\d+)$", text, re.MULTILINE)[1])


class Served(Server):
    """The example `serve_release` in front of a destination."""

    def __init__(self, program, place):
        self.program = program
        self.place = place

    def __enter__(self):
        self.process = subprocess.Popen(
            [self.program, self.place.url()], stdout=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            raise SystemExit("FAILED: the server does not start")
        self.base = line.split()[-1]
        return self


def free_port():
    """Returns a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def await_text(log, pattern, name):
    """Waits until a server has logged a line, and returns the groups of the pattern."""
    for _ in range(1200):
        if found := re.search(pattern, log.read_text()):
            return found.groups()
        time.sleep(0.05)
    raise SystemExit(f"FAILED: {name} does not start\n{log.read_text()}")


def make_public(environment, endpoint, bucket):
    """Lets everyone read the objects of a bucket. Uses signature version 2, which is short."""
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        # Without permission to list, a missing object is a 403.
        "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }
    body = json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode()
    date = email.utils.formatdate(usegmt=True)
    text = f"PUT\n\napplication/json\n{date}\n/{bucket}?policy".encode()
    secret = environment["AWS_SECRET_ACCESS_KEY"].encode()
    signature = base64.b64encode(hmac.digest(secret, text, hashlib.sha1)).decode()
    headers = {
        "Date": date,
        "Content-Type": "application/json",
        "Authorization": f"AWS {environment['AWS_ACCESS_KEY_ID']}:{signature}",
    }
    url = f"{endpoint}/{bucket}?policy"
    urllib.request.urlopen(urllib.request.Request(url, body, headers, method="PUT")).close()
