"""Checks what is written: documents, links, widths, words, log lines, and paths of one machine.

Usage: python3 .ci/check_text.py   (in the root of a git clone)
"""

import collections
import pathlib
import re
import subprocess
import sys
import tomllib

sys.dont_write_bytecode = True

from avoided_words import AVOIDED, find_avoided

MAX_WIDTH = 100

# Directories that exist on one machine only. Examples use /var, /srv, /etc, /tmp and Ada's home.
MACHINE_PATH = re.compile(
    r"(?<![\w./-])/(root|Users|mnt|work|workspaces?|builds|runner|home/(?!ada\b))(/|\b(?=[\"'`]))"
)
# A call of a logging macro, and in it a field with a key that has not passed `escape_invisible`.
LOG = re.compile(r"tracing::(?:error|warn|info|debug|trace|event)!\(.*?\);", re.DOTALL)
UNESCAPED_KEY = re.compile(
    r"[%?]key\b|\(key,|\bkey = (?!&\*escape_invisible\()|^\s*key,", re.MULTILINE
)
PUBLISHED_NAMES = r"(anystorage_mirror_)?an[s]wers(_total|\")"
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"\s*(```|~~~)")
# A table, a heading and the target of a link stand on one line, whatever their width.
ONE_LINE = re.compile(r"\s*(\||#|\[[^\]]+\]:)")
RUST_COMMENT = re.compile(r"(\s*//[/!]?) ?(.*)")

TEXT_SUFFIXES = {".rs", ".md", ".toml", ".py", ".sh", ".txt", ".css", ".mjs", ".html", ".yml", ""}
# The list of avoided words contains them, and licences are quoted.
UNCHECKED_WORDS = {"avoided_words.py", "LICENSE-APACHE", "LICENSE-MIT"}

problems = []


def problem(file, text, line=None):
    problems.append(f"{file}{'' if line is None else f':{line}'}: {text}")


def repository_files():
    """Returns the files that git tracks, and the new ones that it does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [pathlib.Path(name) for name in names.split("\0") if name]


def check_lines(file, text):
    if text and not text.endswith("\n"):
        problem(file, "the last line has no end")
    for number, line in enumerate(text.splitlines(), 1):
        if line != line.rstrip():
            problem(file, "white space at the end of the line", number)
        if file.parts[0] != ".ci" and MACHINE_PATH.search(line):
            problem(file, f"a path of one machine: {line.strip()}", number)
        if file.suffix == ".rs" and re.match(r"\s*//[/!] ```.*\bignore\b", line):
            problem(file, "an example that is never compiled", number)


def check_logs(file, text):
    """Checks that log lines of the libraries do not contain keys as they are.

    A key may contain characters that change the direction of text or are not visible. The command
    escapes its whole log.
    """
    if file.suffix == ".rs" and "src" in file.parts and file.parts[0] != "anystorage-cli":
        for log in LOG.finditer(text):
            if UNESCAPED_KEY.search(log[0]):
                number = text.count("\n", 0, log.start()) + 1
                problem(file, "a log line with a key without `escape_invisible`", number)


def check_widths(texts):
    programs_and_prose = {
        file: text
        for file, text in texts.items()
        if file.suffix in {".rs", ".md"} or is_program(file, text)
    }
    for file, text in programs_and_prose.items():
        for number in wide_lines(file, text):
            problem(file, f"more than {MAX_WIDTH} columns", number)


def wide_lines(file, text):
    """Returns the numbers of the lines that are too wide and that could be broken.

    Checks comments in Rust, prose in Markdown, and every line of Python and shell programs. The
    code of Rust files is formatted by rustfmt.
    """
    wide, fenced = [], False
    for number, line in enumerate(text.splitlines(), 1):
        prose = line
        if file.suffix == ".rs":
            comment = RUST_COMMENT.fullmatch(line)
            if not comment:
                fenced = False
                continue
            prose = comment[2]
        if file.suffix in {".rs", ".md"}:
            if FENCE.match(prose):
                fenced = not fenced
            if fenced or ONE_LINE.match(prose):
                continue
        indent = len(line) - len(prose.lstrip())
        if len(line) > MAX_WIDTH and " " in line[indent:MAX_WIDTH]:
            wide.append(number)
    return wide


def is_program(file, text):
    """Whether a file is a Python or a shell program."""
    interpreter = re.match(r"#!.*\b(python3?|bash|sh)\b", text)
    return file.suffix in {".py", ".sh"} or file.name == "justfile" or bool(interpreter)


def check_links(file, text):
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for target, _ in LINK.findall(text):
        is_local = "://" not in target and not target.startswith("mailto:")
        if is_local and not (file.parent / target).exists():
            problem(file, f"a link to {target}, which does not exist")


def check_readme():
    text = pathlib.Path("README.md").read_text()
    commands = re.findall(r"^(?:\$ )?(cargo .*)$", text, re.MULTILINE)
    if commands[:2] != ["cargo run -p quickstart", "cargo test --workspace"]:
        problem("README.md", f"its first two commands are {commands[:2]}; CI runs others")


def check_architecture():
    file = pathlib.Path("ARCHITECTURE.md")
    text = file.read_text()
    with open("Cargo.toml", "rb") as manifest:
        members = tomllib.load(manifest)["workspace"]["members"]
    paths = [path for member in members for path in pathlib.Path(".").glob(member)]
    for crate in sorted(path for path in paths if path.is_dir()):
        if str(crate) not in text:
            problem(file, f"the codemap does not contain {crate}")
        # The modules of examples and tools are not listed.
        if len(crate.parts) == 1:
            section = text.partition(f"**`{crate}`**")[2].split("\n**`")[0]
            for module in modules(crate):
                if f"`{module.name}" not in section:
                    problem(module, "not in the codemap of ARCHITECTURE.md")


def modules(crate):
    """Returns the files and directories of a crate's modules, without its root."""
    return sorted(path for path in crate.glob("src/*") if path.stem not in {"lib", "main"})


