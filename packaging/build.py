#!/usr/bin/env python3
"""Builds the packages of the command `anystorage` for the system that it runs on.

Usage: python3 packaging/build.py [--binary FILE] [--output DIR] [--target TRIPLE]

Writes to target/packages, or to DIR:

- anystorage-VERSION-TRIPLE.tar.gz (.zip on Windows): the command, manual pages, completions, the
  files of the mirror, and the licences
- anystorage_VERSION-1_ARCHITECTURE.deb, on a system with dpkg-deb
- SHA256SUMS

Without --binary, builds the command with the profile `dist`. The same binary gives the same bytes:
all times are SOURCE_DATE_EPOCH, which defaults to the time of the last commit. In a .zip they are
1980-01-01.
"""

import argparse
import email.utils
import gzip
import hashlib
import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile

sys.dont_write_bytecode = True

from third_party import FEATURES, third_party_licences

ROOT = pathlib.Path(__file__).resolve().parent.parent
HERE = ROOT / "packaging"
SHELLS = {
    "bash": "anystorage.bash",
    "elvish": "anystorage.elv",
    "fish": "anystorage.fish",
    "powershell": "anystorage.ps1",
    "zsh": "_anystorage",
}
UNIT = "anystorage-mirror.service"
DEBIAN_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "riscv64gc": "riscv64"}


def main():
    arguments = parsed_arguments()
    os.chdir(ROOT)
    os.umask(0o022)
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    target = arguments.target or host()
    binary = arguments.binary or build(target)
    epoch = source_date_epoch()
    arguments.output.mkdir(parents=True, exist_ok=True)

    with tempfile.TemporaryDirectory() as directory:
        files = pathlib.Path(directory) / f"anystorage-{version}-{target}"
        stage(files, binary, target)
        packages = [write_archive(files, arguments.output, epoch)]
        if "linux" in target and shutil.which("dpkg-deb"):
            packages.append(write_deb(files, arguments.output, version, target, epoch))
    sums = "".join(f"{sha256(package)}  {package.name}\n" for package in sorted(packages))
    (arguments.output / "SHA256SUMS").write_text(sums)
    print(sums, end="")


def parsed_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument(
        "--output",
        type=lambda text: pathlib.Path(text).resolve(),
        default=ROOT / "target/packages",
    )
    parser.add_argument("--target")
    return parser.parse_args()


def run(*command, **options):
    options = {"check": True, "text": True, "stdout": subprocess.PIPE} | options
    return subprocess.run(command, **options).stdout


def host():
    return re.search(r"^host: (.*)$", run("rustc", "-vV"), re.MULTILINE)[1]


