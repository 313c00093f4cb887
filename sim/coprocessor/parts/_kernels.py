"""The parts of the co-processor, without any data: state as small arrays of int64, whose places the constants name.

Arrays and scalars only; `tetrit.sim.coprocessor._kernels` steps them.
"""

__all__ = [
    "ACTIVE",
    "ACT_PER_WORD",
    "ACT_WORDS",
    "ADDRESS",
    "ADDRESSED",
    "ALL_WORDS",
    "AT",
    "A_BASE",
    "A_STRIDE",
    "BARE",
    "BURST",
    "BURSTS",
    "BUS_BYTES",
    "CHUNK",
    "CHUNK_INDEX",
    "CODE_BITS",
    "COLS",
    "COMMANDS",
    "COUNT",
    "C_BASE",
    "C_STRIDE",
    "DEPTH",
    "ENTRIES",
    "ENTRY",
    "ENTRY_SIZE",
    "FAR",
    "FIFO_ROWS",
    "FILLED",
    "FINAL",
    "FIRST",
    "FLIGHT",
    "FULL",
    "HALF",
    "HELD",
    "HOLDS",
    "LAST",
    "LEFT",
    "LEFT_M",
    "LEFT_N",
    "N_ENTRIES",
    "N_OUTER",
    "N_PARAMETERS",
    "ON",
    "OPEN",
    "OUTSTANDING",
    "PAGE",
    "PARAMS",
    "PENDING",
    "PENDING_SIZE",
    "PLACE",
    "P_BASE",
    "READ_LATENCY",
    "RECENT",
    "RECORD_WORDS",
    "REGION",
    "REGIONS",
    "REGION_WORDS",
    "RESULT_WORDS",
    "ROW",
    "ROWS",
    "SIMD",
    "START_LATENCY",
    "STEPS",
    "STEPS_LEFT",
    "STORE_SIZE",
    "STRIDE",
    "SWITCH",
    "TAG",
    "TAG_CHUNK",
    "TAG_SIZE",
    "TAG_TILE",
    "TILE_M",
    "TILE_N",
    "TURN",
    "UNANSWERED",
    "USERS",
    "WEIGHT_PER_WORD",
    "WEIGHT_WORDS",
    "WORD",
    "WORDS_LEFT",
    "WRITE_LATENCY",
    "W_BASE",
    "W_STRIDE",
    "A",
    "M",
    "N",
    "P",
    "State",
    "W",
    "ask",
    "begin_command",
    "burst_words",
    "channel_moves",
    "down",
    "entry_comes",
    "entry_leaves",
    "entry_offered",
    "first_tile",
    "issue",
    "lookup",
    "next_tile",
    "take_row",
    "up",
]

import numpy as np
from numba import njit
from numpy.typing import NDArray

State = NDArray[np.int64]

# what describes a job on a unit
(
    SIMD,
    M,
    N,
    STEPS,
    N_OUTER,
    PARAMS,
    ROWS,
    COLS,
    CHUNK,
    RECORD_WORDS,
    ACT_PER_WORD,
    WEIGHT_PER_WORD,
    BUS_BYTES,
    BURST,
    ACT_WORDS,
    WEIGHT_WORDS,
    RESULT_WORDS,
    START_LATENCY,
    DEPTH,
    SWITCH,
    FIFO_ROWS,
    CODE_BITS,
    A_BASE,
    A_STRIDE,
    W_BASE,
    W_STRIDE,
    P_BASE,
    C_BASE,
    C_STRIDE,
    FLIGHT,
    READ_LATENCY,
    WRITE_LATENCY,
    N_PARAMETERS,
) = range(33)

PAGE = 4096
OUTSTANDING, COMMANDS, ENTRIES = 8, 4, 2
P, A, W = range(3)
FAR = 1 << 62


