"""The results of an exploration in a SQLite file: its schema, and that a point is there in full or not at all.

Tables: ``meta(key, value)``; ``points``, one row for each point; ``parameters(point, name, value)``, one row for each
parameter of each point; ``sources(id, text)``, which the table of sources of a point refers to. A point is written in
one transaction of a write-ahead log: a kill at any moment leaves it ``waiting`` or finished, and a power cut loses at
most the last ones. Points that are finished are never written again.
"""

__all__ = ["FILE", "SCHEMA", "Store"]

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tetrit.errors import InvalidValueError
from tetrit.explore.figures import Result
from tetrit.explore.space import FIGURES, Point

FILE = "points.sqlite"
SCHEMA = "tetrit-explore/1"
_WAIT_S = 60.0
"""How long a process waits for another one that is writing."""

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE points (
    number INTEGER PRIMARY KEY,
    place INTEGER NOT NULL UNIQUE,
    round INTEGER NOT NULL,
    machine TEXT NOT NULL,
    parameters TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'failed')),
    latency_us REAL, energy_uj REAL, area_mm2 REAL, accuracy REAL, cycles INTEGER, utilization REAL,
    energy TEXT, area TEXT, sources TEXT,
    error TEXT,
    feasible INTEGER, front INTEGER,
    seconds REAL, versions TEXT, finished TEXT,
    CHECK ((state = 'done') = (latency_us IS NOT NULL)),
    CHECK ((state = 'failed') = (error IS NOT NULL))
);
CREATE INDEX points_state ON points (state);
CREATE TABLE parameters (
    point INTEGER NOT NULL REFERENCES points (number),
    name TEXT NOT NULL,
    value,
    PRIMARY KEY (point, name)
) WITHOUT ROWID;
CREATE TABLE sources (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
"""
_JSON = ("parameters", "energy", "area", "sources", "versions")


class Store:
    """The file of an exploration, opened.

    Parameters
    ----------
    path : Path
        Made if it is not there.

    Raises
    ------
    InvalidValueError
        If it cannot be opened, or is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._told():
            self._db = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA foreign_keys = ON")
            logged = self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0] == "wal"  # not on network disks
            self._db.execute(f"PRAGMA synchronous = {'NORMAL' if logged else 'FULL'}")

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; nothing is left to be written."""
        self._db.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn SQLite's errors into one line that names the file."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise InvalidValueError(f"cannot use '{self.path}': {error}") from None
        except sqlite3.DatabaseError:
            raise InvalidValueError(f"'{self.path}' is not what tetrit has written there") from None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Write everything inside the block, or nothing."""
        with self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def begin(self, meta: Mapping[str, str]) -> bool:
        """Make the tables of a new file, or check that what is there belongs to the same exploration.

        Parameters
        ----------
        meta : mapping of str to str
            ``space``, the fingerprint, and ``tetrit``, the version, must be those of the file.

        Returns
        -------
        bool
            Whether the exploration had begun before.

        Raises
        ------
        InvalidValueError
            If the file is another exploration's, or another version's.
        """
        with self._transaction() as db:
            names = {row["name"] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not names:
                for statement in filter(str.strip, _TABLES.split(";")):
                    db.execute(statement)
                rows = {**meta, "schema": SCHEMA}
                db.executemany("INSERT INTO meta VALUES (?, ?)", sorted(rows.items()))
                return False
            if "meta" not in names:
                raise InvalidValueError(f"'{self.path}' is not what tetrit has written there")
            found = {row["key"]: row["value"] for row in db.execute("SELECT key, value FROM meta")}
        if found.get("schema") != SCHEMA:
            raise InvalidValueError(
                f"'{self.path}' has schema '{found.get('schema')}', this is '{SCHEMA}': choose another folder"
            )
        if found.get("tetrit") != meta["tetrit"]:
            raise InvalidValueError(
                f"'{self.path}' was begun by tetrit {found.get('tetrit')}, this is {meta['tetrit']}: choose another "
                "folder"
            )
        if found.get("space") != meta["space"]:
            raise InvalidValueError(f"'{self.path}' is of another space: choose another folder")
        return True

    def add_round(self, number: int, points: Sequence[Point]) -> None:
        """Enter the points of a round, all at once, as waiting."""
        with self._transaction() as db:
            begun = db.execute("SELECT COUNT(*) FROM points").fetchone()[0]
            db.executemany(
                "INSERT INTO points (number, place, round, machine, parameters) VALUES (?, ?, ?, ?, ?)",
                (
                    (point.number, begun + place, number, point.machine, _text(point.parameters))
                    for place, point in enumerate(points)
                ),
            )
            db.executemany(
                "INSERT INTO parameters VALUES (?, ?, ?)",
                (
                    (point.number, name, value if isinstance(value, int | float | str) else _text(value))
                    for point in points
                    for name, value in point.parameters.items()
                ),
            )

    def n_rounds(self) -> int:
        """Return how many rounds have been entered."""
        with self._told():
            last = self._db.execute("SELECT MAX(round) FROM points").fetchone()[0]
        return 0 if last is None else int(last) + 1

    def record(self, result: Result) -> bool:
        """Write what came of a point; False, and nothing, if that is known already."""
        values: dict[str, Any] = {"state": "done"}
        if result.figures is None:
            values = {"state": "failed", "error": result.error}
        else:
            values |= result.figures.values()
            values |= {"energy": _text(result.figures.energy_uj), "area": _text(result.figures.area_mm2)}
        values |= {"seconds": result.seconds, "versions": _text(result.versions)}
        with self._transaction() as db:
            if result.figures is not None:
                values["sources"] = _text(self._sources(db, result.figures.sources))
            columns = ", ".join(f"{name} = ?" for name in values)
            changed = db.execute(
                f"UPDATE points SET {columns}, finished = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') "
                "WHERE number = ? AND state = 'waiting'",
                (*values.values(), result.number),
            ).rowcount
        return bool(changed)

    @staticmethod
    def _sources(db: sqlite3.Connection, sources: Mapping[str, str]) -> dict[str, int]:
        """Return sources by their numbers; texts that are new are entered."""
        texts = {(text,) for text in sources.values()}
        db.executemany("INSERT OR IGNORE INTO sources (text) VALUES (?)", sorted(texts))
        known = {text: db.execute("SELECT id FROM sources WHERE text = ?", (text,)).fetchone()[0] for (text,) in texts}
        return {figure: known[text] for figure, text in sources.items()}

    def waiting(self) -> list[int]:
        """Return the points without a result, in order."""
        with self._told():
            rows = self._db.execute("SELECT number FROM points WHERE state = 'waiting' ORDER BY place").fetchall()
        return [row["number"] for row in rows]

    def counts(self) -> dict[str, int]:
        """Return how many points there are in each state."""
        with self._told():
            rows = self._db.execute("SELECT state, COUNT(*) AS n FROM points GROUP BY state").fetchall()
        return {"waiting": 0, "done": 0, "failed": 0} | {row["state"]: row["n"] for row in rows}

    def numbers(self) -> list[int]:
        """Return all points, in order."""
        with self._told():
            return [row["number"] for row in self._db.execute("SELECT number FROM points ORDER BY place")]

    def figures(self, before: int | None = None) -> list[tuple[int, dict[str, Any]]]:
        """Return number and figures of the points that have some, of the rounds before `before`, by their number."""
        names = ", ".join(FIGURES)
        with self._told():
            rows = self._db.execute(
                f"SELECT number, {names} FROM points WHERE state = 'done' AND round < ? ORDER BY number",
                (1 << 30 if before is None else before,),
            ).fetchall()
        return [(row["number"], {name: row[name] for name in FIGURES}) for row in rows]

    def judge(self, feasible: Mapping[int, bool], front: set[int]) -> None:
        """Mark which points meet the constraints, and which are in the front."""
        with self._transaction() as db:
            db.execute("UPDATE points SET feasible = NULL, front = NULL")
            db.executemany(
                "UPDATE points SET feasible = ?, front = ? WHERE number = ?",
                ((int(good), int(number in front), number) for number, good in feasible.items()),
            )

    def rows(self) -> list[dict[str, Any]]:
        """Return all points in order, their tables read."""
        with self._told():
            rows = [dict(row) for row in self._db.execute("SELECT * FROM points ORDER BY place")]
            texts = {row["id"]: row["text"] for row in self._db.execute("SELECT id, text FROM sources")}
        for row in rows:
            for name in _JSON:
                row[name] = None if row[name] is None else json.loads(row[name])
            if row["sources"] is not None:
                row["sources"] = {figure: texts[number] for figure, number in row["sources"].items()}
        return rows


def _text(table: Any) -> str:
    return json.dumps(table, allow_nan=False)