def source_date_epoch():
    """Returns the time of all files, in seconds since 1970."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or run("git", "log", "-1", "--format=%ct").strip()
    os.environ["SOURCE_DATE_EPOCH"] = epoch
    return int(epoch)


def build(target):
    """Builds the command and returns its path. The binary contains no path of this machine."""
    cargo_home = os.environ.get("CARGO_HOME") or str(pathlib.Path.home() / ".cargo")
    remapped = [f"--remap-path-prefix={ROOT}=anystorage", f"--remap-path-prefix={cargo_home}=cargo"]
    flags = os.environ.get("RUSTFLAGS", "").split() + remapped
    # Unlike RUSTFLAGS, this variable permits spaces in paths.
    environment = os.environ | {"CARGO_ENCODED_RUSTFLAGS": "\x1f".join(flags)}
    command = ["cargo", "build", "--profile", "dist", "--locked", "--target", target]
    command += ["-p", "anystorage-cli", "--features", ",".join(FEATURES)]
    subprocess.run(command, check=True, env=environment)
    directory = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target")).resolve()
    return directory / target / "dist" / executable(target)


def executable(target):
    return "anystorage.exe" if "windows" in target else "anystorage"


def stage(files, binary, target):
    """Writes the content of the archive to a directory."""
    for directory in ["man", "completions", "mirror"]:
        (files / directory).mkdir(parents=True)
    command = files / executable(target)
    shutil.copyfile(binary, command)
    command.chmod(0o755)
    run(command, "manual", files / "man")
    for shell, name in SHELLS.items():
        (files / "completions" / name).write_text(run(command, "completions", shell))
    for name in [UNIT, "mirror.toml", "mirror.env"]:
        shutil.copyfile(HERE / "mirror" / name, files / "mirror" / name)
    for name in ["LICENSE-APACHE", "LICENSE-MIT", "CHANGELOG.md"]:
        shutil.copyfile(ROOT / name, files / name)
    shutil.copyfile(HERE / "archive.md", files / "README.md")
    (files / "THIRD-PARTY-LICENSES.txt").write_text(third_party_licences(target))


def write_archive(files, output, epoch):
    """Writes an archive in which owners, times and the order do not depend on the machine."""
    paths = [files, *sorted(files.rglob("*"))]
    if "windows" in files.name:
        package = output / f"{files.name}.zip"
        with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in paths:
                add_to_zip(archive, path, files.parent)
        return package
    package = output / f"{files.name}.tar.gz"
    with open(package, "wb") as file, gzip.GzipFile("", "wb", 9, file, epoch) as compressed:
        with tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for path in paths:
                add_to_tar(archive, path, files.parent, epoch)
    return package


def add_to_tar(archive, path, base, epoch):
    entry = archive.gettarinfo(path, path.relative_to(base).as_posix())
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mtime = epoch
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    archive.addfile(entry, io.BytesIO(path.read_bytes()) if path.is_file() else None)


def add_to_zip(archive, path, base):
    # The times of a .zip are local times without a zone, so entries keep the default of `ZipInfo`.
    entry = zipfile.ZipInfo(path.relative_to(base).as_posix() + ("/" if path.is_dir() else ""))
    entry.external_attr = (0o40755 << 16 | 0x10) if path.is_dir() else 0o100644 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, path.read_bytes() if path.is_file() else b"")


def write_deb(files, output, version, target, epoch):
    """Writes a package for Debian and Ubuntu with dpkg-deb, which every such system has."""
    architecture = DEBIAN_ARCHITECTURES[target.split("-")[0]]
    with tempfile.TemporaryDirectory() as directory:
        tree = pathlib.Path(directory)
        tree.chmod(0o755)
        fill_tree(tree, files, version, epoch)
        fields = {
            "@VERSION@": f"{version}-1",
            "@ARCHITECTURE@": architecture,
            "@MAINTAINER@": maintainer(),
            "@DEPENDS@": libraries(files / "anystorage"),
        }
        write_control(tree, fields)
        package = output / f"anystorage_{version}-1_{architecture}.deb"
        # One thread, because the number of threads changes the bytes.
        environment = os.environ | {"DPKG_DEB_THREADS_MAX": "1"}
        run("dpkg-deb", "--root-owner-group", "--build", tree, package, env=environment)
    return package


def fill_tree(tree, files, version, epoch):
    """Writes the files of the package below its root."""

    def install(source, target, mode=0o644):
        path = tree / target
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
        path.chmod(mode)

    def install_gz(text, target):
        path = tree / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))

    install(files / "anystorage", "usr/bin/anystorage", 0o755)
    for page in sorted((files / "man").iterdir()):
        install_gz(page.read_text(), f"usr/share/man/man1/{page.name}.gz")
    completions = files / "completions"
    install(completions / SHELLS["bash"], "usr/share/bash-completion/completions/anystorage")
    install(completions / SHELLS["fish"], "usr/share/fish/vendor_completions.d/anystorage.fish")
    install(completions / SHELLS["zsh"], "usr/share/zsh/vendor-completions/_anystorage")

    install(HERE / "mirror" / UNIT, f"lib/systemd/system/{UNIT}")
    install(HERE / "mirror/anystorage.sysusers", "usr/lib/sysusers.d/anystorage.conf")
    install(HERE / "mirror/mirror.toml", "etc/anystorage/mirror.toml")
    # Only root can read it. systemd passes the variables to the service.
    install(HERE / "mirror/mirror.env", "etc/anystorage/mirror.env", 0o600)

    documents = "usr/share/doc/anystorage"
    date = email.utils.formatdate(epoch, usegmt=True).replace("GMT", "+0000")
    changelog = (HERE / "debian/changelog").read_text().replace("@VERSION@", f"{version}-1")
    changelog = changelog.replace("@DATE@", date).replace("@MAINTAINER@", maintainer())
    install_gz(changelog, f"{documents}/changelog.Debian.gz")
    install_gz((ROOT / "CHANGELOG.md").read_text(), f"{documents}/changelog.gz")
    install(HERE / "debian/copyright", f"{documents}/copyright")
    install_gz(
        (files / "THIRD-PARTY-LICENSES.txt").read_text(),
        f"{documents}/THIRD-PARTY-LICENSES.txt.gz",
    )
    install(HERE / "debian/lintian-overrides", "usr/share/lintian/overrides/anystorage")


def write_control(tree, fields):
    """Writes the directory DEBIAN: the description, the scripts, and the list of checksums."""
    control = tree / "DEBIAN"
    control.mkdir()
    for script in ["postinst", "prerm", "postrm"]:
        shutil.copyfile(HERE / "debian" / script, control / script)
        (control / script).chmod(0o755)
    paths = sorted(path for path in tree.rglob("*") if path.is_file())
    installed = [path for path in paths if control not in path.parents]
    (control / "conffiles").write_text(
        "".join(f"/{path.relative_to(tree)}\n" for path in installed if "etc" in path.parts)
    )
    sums = (f"{md5(path)}  {path.relative_to(tree)}\n" for path in installed)
    (control / "md5sums").write_text("".join(sums))
    size = sum(path.stat().st_size + 1023 for path in installed) // 1024
    text = (HERE / "debian/control").read_text()
    for name, value in {**fields, "@SIZE@": str(size)}.items():
        text = text.replace(name, value)
    (control / "control").write_text(text)


def maintainer():
    """Returns the maintainer of the package, from the variables of Debian's tools."""
    name = os.environ.get("DEBFULLNAME", "The anystorage contributors")
    address = os.environ.get("DEBEMAIL", "anystorage@users.noreply.github.com")
    return f"{name} <{address}>"


def libraries(binary):
    """Returns the packages of the shared libraries that the command needs."""
    with tempfile.TemporaryDirectory() as directory:
        debian = pathlib.Path(directory) / "debian"
        debian.mkdir()
        source = "Source: anystorage\n\nPackage: anystorage\nArchitecture: any\n"
        (debian / "control").write_text(source)
        command = ["dpkg-shlibdeps", "-O", "-e", binary]
        found = run(*command, cwd=directory, stderr=subprocess.DEVNULL)
    return found.strip().removeprefix("shlibs:Depends=")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


main()