@njit(cache=True, nogil=True)
def burst_words(address: int, left: int, most: int, bus_bytes: int) -> int:
    """Return the words of the next burst of a region."""
    return min(left, most, (PAGE - address % PAGE) // bus_bytes)


# a walk over tiles: is there one; its number along m and n; rows and columns that are left
ON, TILE_M, TILE_N, LEFT_M, LEFT_N = range(5)


@njit(cache=True, nogil=True)
def first_tile(job: State, walk: State) -> None:
    walk[ON] = 1
    walk[TILE_M] = walk[TILE_N] = 0
    walk[LEFT_M], walk[LEFT_N] = job[M], job[N]


@njit(cache=True, nogil=True)
def next_tile(job: State, walk: State) -> None:
    last_m, last_n = walk[LEFT_M] <= job[ROWS], walk[LEFT_N] <= job[COLS]
    if last_m and last_n:
        walk[ON] = 0
    elif (job[N_OUTER] == 1 and not last_m) or (job[N_OUTER] == 0 and last_n):
        walk[TILE_M] += 1
        walk[LEFT_M] -= job[ROWS]
        if job[N_OUTER] == 0:
            walk[TILE_N], walk[LEFT_N] = 0, job[N]
    else:
        walk[TILE_N] += 1
        walk[LEFT_N] -= job[COLS]
        if job[N_OUTER] == 1:
            walk[TILE_M], walk[LEFT_M] = 0, job[M]


# a gearbox: a vector is there (or is handed out); place of the next word; `last` of the vector
FULL, PLACE, LAST = range(3)


@njit(cache=True, nogil=True)
def up(box: State, words: int, given: bool, last: int, taken: bool) -> None:
    """Step what collects words: `given` a word, `taken` the vector."""
    if taken:
        box[FULL] = 0
    if given:
        if box[PLACE] == words - 1:
            box[PLACE], box[FULL], box[LAST] = 0, 1, last
        else:
            box[PLACE] += 1


@njit(cache=True, nogil=True)
def down(box: State, words: int, given: bool, last: int, taken: bool) -> None:
    """Step what hands out words: `given` a vector, `taken` a word."""
    if taken:
        if box[PLACE] == words - 1:
            box[FULL] = box[PLACE] = 0
        else:
            box[PLACE] += 1
    if given:
        box[FULL], box[LAST] = 1, last


@njit(cache=True, nogil=True)
def channel_moves(wait: NDArray[np.float64], state: NDArray[np.uint64], channel: int) -> bool:
    """Draw whether a channel of the memory moves in this cycle: SplitMix64, one sequence per channel."""
    if wait[channel] == 0.0:
        return True
    state[channel] += np.uint64(0x9E3779B97F4A7C15)
    mixed = state[channel]
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return np.float64(mixed >> np.uint64(11)) * 2.0**-53 >= wait[channel]


# a double-buffered store: number of entries; per entry half, bare, steps or rows, final; per half tile, chunk, held,
# full, users; half that was asked for last
N_ENTRIES = 0
ENTRY, ENTRY_SIZE = 1, 4
HALF, BARE, COUNT, FINAL = range(4)
TAG = ENTRY + ENTRIES * ENTRY_SIZE
TAG_SIZE = 5
TAG_TILE, TAG_CHUNK, HELD, FILLED, USERS = range(5)
RECENT = TAG + 2 * TAG_SIZE
STORE_SIZE = RECENT + 1


@njit(cache=True, nogil=True)
def lookup(store: State, tile: int, chunk: int) -> tuple[bool, int]:
    """Return whether a half holds a chunk, and which half it is in or goes to."""
    for half in range(2):
        tag = store[TAG + half * TAG_SIZE :]
        if tag[HELD] and tag[TAG_TILE] == tile and tag[TAG_CHUNK] == chunk:
            return True, half
    return False, 1 - store[RECENT]


@njit(cache=True, nogil=True)
def entry_offered(store: State) -> bool:
    """Return whether the first entry can be read."""
    if store[N_ENTRIES] == 0:
        return False
    return bool(store[ENTRY + BARE] or store[TAG + store[ENTRY + HALF] * TAG_SIZE + FILLED])


@njit(cache=True, nogil=True)
def entry_leaves(store: State) -> None:
    if not store[ENTRY + BARE]:
        store[TAG + store[ENTRY + HALF] * TAG_SIZE + USERS] -= 1
    for place in range(ENTRY, ENTRY + ENTRY_SIZE):
        store[place] = store[place + ENTRY_SIZE]
    store[N_ENTRIES] -= 1


@njit(cache=True, nogil=True)
def entry_comes(
    store: State, half: int, known: bool, bare: bool, tile: int, chunk: int, count: int, final: bool
) -> None:
    if not bare:
        tag = store[TAG + half * TAG_SIZE :]
        tag[USERS] += 1
        if not known:
            tag[TAG_TILE], tag[TAG_CHUNK], tag[HELD], tag[FILLED] = tile, chunk, 1, 0
        store[RECENT] = half
    entry = store[ENTRY + store[N_ENTRIES] * ENTRY_SIZE :]
    entry[HALF], entry[BARE], entry[COUNT], entry[FINAL] = half, int(bare), count, int(final)
    store[N_ENTRIES] += 1


# the fetcher beside its walk: whose turn it is, steps that are left, chunk
TURN, STEPS_LEFT, CHUNK_INDEX = range(3)

# the read engine: a command is being issued; address of the next burst, of its region; words left of it; regions that
# follow; stride; words of a region; unanswered bursts; commands whose words are still to come, and per command of these
# store, half and words
ACTIVE, ADDRESS, REGION, LEFT, REGIONS, STRIDE, REGION_WORDS, UNANSWERED, PENDING, FIRST = range(10)
PENDING_SIZE = 3

# the memory's queue of bursts: number; per burst the cycle from which words may come, and words
BURSTS = 1


@njit(cache=True, nogil=True)
def begin_command(reader: State, store: int, half: int, address: int, stride: int, regions: int, words: int) -> None:
    reader[ACTIVE] = 1
    reader[ADDRESS] = reader[REGION] = address
    reader[LEFT] = reader[REGION_WORDS] = words
    reader[REGIONS], reader[STRIDE] = regions - 1, stride
    place = FIRST + reader[PENDING] * PENDING_SIZE
    reader[place], reader[place + 1], reader[place + 2] = store, half, regions * words
    reader[PENDING] += 1


@njit(cache=True, nogil=True)
def issue(job: State, reader: State) -> tuple[int, bool]:
    """Issue a burst; return its words, and whether it is its command's last."""
    words = burst_words(reader[ADDRESS], reader[LEFT], job[BURST], job[BUS_BYTES])
    reader[LEFT] -= words
    reader[ADDRESS] += words * job[BUS_BYTES]
    if reader[LEFT]:
        return words, False
    reader[REGION] += reader[STRIDE]
    reader[ADDRESS], reader[LEFT] = reader[REGION], reader[REGION_WORDS]
    reader[REGIONS] -= 1
    return words, bool(reader[REGIONS] < 0)


@njit(cache=True, nogil=True)
def ask(job: State, walk: State, fetcher: State, reader: State, stores: State, may_command: bool) -> None:
    """Ask the store whose turn it is for the next chunk, and begin to fetch it where it is not held."""
    turn = fetcher[TURN]
    store = stores[turn]
    if store[N_ENTRIES] == ENTRIES:
        return
    rows, cols = min(walk[LEFT_M], job[ROWS]), min(walk[LEFT_N], job[COLS])
    chunk = 0 if turn == P else fetcher[CHUNK_INDEX]
    tile = walk[TILE_M] if turn == A else walk[TILE_N]
    bare = turn == P and job[PARAMS] == 0
    known, half = lookup(store, tile, chunk)
    final = fetcher[STEPS_LEFT] <= job[CHUNK]
    here = min(fetcher[STEPS_LEFT], job[CHUNK])
    if not bare and not known:
        if store[TAG + half * TAG_SIZE + USERS] or not may_command:
            return
        if turn == P:
            words = job[RECORD_WORDS]
            address = job[P_BASE] + tile * job[COLS] * words * job[BUS_BYTES]
            begin_command(reader, turn, half, address, 0, 1, cols * words)
        elif turn == A:
            address = job[A_BASE] + tile * job[ROWS] * job[A_STRIDE]
            address += chunk * (job[CHUNK] // job[ACT_PER_WORD]) * job[BUS_BYTES]
            begin_command(reader, turn, half, address, job[A_STRIDE], rows, -(-here // job[ACT_PER_WORD]))
        else:
            address = job[W_BASE] + tile * job[COLS] * job[W_STRIDE]
            address += chunk * (job[CHUNK] // job[WEIGHT_PER_WORD]) * job[BUS_BYTES]
            begin_command(reader, turn, half, address, job[W_STRIDE], cols, -(-here // job[WEIGHT_PER_WORD]))
    entry_comes(store, half, known, bare, tile, chunk, rows if turn == P else here, final)
    if turn != W:
        fetcher[TURN] += 1
    elif final:
        next_tile(job, walk)
        fetcher[TURN], fetcher[STEPS_LEFT], fetcher[CHUNK_INDEX] = 0, job[STEPS], 0
    else:
        fetcher[TURN] = A
        fetcher[STEPS_LEFT] -= job[CHUNK]
        fetcher[CHUNK_INDEX] += 1


# the writer beside its walk: a row is held; its first burst is addressed; all words of the burst are sent; unanswered
# bursts; next word of the burst; words left of the row; address of the next burst; row of the tile
HOLDS, ADDRESSED, ALL_WORDS, OPEN, WORD, WORDS_LEFT, AT, ROW = range(8)


@njit(cache=True, nogil=True)
def take_row(job: State, walk: State, writer: State) -> None:
    """Hold the next row, and go on to the one after it."""
    rows, cols = min(walk[LEFT_M], job[ROWS]), min(walk[LEFT_N], job[COLS])
    first = job[C_BASE] + (walk[TILE_M] * job[ROWS] + writer[ROW]) * job[C_STRIDE]
    first += walk[TILE_N] * job[COLS] * job[CODE_BITS] // 8
    offset = first % job[BUS_BYTES]
    n_bytes = (cols * job[CODE_BITS] + 7) // 8
    writer[HOLDS], writer[AT] = 1, first - offset
    writer[WORDS_LEFT] = -(-(offset + n_bytes) // job[BUS_BYTES])
    writer[ROW] += 1
    if writer[ROW] == rows:
        writer[ROW] = 0
        next_tile(job, walk)
