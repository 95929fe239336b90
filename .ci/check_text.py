"""Checks what is written: documents, links, and that nothing of the machine it was written on is left.

Usage: python3 .ci/check_text.py   (in the root of a git clone)
"""

import pathlib
import re
import subprocess
import sys
import tomllib

# Directories that exist on one machine only. Documentation speaks of /var, /srv, /etc, /tmp and of Ada's home.
MACHINE_PATH = re.compile(
    r"(?<![\w./-])/(root|Users|mnt|work|workspaces?|builds|runner|home/(?!ada\b))(/|\b(?=[\"'`]))"
)
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")

problems = []


def problem(file, text, line=None):
    problems.append(f"{file}{'' if line is None else f':{line}'}: {text}")


def files_of_ours():
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], check=True, capture_output=True, text=True).stdout
    return [pathlib.Path(name) for name in names.split("\0") if name]


def check_lines(file, text):
    if text and not text.endswith("\n"):
        problem(file, "the last line does not end")
    for number, line in enumerate(text.splitlines(), 1):
        if line != line.rstrip():
            problem(file, "white space at the end of the line", number)
        if file.parts[0] != ".ci" and MACHINE_PATH.search(line):
            problem(file, f"a path of one machine: {line.strip()}", number)
        if file.suffix == ".rs" and re.match(r"\s*//[/!] ```.*\bignore\b", line):
            problem(file, "an example that nobody compiles", number)


def check_links(file, text):
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for target, _ in LINK.findall(text):
        if "://" not in target and not target.startswith("mailto:") and not (file.parent / target).exists():
            problem(file, f"a link to {target}, which is not there")


def check_readme():
    text = pathlib.Path("README.md").read_text()
    commands = re.findall(r"^(?:\$ )?(cargo .*)$", text, re.MULTILINE)
    if commands[:2] != ["cargo run -p quickstart", "cargo test --workspace"]:
        problem("README.md", f"its first two commands are {commands[:2]}; CI runs others")


def check_architecture():
    text = pathlib.Path("ARCHITECTURE.md").read_text()
    with open("Cargo.toml", "rb") as file:
        members = tomllib.load(file)["workspace"]["members"]
    crates = [path for member in members for path in pathlib.Path(".").glob(member) if path.is_dir()]
    for crate in crates:
        if str(crate) not in text:
            problem("ARCHITECTURE.md", f"the codemap does not name {crate}")


def check_decisions():
    numbers = [file.name[:4] for file in pathlib.Path("docs/decisions").glob("*.md")]
    for number in sorted({number for number in numbers if numbers.count(number) > 1 or not number.isdigit()}):
        problem("docs/decisions", f"number {number} is taken twice, or is none")


def main():
    files = files_of_ours()
    for file in files:
        if file.suffix in {".rs", ".md", ".toml", ".py", ".txt", ".css", ""} and file.is_file():
            text = file.read_text()
            check_lines(file, text)
            if file.suffix == ".md":
                check_links(file, text)
    check_readme()
    check_architecture()
    check_decisions()
    for text in problems:
        print(f"  {text}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"{len(files)} files")


main()
