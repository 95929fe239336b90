"""Servers for the tests: `anystorage serve --uploads`, and a proxy that cuts connections."""

import os
import pathlib
import socket
import subprocess
import threading
import urllib.request

START_SECONDS = 20


class Server:
    """`anystorage serve LOCATION --uploads` as a process, which can be killed and started again."""

    def __init__(self, command, location, environment, directory):
        self.command, self.location = command, location
        self.environment, self.directory = environment, directory
        self.process, self.port, self.peak_mib = None, 0, 0
        self.start()

    def start(self):
        """Starts the process. After the first time, it gets the same port."""
        arguments = ["serve", self.location, "--uploads", "--listen", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(
            [self.command, *arguments],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for line in self.process.stderr:
            if b"receiving tus uploads at http://" in line:
                self.port = int(line.split(b":")[-1].split(b"/")[0])
                return
        raise SystemExit(f"the server does not start: exit code {self.process.wait()}")

    def kill(self):
        """Ends the process without a chance to clean up."""
        self.measure()
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()

    def measure(self):
        """Returns the peak of the memory of all processes so far, in MiB."""
        with open(f"/proc/{self.process.pid}/status") as status:
            kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
        self.peak_mib = max(self.peak_mib, kib / 1024)
        return self.peak_mib

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}/uploads"

    def run(self, *arguments):
        """Runs another command on the storage and returns its output."""
        command = [self.command, *arguments]
        done = subprocess.run(
            command, cwd=self.directory, env=self.environment, capture_output=True, check=True
        )
        return done.stdout

    def keys(self):
        """Returns the keys of all objects, without the state of uploads."""
        keys = self.run("ls", "-r", self.location).decode().splitlines()
        return [key for key in keys if ".uploads/" not in key]

    def read(self, key):
        """Reads an object through the server. It is opened with `read(size)`."""
        # The key of an object of LOCATION, whose directory the server does not repeat.
        name = key.rsplit("/", 1)[-1]
        return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{name}")


class Proxy:
    """Forwards connections to a server, and cuts the first one that sends many bytes.

    After `cut_after` bytes of one connection it calls `on_cut`, closes this connection, and then
    forwards everything.
    """

    def __init__(self, port, cut_after, on_cut):
        self.target, self.cut_after, self.on_cut = port, cut_after, on_cut
        self.has_cut = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}/uploads"

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.forward, args=(client,), daemon=True).start()

    def forward(self, client):
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            client.close()
            return
        back = threading.Thread(target=pump, args=(server, client), daemon=True)
        back.start()
        sent = 0
        try:
            while data := client.recv(1 << 16):
                server.sendall(data)
                sent += len(data)
                if not self.has_cut and sent >= self.cut_after:
                    self.has_cut = True
                    self.on_cut()
                    break
        except OSError:
            pass
        for connection in (server, client):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        back.join()
        server.close()
        client.close()

    def close(self):
        self.listener.close()


def pump(source, target):
    """Copies bytes until either end closes."""
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def storages(scratch):
    """Returns the locations to test, each with its name and environment.

    S3 is the server that the variables of `storage-s3/servers` name, if they are set.
    """
    plain = {name: value for name, value in os.environ.items() if not name.startswith("STORAGE_")}
    files = pathlib.Path(scratch) / "files"
    files.mkdir(exist_ok=True)
    found = [("fs", "./files", plain)]
    endpoint = os.environ.get("STORAGE_S3_TEST_ENDPOINT")
    if endpoint:
        bucket, quirks = (os.environ[f"STORAGE_S3_TEST_{name}"] for name in ("BUCKET", "QUIRKS"))
        with open(pathlib.Path(scratch) / "storages.toml", "w") as config:
            config.write(
                f'[storages.bucket]\ndriver = "s3"\nbucket = "{bucket}"\nquirks = "{quirks}"\n'
                f'endpoint = "{endpoint}"\nallow_http = true\n'
                f'region = "{os.environ["AWS_REGION"]}"\n'
            )
        location = f"bucket:tus-{os.getpid()}"
        found.append(("s3", location, plain | {"STORAGE_CONFIG": "storages.toml"}))
    return found
