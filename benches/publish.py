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
import statistics
import sys
import tempfile

sys.dont_write_bytecode = True

import measure

BUCKET = "anystorage"

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
        with measure.radosgw(scratch / "radosgw") as variables:
            Bench(arguments, scratch, variables).run()


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
        ours = {
            "AWS_DEFAULT_REGION": variables["AWS_REGION"],
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHONPATH": str(scratch),
        }
        self.environment = os.environ | variables | ours
        log = measure.log_of(scratch / "radosgw")
        self.meter = measure.Meter(scratch, self.environment, log, name_of=name_of)
        self.site = scratch / "site"
        write_site(self.site, arguments.files)

    def run(self):
        programs = {
            "anystorage publish": self.anystorage,
            "collectstatic": self.django,
            "aws s3 sync": self.aws,
        }
        runs = collections.defaultdict(list)
        for number, name in measure.in_turn(list(programs), self.arguments.rounds):
            runs[name].append(self.meter.run(programs[name](f"{name.split()[0]}-{number}")))
            measure.progress(name, runs[name][-1])
        again = [self.meter.run(self.anystorage(f"anystorage-{number}")) for number in
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

    def table(self, runs):
        first = runs["anystorage publish"]
        files, rounds = self.arguments.files, self.arguments.rounds
        print(f"\n## Publishing: {files} files to S3, {rounds} rounds\n")
        print("| | median s | peer / anystorage publish (median of the rounds, min to max) |"
              " processor time, peer / anystorage publish | peak memory | requests |")
        print("|-|-|-|-|-|-|")
        for name, of_peer in runs.items():
            print(
                f"| {name} | {statistics.median(run.wall for run in of_peer):.1f} |"
                f" {measure.spread(first, of_peer)} | {measure.used(first, of_peer)}"
            )


def name_of(method, path):
    return "list" if "list-type=2" in path else method


main()