def check_decisions():
    numbers = collections.Counter(
        file.name[:4] for file in pathlib.Path("docs/decisions").glob("*.md")
    )
    for number, count in sorted(numbers.items()):
        if not number.isdigit():
            problem("docs/decisions", f"a file name begins with {number}, not with four digits")
        elif count > 1:
            problem("docs/decisions", f"{count} files have the number {number}")


def check_words(texts):
    for file, text in texts.items():
        if file.name not in UNCHECKED_WORDS:
            for word, line in find_avoided(without_promised_names(file, text)):
                problem(file, f"a word to avoid, `{word}`: {AVOIDED[word]}", line)


def without_promised_names(file, text):
    """Removes names that stay: those of the changelog, and published names of the mirror."""
    if file.name == "CHANGELOG.md":
        text = re.sub(r"`[^`\n]*`", "", text)
    # Dashboards read them: a metric, and a key of /status.
    return re.sub(PUBLISHED_NAMES, "", text)


def self_check():
    rust, markdown = pathlib.Path("lib.rs"), pathlib.Path("a.md")
    wide, unbreakable = "word " * 25, "x" * 120
    assert wide_lines(rust, f"/// {wide}\nlet {wide};\n// {unbreakable}") == [1]
    assert wide_lines(rust, f"/// ```\n/// {wide}\n/// ```\n/// {wide}") == [4]
    assert wide_lines(markdown, f"| {wide} |\n- {wide}\n[a]: {unbreakable}\n") == [2]
    assert wide_lines(pathlib.Path("a.py"), f"# {wide}\n") == [1]
    for field in ["key,", "%key,", "key = key.as_str(),"]:
        assert UNESCAPED_KEY.search(f"tracing::info!({field} error);"), field
    assert not UNESCAPED_KEY.search("tracing::info!(key = &*escape_invisible(key), error);")


def main():
    self_check()
    files = repository_files()
    texts = {}
    for file in files:
        if file.suffix in TEXT_SUFFIXES and file.is_file():
            text = texts[file] = file.read_text()
            check_lines(file, text)
            check_logs(file, text)
            if file.suffix == ".md":
                check_links(file, text)
    check_widths(texts)
    check_words(texts)
    check_readme()
    check_architecture()
    check_decisions()
    for text in problems:
        print(f"  {text}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"{len(files)} files")


main()
