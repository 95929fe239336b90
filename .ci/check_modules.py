"""Checks that no more than three files of a crate import each other in a cycle.

Usage: python3 .ci/check_modules.py [--list]   (in the root of the repository)

Reads the `use` declarations and the paths in the source files of every crate, without tests, and
finds cycles: sets of files that all reach each other by imports. A larger cycle is a problem,
because none of its files can be read or changed alone. `--list` also prints the smaller cycles.
"""

import pathlib
import re
import sys

LARGEST_CYCLE = 3
IDENT = r"[A-Za-z_][A-Za-z0-9_]*"


def without_tests(text):
    """Returns the code without comments, strings and test modules."""
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r'"(?:\\.|[^"\\])*"', '""', text, flags=re.DOTALL)
    return inline_modules_as_self(without_test_items(text))


def without_test_items(text):
    """Removes each item that is compiled for tests only, and nothing behind it."""
    while found := re.search(r"#\[cfg\((?:all\()?test\b[^\]]*\]", text):
        depth, end = 0, len(text)
        for position in range(found.end(), len(text)):
            character = text[position]
            depth += {"{": 1, "}": -1}.get(character, 0)
            if depth == 0 and character in ";}":
                end = position + 1
                break
        text = text[: found.start()] + text[end:]
    return text


def inline_modules_as_self(text):
    """Rewrites `super::` inside of `mod name { ... }`, where it names the file itself."""
    for begin in re.finditer(r"\bmod\s+\w+\s*\{", text):
        depth, end = 1, begin.end()
        while depth and end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        inner = text[begin.end() : end]
        text = text[: begin.end()] + inner.replace("super::", " self::") + text[end:]
    return text


def expand(tree):
    """Returns all paths of a `use` tree: `a::{b, c::d}` is `a::b` and `a::c::d`."""
    tree = tree.strip()
    opened = tree.find("{")
    if opened < 0:
        return [re.sub(r"\s+as\s+.*", "", tree)]
    beginning, inner = tree[:opened], tree[opened + 1 : tree.rindex("}")]
    parts, depth, start = [], 0, 0
    for position, character in enumerate(inner + ","):
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            parts.append(inner[start:position])
            start = position + 1
    return [beginning + path for part in parts if part.strip() for path in expand(part)]


class Crate:
    """The modules of one crate: the file of each, and the names that each re-exports."""

    def __init__(self, root):
        self.root = root
        self.files = {}
        self.code = {}
        for file in sorted(root.rglob("*.rs")):
            module = self.module_of(file)
            if "tests" not in module and not file.stem.endswith("_tests"):
                self.files[module] = file
                self.code[module] = without_tests(file.read_text())
        self.exports = {module: self.exports_of(module) for module in self.files}

    def module_of(self, file):
        parts = list(file.relative_to(self.root).with_suffix("").parts)
        if parts[-1] in {"mod", "lib", "main"}:
            parts.pop()
        return tuple(parts)

    def uses(self, module, public):
        pattern = r"\b(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);"
        for visibility, tree in re.findall(pattern, self.code[module]):
            if bool(visibility) == public:
                yield from expand(tree)

    def exports_of(self, module):
        paths = (self.absolute(module, path) for path in self.uses(module, public=True))
        return {path[-1]: path for path in paths if path}

    def absolute(self, module, path):
        """Returns the path from the root of the crate, or None for one that leads out of it."""
        names = [name.strip() for name in path.split("::")]
        if names[0] == "crate":
            return tuple(names[1:])
        if names[0] in {"self", "super"}:
            base = module
            while names and names[0] in {"self", "super"}:
                base = base[:-1] if names.pop(0) == "super" else base
            return base + tuple(names)
        return module + tuple(names) if module + (names[0],) in self.files else None

    def target(self, path, depth=0):
        """Returns the module that defines what a path names, through re-exports."""
        module = path
        while module and module not in self.files:
            module = module[:-1]
        name = path[len(module)] if len(path) > len(module) else None
        exported = self.exports[module].get(name)
        if exported and exported != path and depth < 8:
            return self.target(exported + path[len(module) + 1 :], depth + 1)
        return module

    def imports(self, module):
        paths = list(self.uses(module, public=False))
        code = re.sub(r"\buse\s+[^;]+;", "", self.code[module])
        paths += re.findall(rf"\b(?:crate|super)(?:::{IDENT})+", code)
        # A name of the module itself or of a child: `open::open(...)`.
        paths += re.findall(rf"(?<![\w:]){IDENT}::{IDENT}", code)
        targets = set()
        for path in paths:
            absolute = self.absolute(module, path)
            if absolute is not None:
                targets.add(self.target(absolute))
        # Re-exports (`pub use`) do not count: an import counts for the file that defines the name.
        return targets - {module}


def cycles(graph):
    """Returns the strongly connected components with more than one node (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph[node]:
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            component = set(stack[stack.index(node) :])
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(component)

    for node in graph:
        if node not in index:
            visit(node)
    return found


def main():
    sys.setrecursionlimit(10_000)
    crates = sorted(path for path in pathlib.Path(".").glob("*/src") if path.parts[0] != "benches")
    crates += sorted(pathlib.Path("examples").glob("*/src"))
    found, files = [], 0
    for root in crates:
        crate = Crate(root)
        files += len(crate.files)
        graph = {module: crate.imports(module) for module in crate.files}
        for cycle in cycles(graph):
            found.append((crate, graph, cycle))
    too_large = [entry for entry in found if len(entry[2]) > LARGEST_CYCLE]
    shown = found if "--list" in sys.argv else too_large
    for crate, graph, cycle in shown:
        print(f"  {len(cycle)} files import each other in a cycle:", file=sys.stderr)
        for module in sorted(cycle):
            targets = [str(crate.files[target]) for target in sorted(graph[module] & cycle)]
            print(f"    {crate.files[module]} imports {', '.join(targets)}", file=sys.stderr)
    if too_large:
        sys.exit(1)
    sizes = sorted((len(cycle) for _, _, cycle in found), reverse=True)
    print(f"{files} modules; cycles of {sizes} files, none larger than {LARGEST_CYCLE}")


main()
