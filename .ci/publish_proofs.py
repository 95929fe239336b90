#!/usr/bin/env python3
"""Kills publishes and rollbacks at every write, crawls a site meanwhile, lets publishers race.

Usage: python3 .ci/publish_proofs.py COMMAND SERVER [--proofs kills,load,race] [--every N]
       [--rounds N] [--publishes N] [--seed S]

COMMAND is `anystorage`, and SERVER the example `serve_release` of storage-publish. Each proof runs
on a local directory, and kills and race also on the S3 server that the variables of
`storage-s3/servers/radosgw up` name. It prints one line of figures:

- kills: a publish, and then a rollback, dies by SIGKILL before its write 1, 1 + N, 1 + 2 N, and so
  on, or after a write whose response it does not see. On S3 a write is a request that a proxy
  counts; on a local directory it is a call of the system that renames, links or deletes, which
  Linux lets this program count (seccomp). After each death no page lacks an asset and the current
  release is whole; then the next publish, a rollback, or a publish of the site before repairs the
  pages.
- load: up to 200 requests a second to nginx, which shows the directory as it is, 200 to SERVER, and
  200 to the mirror, which each publish purges, during PUBLISHES publishes and half as many
  rollbacks. Each of them begins when all pages of the release before were loaded from all three.
  No page lacks an asset, and all assets of a page are of its release. SERVER and the mirror show
  each release that became current, and no page of an earlier one after that. nginx shows such
  pages, because each write of a page is slowed down, and waits until the crawl has noticed.
- race: two publishers at once, ROUNDS times. One wins or both do in turn, and the destination has
  one whole release.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True

from publish_places import Directory, Mirror, Nginx, S3, Served
from publish_kills import FsKiller, ProxyKiller

POINTER = ".anystorage-publish/current.json"
DOCS = [f"docs/{page}.html" for page in ["index", "a", "b", "c", "d", "e"]]
PAGES = ["index.html", "about.html", "release.txt", *DOCS]
REFERENCE = re.compile(r'(?:href|src)="([^"]+)"|@import "([^"]+)"|url\(([^)]+)\)|import "([^"]+)"')
RELEASE = re.compile(r"release (\d+)")
EXPIRED = "2020-01-01T00:00:00Z"
RATE = 200
CRAWLERS = 8
# The seconds until a crawl must have seen what is there to see.
PATIENCE = 60
# The files that a publish under load has in addition.
LOADED = 300
# How many seconds a write takes in addition between two pages under load.
PAUSE = 0.02
# With N = 1, each of the ten pages and other fixed names is a write.
MIN_DEATHS = 12


def main():
    arguments = parsed()
    print(f"seed {arguments.seed}", flush=True)
    random.seed(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="anystorage-publish-") as path:
        bench = Bench(arguments, pathlib.Path(path))
        for name in arguments.proofs.split(","):
            PROOFS[name](bench)


def parsed():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("server", type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--proofs", default="kills,load,race")
    parser.add_argument("--every", type=int, default=1, help="kills at each N-th write only")
    parser.add_argument("--rounds", type=int, default=50, help="of two publishers at once")
    parser.add_argument("--publishes", type=int, default=10, help="under load")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    return parser.parse_args()


class Bench:
    """The sites and the destinations of all proofs."""

    def __init__(self, arguments, directory):
        self.arguments = arguments
        self.directory = directory
        self.configuration = directory / "publish.toml"
        # Without a grace, a publish also deletes what only the release before needs.
        self.configuration.write_text(
            # A variable defines the storage.
            '[storages]\n'
            '[publish]\nkeep_names = ["release.txt"]\nencodings = ["gzip"]\n'
            '[at-once]\nkeep_names = ["release.txt"]\nencodings = ["gzip"]\n'
            'keep = 1\ngrace = "0s"\n'
        )
        self.environment = {
            key: value for key, value in os.environ.items() if not key.startswith("STORAGE_")
        } | {"ANYSTORAGE_MIRROR_TOKEN": Mirror.TOKEN}

    def purge(self, url):
        """Adds the section `mirrored`, whose publishes and rollbacks purge a mirror."""
        with self.configuration.open("a") as file:
            file.write('[mirrored]\nkeep_names = ["release.txt"]\nencodings = ["gzip"]\n'
                       f'purge = ["{url}"]\n')

    def places(self):
        yield Directory(self.directory / "fs")
        if "STORAGE_S3_TEST_ENDPOINT" in os.environ:
            yield S3(os.environ)
        else:
            skip("S3, because no server is named")

    def site(self, number, files=0):
        """Returns the directory of the site of a release, which is written once."""
        directory = self.directory / f"site-{number}-{files}"
        if not directory.exists():
            write_site(directory, number, files)
        return directory

    def start(self, place, *arguments, **options):
        """Starts the command, for which `site:` is the place."""
        return subprocess.Popen(
            [self.arguments.command, "--config", self.configuration, *arguments],
            env=self.environment | {"STORAGE_SITE_URL": place.url()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            **options,
        )

    def run(self, place, *arguments):
        """Runs a command that must succeed."""
        process = self.start(place, *arguments)
        _, errors = process.communicate(timeout=300)
        if process.returncode != 0:
            shown = " ".join(map(str, arguments))
            fail(f"{shown}: exit code {process.returncode}\n{errors.decode(errors='replace')}")

    def publish(self, place, number, files=0, section="at-once"):
        site = self.site(number, files)
        self.run(place, "publish", "--config-section", section, site, "site:")

    def roll_back(self, place, *release, section="publish"):
        self.run(place, "rollback", "--config-section", section, "site:", *release)

    def expire_claim(self, place):
        """Does what time does: the claim of a publisher that died ends."""
        pointer = pointer_of(place)
        if not pointer or not pointer.get("claim"):
            return
        pointer["claim"]["expires"] = EXPIRED
        document = self.directory / "pointer.json"
        document.write_text(json.dumps(pointer))
        self.run(place, "put", "--content-type", "application/json", document, f"site:{POINTER}")


def only_in(number):
    """Returns the page that only this release has."""
    return f"only-{number}.html"


def write_site(directory, number, files):
    """Writes a small site whose files all contain the number of the release."""
    mark = f"release {number}"
    head = f'<!DOCTYPE html>\n<meta name="release" content="{mark}">\n'
    texts = {
        "css/base.css": f"/* {mark} */\n" + "a { color: red; }\n" * 20,
        "css/app.css": f'@import "base.css";\n/* {mark} */\n'
        + "p { background: url(../paper.svg) }\n",
        "js/dep.js": f"export const release = '{mark}';\n",
        "js/app.js": f'import "./dep.js";\n// {mark}\n',
        "paper.svg": f'<svg xmlns="http://www.w3.org/2000/svg"><!-- {mark} --></svg>\n',
        "about.html": head + '<link rel="stylesheet" href="css/app.css">\n',
        only_in(number): head + '<link rel="stylesheet" href="css/app.css">\n',
        "release.txt": f"{mark}\n",
    }
    for page in DOCS:
        texts[page] = head + '<link rel="stylesheet" href="../css/app.css">\n'
    # For a publish that takes longer.
    for file in range(files):
        texts[f"more/{file}.js"] = f"// {mark}, {file}\n"
    more = [f'<script src="more/{file}.js"></script>\n' for file in range(min(files, 20))]
    texts["index.html"] = (
        head
        + '<link rel="stylesheet" href="css/app.css">\n'
        + '<script type="module" src="js/app.js"></script>\n'
        + "".join(more)
    )
    for path, text in texts.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def pointer_of(place):
    body = place.get(POINTER)
    return json.loads(body) if body is not None else None


def references(key, text):
    """Returns the keys that a file refers to."""
    directory = key.rpartition("/")[0]
    for found in REFERENCE.finditer(text):
        reference = next(group for group in found.groups() if group)
        yield os.path.normpath(os.path.join(directory, reference))


def release_in(text):
    found = RELEASE.search(text)
    return int(found[1]) if found else None


def page_release(get, page):
    """Loads a page with everything that it needs. Returns its release, or `None` without it.

    Fails if an asset is missing or belongs to another release.
    """
    body = get(page)
    if body is None:
        return None
    release = release_in(body.decode())
    if release is None:
        fail(f"{page} is torn: {body[:200]}")
    todo, seen = list(references(page, body.decode())), set()
    while todo:
        key = todo.pop()
        if key in seen:
            continue
        seen.add(key)
        body = get(key)
        if body is None:
            fail(f"{page} of release {release} lacks {key}")
        if release_in(body.decode()) != release:
            fail(f"{page} of release {release} has {key} of another release: {body[:200]}")
        todo.extend(references(key, body.decode()))
    return release


def check_current_release(place):
    """Fails unless all objects of the current release are there and whole. Returns the pointer."""
    pointer = pointer_of(place)
    if not pointer or not pointer["current"]:
        fail("there is no current release")
    release = pointer["current"]["release"]
    manifest = place.get(f".anystorage-publish/releases/{release}/manifest.json")
    if manifest is None:
        fail(f"the manifest of {release} is missing")
    for path, entry in json.loads(manifest)["entries"].items():
        place.check(entry.get("stored", entry["name"]), entry["sha256"])
        for sibling in entry.get("encodings", {}).values():
            place.check(sibling["name"], sibling["sha256"])
    return pointer


def check_promises(place):
    """Checks what holds at any time. Returns the releases of the pages and the pointer."""
    pointer = check_current_release(place)
    releases = [page_release(place.get, page) for page in PAGES]
    # A release may lack these pages, but they never lack an asset.
    for number in [1, 2]:
        page_release(place.get, only_in(number))
    if None in releases:
        fail(f"a page is missing: {releases}")
    if not pointer.get("switching") and len(set(releases)) > 1:
        fail(f"the pages are of several releases: {releases}, {pointer}")
    return releases, pointer


def check_shows(place, numbers):
    """Fails unless the destination shows one of the releases, and no publisher works there."""
    releases, pointer = check_promises(place)
    if len(set(releases)) > 1 or releases[0] not in numbers:
        fail(f"the pages are of the releases {releases}, not of {numbers}")
    # A publish that finds nothing to do leaves an expired claim.
    claim = pointer.get("claim") or {"expires": EXPIRED}
    if claim["expires"] != EXPIRED or pointer.get("switching"):
        fail(f"the pointer is not at rest: {pointer}")
    return releases[0]


def kills(bench):
    for place in bench.places():
        killer = FsKiller() if isinstance(place, Directory) else ProxyKiller(place)
        if isinstance(place, Directory) and not killer.works():
            skip("deaths on a local directory, because seccomp_unotify does not work here")
            continue
        with killer:
            for attempt in [PublishAttempt(bench), RollbackAttempt(bench)]:
                kill_at_writes(bench, place, killer, attempt)


def kill_at_writes(bench, place, killer, attempt):
    """Kills a command at its writes, each time at a new destination."""
    start = time.monotonic()
    every, counts = bench.arguments.every, collections.Counter()
    for number, step in enumerate(range(1, 10_000, every)):
        if not kill_at(bench, place.new(), killer, attempt, step, number, counts):
            break
    else:
        fail(f"the {attempt.name} does not end")
    if counts["deaths"] < MIN_DEATHS / every or (every == 1 and not counts["between pages"]):
        fail(f"too few deaths of a {attempt.name}: {dict(counts)}")
    shown = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    print(f"kills of a {attempt.name} on {place.name}: {shown}"
          f" ({time.monotonic() - start:.0f} s)", flush=True)


def kill_at(bench, place, killer, attempt, step, number, counts):
    """Kills a command at a write, and repairs its destination. Returns whether it died."""
    attempt.prepare(place)
    through = killer.through(place)
    # Before the write, or after it without the response.
    when = ["before", "after"][number % 2]

    def start(**options):
        return bench.start(through, *attempt.command(), **options)

    exit, errors = killer.run(start, step, when)
    if exit == 0:
        check_shows(place, {attempt.release})
        return False
    if exit != -signal.SIGKILL:
        fail(f"{attempt.name}, step {step}: exit code {exit}\n{errors}")
    releases, pointer = check_promises(place)
    counts["deaths"] += 1
    counts["between pages"] += len(set(releases)) > 1
    bench.expire_claim(place)
    check_shows(place, {attempt.repair(place, number % 3, pointer.get("switching"))})
    return True


class PublishAttempt:
    """A publish of release 2, after that of release 1."""

    name, release = "publish", 2

    def __init__(self, bench):
        self.bench = bench

    def prepare(self, place):
        self.bench.publish(place, 1)

    def command(self):
        return ["publish", "--config-section", "at-once", self.bench.site(2), "site:"]

    def repair(self, place, kind, switching):
        """Repairs the pages in one of three ways. Returns the release that they are of then."""
        if kind == 0:
            self.bench.publish(place, 2)
            return 2
        if kind == 1 and switching:
            self.bench.roll_back(place)
        else:
            self.bench.publish(place, 1)
        return 1


class RollbackAttempt:
    """A rollback to release 1, after the publishes of 1 and 2. Deletes what only 2 needs."""

    name, release = "rollback", 1

    def __init__(self, bench):
        self.bench = bench

    def prepare(self, place):
        self.bench.publish(place, 1, section="publish")
        self.first = pointer_of(place)["current"]["release"]
        self.bench.publish(place, 2, section="publish")

    def command(self):
        return ["rollback", "--config-section", "at-once", "site:"]

    def repair(self, place, kind, switching):
        """Repairs the pages in one of three ways. Returns the release that they are of then."""
        if kind == 0:
            # Named, because it may be current already.
            self.bench.roll_back(place, self.first, section="at-once")
            return 1
        if kind == 1 and switching:
            # Restores the pages of the current release.
            self.bench.roll_back(place)
            return 2
        self.bench.publish(place, 2)
        return 2


def race(bench):
    for place in bench.places():
        start = time.monotonic()
        place = place.new()
        bench.publish(place, 0)
        won = collections.Counter()
        for round in range(bench.arguments.rounds):
            numbers = [2 * round + 1, 2 * round + 2]
            publish = ["publish", "--config-section", "at-once"]
            publishers = [
                bench.start(place, *publish, bench.site(number), "site:") for number in numbers
            ]
            ended = [publisher.communicate(timeout=300)[1] for publisher in publishers]
            codes = [publisher.returncode for publisher in publishers]
            # 75: another publisher is at work.
            if not set(codes) <= {0, 75} or 0 not in codes:
                fail(f"two publishers at once: exit codes {codes}\n{ended}")
            winners = {number for number, code in zip(numbers, codes) if code == 0}
            check_shows(place, winners)
            won[len(winners)] += 1
        seconds = time.monotonic() - start
        print(f"race on {place.name}: one refused {won[1]} times, both in turn {won[2]} times"
              f" ({seconds:.0f} s)", flush=True)


def load(bench):
    if not FsKiller().works():
        skip("publishes under load, because seccomp_unotify does not work here")
        return
    publishes, place = bench.arguments.publishes, Directory(bench.directory / "load").new()
    bench.publish(place, 0, LOADED, "publish")
    # What is current after each step. A crawler sees these in this order, none twice.
    current = [0]
    with (
        Nginx(place, bench.directory) as bare,
        Served(bench.arguments.server, place) as served,
        Mirror(bench.arguments.command, place, bench.directory, bench.environment) as mirror,
    ):
        bench.purge(mirror.admin)
        crawls = [
            Crawl("nginx", bare, current, False),
            Crawl("the server", served, current, True),
            Crawl("the mirror", mirror, current, True),
        ]
        try:
            publish_and_roll_back(bench, place, current, crawls)
        finally:
            for crawl in crawls:
                crawl.stop()
        for crawl in crawls:
            crawl.check()
        check_mirror(mirror, len(current) - 1)
    for crawl in crawls:
        print(f"load on {crawl.name}: {publishes} publishes,"
              f" {len(current) - 1 - publishes} rollbacks, {crawl.requests} requests"
              f" ({crawl.rate():.0f} a second), {crawl.pages} pages with all assets,"
              f" {crawl.replaced} of them after one of the next release", flush=True)


def publish_and_roll_back(bench, place, current, crawls):
    """Publishes, and rolls back every other release."""
    options = ["--config-section", "mirrored"]

    def step(number, *arguments):
        # The list has the release before a crawler can see it.
        current.append(number)
        run_slowly(bench, place, crawls[0], *arguments)
        await_pages(crawls)

    await_pages(crawls)
    for number in range(1, bench.arguments.publishes + 1):
        step(number, "publish", *options, bench.site(number, LOADED), "site:")
        if number % 2 == 0:
            step(number - 1, "rollback", *options, "site:")


def await_pages(crawls):
    """Returns when all crawls have loaded all pages of the current release."""
    for crawl in crawls:
        if not wait(lambda: crawl.failed or crawl.has_all_pages()):
            fail(f"{crawl.name} does not show all pages of the last of {crawl.current}")


def wait(condition):
    """Waits until the condition is true. Returns whether that happened in time."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def run_slowly(bench, place, bare, *arguments):
    """Runs a command that writes pages as slowly as to a remote storage, so that some are crawled
    meanwhile. `bare` is the crawl that shows the directory as it is."""
    before = bare.replaced

    def pause():
        if pointer_of(place).get("switching") and is_mixed(place):
            if not wait(lambda: bare.failed or bare.replaced > before):
                fail(f"{bare.name} showed no page of a release that had been replaced")
            time.sleep(PAUSE)

    def start(**options):
        return bench.start(place, *arguments, **options)

    exit, errors = FsKiller().run(start, 0, "before", pause)
    if exit != 0:
        fail(f"{arguments[0]} under load: exit code {exit}\n{errors}")


