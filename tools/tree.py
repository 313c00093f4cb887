"""Lay out `build/tree/tetrit`, the package as it is installed, out of symbolic links to the top-level rooms.

Tools that read packages from folders (mypy, import-linter, mkdocstrings) do not follow an editable install's mapping.
The rooms come from `ROOMS` in setup.py, the one list that packaging uses too.
"""

import ast
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / "build" / "tree" / "tetrit"


def rooms() -> tuple[str, ...]:
    """Read `ROOMS` from setup.py without running it."""
    for node in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["ROOMS"]:
            return tuple(ast.literal_eval(node.value))
    sys.exit("tools/tree.py: setup.py has no ROOMS = (...)")


def main() -> None:
    """Make the links; remove those whose target is gone."""
    entries = {path.name: path for path in (ROOT / "tetrit").iterdir() if path.name != "__pycache__"}
    entries |= {room: ROOT / room for room in rooms()}
    TREE.mkdir(parents=True, exist_ok=True)
    for link in TREE.iterdir():
        if link.name not in entries or not link.is_symlink() or not link.exists():
            link.unlink()
    for name, target in entries.items():
        if not (TREE / name).exists():
            (TREE / name).symlink_to(os.path.relpath(target, TREE), target_is_directory=target.is_dir())


if __name__ == "__main__":
    main()
