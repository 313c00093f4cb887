"""The manual's table of operators is the registry."""

import re
from pathlib import Path

from tetrit.hls.graph.operators import OPERATORS

PAGE = Path(__file__).parents[3] / "docs" / "networks.md"


def test_table_of_operators():
    table = PAGE.read_text(encoding="utf-8").split("\n## Operators\n")[1].split("\n## ")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")][1:]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted([*OPERATORS, "Constant"])