def is_mixed(place):
    """Returns whether the pages are of several releases."""
    return len({release_in(place.get(page).decode()) for page in PAGES}) > 1


def check_mirror(mirror, switches):
    """Fails unless the mirror has served from its cache, and was purged after each switch."""
    hits = mirror.metric("hits_total") + mirror.metric("revalidated_total")
    purges, failed = mirror.metric("purges_total"), mirror.metric("failed_total")
    if not hits or purges < switches * len(PAGES) or failed:
        fail(f"the mirror: {hits} hits, {purges} purges after {switches} switches, {failed} failed")
    print(f"the mirror: {hits} requests served from the cache, {purges} purges", flush=True)


class Crawl:
    """Threads that load pages and all their assets, at `RATE` requests a second together.

    `current` lists the releases that have been current. A site that switches them as a whole shows
    them in this order; otherwise pages of a release that was replaced are counted, which the crawl
    notices where there are some.
    """

    def __init__(self, name, site, current, is_whole):
        self.name, self.site, self.current, self.is_whole = name, site, current, is_whole
        self.requests = self.pages = self.replaced = self.position = 0
        # The positions in `current`, each with the pages that were loaded with all assets.
        self.failed, self.loaded = [], set()
        self.lock, self.stopped = threading.Lock(), threading.Event()
        self.start = self.next = time.monotonic()
        self.threads = [threading.Thread(target=self.crawl) for _ in range(CRAWLERS)]
        for thread in self.threads:
            thread.start()

    def crawl(self):
        client = self.site.client()

        def get(key):
            self.pace()
            # What a response has shown, no request from now on may precede.
            position = self.position
            body = client(key)
            with self.lock:
                self.requests += 1
                if key in PAGES and body is not None:
                    self.follow(position, key, release_in(body.decode()))
            return body

        try:
            while not self.stopped.is_set():
                # In the same order, all threads would load the assets of one page at once.
                for page in random.sample(PAGES, len(PAGES)):
                    release = page_release(get, page)
                    if release is None:
                        fail(f"{page} is missing")
                    with self.lock:
                        self.pages += 1
                        if release == self.current[self.position]:
                            self.loaded.add((self.position, page))
        except BaseException as error:
            self.failed.append(error)

    def pace(self):
        with self.lock:
            self.next = max(self.next + 1 / RATE, time.monotonic() - 1)
            delay = self.next - time.monotonic()
        if delay > 0:
            time.sleep(delay)

    def follow(self, position, page, release):
        """Notes the position of a release among those that have been current."""
        later = range(position, len(self.current))
        at = next((at for at in later if self.current[at] == release), None)
        if at is not None:
            self.position = max(self.position, at)
        elif self.is_whole:
            fail(f"{page} is of release {release}, after {self.current[:position + 1]}")
        else:
            self.replaced += 1

    def has_all_pages(self):
        """Returns whether all pages of the current release were loaded with all assets."""
        last = len(self.current) - 1
        return all((last, page) in self.loaded for page in PAGES)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        self.seconds = time.monotonic() - self.start

    def check(self):
        if self.failed:
            raise self.failed[0]

    def rate(self):
        return self.requests / self.seconds


def skip(what):
    """Reports what is not tested. Fails in CI, where everything has to be tested."""
    print(f"SKIPPED: {what}", flush=True)
    if os.environ.get("CI") == "true":
        fail(what)


def fail(message):
    raise SystemExit(f"FAILED: {message}")


PROOFS = {"kills": kills, "load": load, "race": race}

if __name__ == "__main__":
    main()
