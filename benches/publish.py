"""Measures `anystorage publish` to S3, side by side with Django's collectstatic and `aws s3 sync`.

Usage: python3 benches/publish.py ANYSTORAGE PYTHON [--files N] [--rounds N] [--dir DIRECTORY]

ANYSTORAGE is the command, and PYTHON that of an environment with `awscli`, `django` and
`django-storages[s3]`. Starts RadosGW and stops it at the end. In each round every program publishes
the same site for the first time, to a prefix of its own, in an order that rotates. Django uses
`S3ManifestStaticStorage`: hashed names and a manifest, as `anystorage publish` does. `aws s3 sync`
uploads the files as they are. Then `anystorage publish` runs again with nothing changed, and the
log of the server says which requests that takes.
"""

import argparse
import collections
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
RADOSGW = ROOT / "storage-s3/servers/radosgw"
REQUEST = re.compile(rb'beast: .*?"([A-Z]+) (\S+)')
BUCKET = "anystorage"
Run = collections.namedtuple("Run", "wall processor memory requests")

SETTINGS = """
SECRET_KEY = "not secret"
INSTALLED_APPS = ["django.contrib.staticfiles"]
STATIC_URL = "/static/"
STATICFILES_DIRS = [{site!r}]
STORAGES = {{"staticfiles": {{
    "BACKEND": "storages.backends.s3.S3ManifestStaticStorage",
    "OPTIONS": {{
        "bucket_name": {bucket!r},
        "endpoint_url": {endpoint!r},
        "location": {prefix!r},
        "addressing_style": "path",
        "querystring_auth": False,
    }},
}}}}
"""


def main():
    arguments = parse()
    with tempfile.TemporaryDirectory(prefix="anystorage-publish-", dir=arguments.dir) as path:
        scratch = pathlib.Path(path)
        up = [RADOSGW, "up", scratch / "radosgw"]
        started = subprocess.run(up, capture_output=True, text=True)
        if started.returncode != 0:
            sys.exit(f"the server did not start:\n{started.stderr}")
        try:
            pairs = re.findall(r"^export (\w+)=(.*)$", started.stdout, re.MULTILINE)
            Bench(arguments, scratch, dict(pairs)).run()
        finally:
            subprocess.run([RADOSGW, "down", scratch / "radosgw"], check=True)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("anystorage", type=lambda path: pathlib.Path(path).resolve())
    # Not resolved: the path of the link selects the environment.
    parser.add_argument("python", type=lambda path: pathlib.Path(path).absolute())
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", help="where the files are; defaults to that of tempfile")
    return parser.parse_args()


def write_site(directory, files):
    """Writes a site: a page for 500 files, a style for 50, which refers to images, and scripts."""
    for number in range(files):
        kind = number % 50
        if number % 500 == 0:
            path = f"page-{number}.html"
            text = f'<link rel="stylesheet" href="css/{number + 1}.css">'
        elif kind == 1:
            images = range(number + 20, number + 40)
            rules = [f".i{at} {{ background: url(../img/{at}.svg) }}" for at in images]
            path, text = f"css/{number}.css", "\n".join(rules)
        elif kind < 20:
            path, text = f"js/{number}.js", f"export const value = {number};\n" + "// text\n" * 400
        else:
            shape = '<path d="M0 0h8v8"/>' * 150
            path, text = f"img/{number}.svg", f'<svg id="i{number}" xmlns="http://x">{shape}</svg>'
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


class Bench:
    def __init__(self, arguments, scratch, variables):
        self.arguments = arguments
        self.scratch = scratch
        self.endpoint = variables["STORAGE_S3_TEST_ENDPOINT"]
        self.log = scratch / "radosgw/client.rgw.log"
        ours = {
            "AWS_DEFAULT_REGION": variables["AWS_REGION"],
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHONPATH": str(scratch),
        }
        self.environment = os.environ | variables | ours
        self.site = scratch / "site"
        write_site(self.site, arguments.files)

    def run(self):
        programs = {
            "anystorage publish": self.anystorage,
            "collectstatic": self.django,
            "aws s3 sync": self.aws,
        }
        runs = collections.defaultdict(list)
        for number in range(self.arguments.rounds):
            names = list(programs)
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                command = programs[name](f"{name.split()[0]}-{number}")
                runs[name].append(self.measured(command))
                print(f"  {name}: {runs[name][-1].wall:.1f} s", file=sys.stderr, flush=True)
        again = [self.measured(self.anystorage(f"anystorage-{number}")) for number in
                 range(self.arguments.rounds)]
        self.table({**{name: runs[name] for name in programs}, "anystorage publish, again": again})

    def anystorage(self, prefix):
        options = f"endpoint={self.endpoint}&allow_http=true&quirks=ceph"
        region = self.environment["AWS_REGION"]
        url = f"s3://{BUCKET}/{prefix}?{options}&region={region}"
        self.environment["STORAGE_SITE_URL"] = url
        return [self.arguments.anystorage, "-q", "publish", self.site, "site:"]

    def django(self, prefix):
        text = SETTINGS.format(
            site=str(self.site), bucket=BUCKET, endpoint=self.endpoint, prefix=prefix
        )
        name = f"settings_{prefix}".replace("-", "_")
        (self.scratch / f"{name}.py").write_text(text)
        self.environment["DJANGO_SETTINGS_MODULE"] = name
        return [self.arguments.python, "-m", "django", "collectstatic", "--noinput", "-v", "0"]

    def aws(self, prefix):
        program = self.arguments.python.parent / "aws"
        to = f"s3://{BUCKET}/{prefix}"
        return [program, "--endpoint-url", self.endpoint, "s3", "sync", "--quiet", self.site, to]

    def measured(self, command):
        begin = self.log.stat().st_size
        start = time.monotonic()
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                list(map(str, command)),
                cwd=self.scratch,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.monotonic() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                errors.seek(0)
                text = errors.read()[-2000:].decode(errors="replace")
                sys.exit(f"{command[0]}: exit code {process.returncode}\n{text}")
        processor = usage.ru_utime + usage.ru_stime
        return Run(wall, processor, usage.ru_maxrss / 1024, self.requests(begin))

    def requests(self, begin):
        """Counts the requests in the log of the server from a position on."""
        time.sleep(1)  # The server writes its log from a thread of its own.
        counts = collections.Counter()
        with self.log.open("rb") as log:
            log.seek(begin)
            for found in filter(None, map(REQUEST.search, log)):
                method, path = (part.decode() for part in found.groups())
                counts["list" if "list-type=2" in path else method] += 1
        return counts

    def table(self, runs):
        first = runs["anystorage publish"]
        files, rounds = self.arguments.files, self.arguments.rounds
        print(f"\n## Publishing: {files} files to S3, {rounds} rounds\n")
        print("| | median s | peer / anystorage publish (median of the rounds, min to max) |"
              " processor time, peer / anystorage publish | peak memory | requests |")
        print("|-|-|-|-|-|-|")
        for name, of_peer in runs.items():
            ratios = [peer.wall / mine.wall for mine, peer in zip(first, of_peer)]
            processor = [peer.processor / mine.processor for mine, peer in zip(first, of_peer)]
            requests = ", ".join(
                f"{count} {method}" for method, count in sorted(of_peer[0].requests.items())
            )
            print(
                f"| {name} | {statistics.median(run.wall for run in of_peer):.1f} |"
                f" {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
                f" {statistics.median(processor):.2f} |"
                f" {max(run.memory for run in of_peer):.0f} MiB | {requests} |"
            )


main()
