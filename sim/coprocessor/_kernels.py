"""The co-processor stepped cycle by cycle: what each part offers and takes, without any data.

Arrays and scalars only; `tetrit.sim.coprocessor.cycles` says what they mean and prepares them. In each cycle everything
that is offered and taken follows from the state; then the state moves.
"""

__all__ = ["run"]

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tetrit.sim.coprocessor.parts._kernels import (
    ACT_WORDS,
    ACTIVE,
    ADDRESSED,
    ALL_WORDS,
    AT,
    BURST,
    BUS_BYTES,
    COMMANDS,
    COUNT,
    DEPTH,
    ENTRY,
    ENTRY_SIZE,
    FIFO_ROWS,
    FILLED,
    FINAL,
    FIRST,
    FLIGHT,
    FULL,
    HOLDS,
    LAST,
    ON,
    OPEN,
    OUTSTANDING,
    PENDING,
    PENDING_SIZE,
    PLACE,
    READ_LATENCY,
    RECENT,
    RESULT_WORDS,
    SIMD,
    START_LATENCY,
    STEPS,
    STEPS_LEFT,
    STORE_SIZE,
    SWITCH,
    TAG,
    TAG_SIZE,
    UNANSWERED,
    WEIGHT_WORDS,
    WORD,
    WORDS_LEFT,
    WRITE_LATENCY,
    A,
    P,
    State,
    W,
    ask,
    burst_words,
    channel_moves,
    down,
    entry_leaves,
    entry_offered,
    first_tile,
    issue,
    take_row,
    up,
)


@njit(cache=True, nogil=True)
def _shifted_in(pipe: State, length: int, value: bool) -> None:
    for place in range(length - 1, 0, -1):
        pipe[place] = pipe[place - 1]
    pipe[0] = int(value)


@njit(cache=True, nogil=True)
def run(job: State, wait_share: NDArray[np.float64], seed: int, most: int, out: State) -> None:
    """Step a job to its end, or for `most` cycles; write how long it took, and its events.

    In a cycle, a channel of the memory waits with the probability `wait_share` names; `seed` is that of the draws.
    `out` holds: cycles, or -1 if it did not end; cycles without a step; cycles without a step under way; steps; words
    read; words written.
    """
    simd = job[SIMD] == 1
    walk, writing = np.zeros(5, np.int64), np.zeros(5, np.int64)
    fetcher, writer = np.zeros(3, np.int64), np.zeros(8, np.int64)
    reader = np.zeros(FIRST + (COMMANDS + 1) * PENDING_SIZE, np.int64)
    stores = np.zeros((3, STORE_SIZE + ENTRY_SIZE), np.int64)
    stores[:, RECENT] = 1
    bursts, answers = np.zeros((OUTSTANDING + 1, 2), np.int64), np.zeros(OUTSTANDING + 1, np.int64)
    n_bursts = n_answers = 0
    offered, ends_tile, position = np.zeros(3, np.int64), np.zeros(3, np.int64), np.zeros(4, np.int64)
    narrow, wide = np.zeros((4, 3), np.int64), np.zeros((4, 3), np.int64)
    words = np.array([job[RESULT_WORDS], job[ACT_WORDS], job[WEIGHT_WORDS], job[RESULT_WORDS]])
    pipe, starting = np.zeros(job[DEPTH] + 1, np.int64), np.zeros(job[START_LATENCY] + 1, np.int64)
    depth, start_stages = job[DEPTH], job[START_LATENCY] - 1
    busy = draining = begun = 0
    waited = wait = row = tile_rows = partial_row = scales = 0
    read_steps = np.zeros(3, np.int64)  # of the entry that is read
    passing = passed = ending_rows = 0
    level = fifo_out = flight = 0
    draws = np.empty(5, np.uint64)
    for channel in range(5):
        draws[channel] = np.uint64(seed * 5 + channel) << np.uint64(40)
    drained_last = np.zeros(job[DEPTH] + 1, np.int64)

    first_tile(job, walk)
    first_tile(job, writing)
    fetcher[STEPS_LEFT] = job[STEPS]
    out[:] = 0
    out[0] = -1
    for now in range(1, most):
        if writing[ON] == 0 and writer[HOLDS] == 0 and writer[OPEN] == 0:
            out[0] = now + 1
            out[1] += 2
            if flight == 0:
                out[2] += 1
            out[2] += 1
            return

        # the write bus and the rows of results
        aw_moves, w_moves, b_moves = (
            channel_moves(wait_share, draws, 2),
            channel_moves(wait_share, draws, 3),
            channel_moves(wait_share, draws, 4),
        )
        free = writer[HOLDS] == 1 and writer[OPEN] != OUTSTANDING
        n_words = burst_words(writer[AT], writer[WORDS_LEFT], job[BURST], job[BUS_BYTES])
        address_taken = free and writer[ADDRESSED] == 0 and aw_moves
        word_taken = free and writer[ALL_WORDS] == 0 and w_moves
        last_word = writer[WORD] == n_words - 1
        burst_ends = (
            free and (writer[ADDRESSED] == 1 or aw_moves) and (writer[ALL_WORDS] == 1 or (w_moves and last_word))
        )
        row_ends = burst_ends and writer[WORDS_LEFT] == n_words
        answered = n_answers > 0 and answers[0] <= now and b_moves and writer[OPEN] > 0
        takes_row = writing[ON] == 1 and (writer[HOLDS] == 0 or row_ends)
        row_taken = fifo_out == 1 and takes_row
        fetched = level > 0 and (fifo_out == 0 or takes_row)
        rows_ready = level != job[FIFO_ROWS]

        # results on their way out of the array
        gathers = words[0] > 1
        whole = wide[0, FULL] if gathers else narrow[0, FULL]
        if simd:
            row_given = whole == 1 and rows_ready
            sums_taken = row_given
            sums_ready = rows_ready
            moves = False
        else:
            moves = passed == 0 or rows_ready
            row_given = passed == 1 and rows_ready
            sums_ready = moves and scales > 0
            sums_taken = whole == 1 and sums_ready
        word_ready = sums_ready or (gathers and wide[0, FULL] == 0)
        word_leaves = narrow[0, FULL] == 1 and word_ready
        result_ready = narrow[0, FULL] == 0 or (word_leaves and narrow[0, PLACE] == words[0] - 1)
        enable = pipe[depth - 1] == 0 or result_ready

        # drains and steps of the array
        drain = enable and draining == 1 and wait == 0 and (simd or wide[3, FULL] == 1)
        drained = drain and (row == tile_rows - 1 if simd else wide[3, LAST] == 1)
        may_end = busy == 0 or drained
        tile_offered = entry_offered(stores[P])
        ending_rows = stores[P, ENTRY + COUNT]
        ready = enable and wide[1, FULL] == 1 and wide[2, FULL] == 1 and (tile_offered or not simd)
        fits = begun == 1 or waited == job[SWITCH]  # all tiles of a job have the same formats
        last_step = wide[1, LAST] == 1
        step = ready and fits and (not last_step or may_end)
        ends = step and last_step

        # operands: from the stores, through the gearboxes
        for operand in range(1, 4):
            split = words[operand] > 1
            box_taken = drain if operand == 3 else step
            box_ready = wide[operand, FULL] == 0 or box_taken
            box_given = narrow[operand, FULL] == 1 and box_ready if split else False
            vector_ready = box_ready
            if split:
                vector_ready = narrow[operand, FULL] == 0 or (
                    box_given and narrow[operand, PLACE] == words[operand] - 1
                )
            if operand == 3:
                offer = not simd and tile_offered and (partial_row > 0 or scales != 2)
                last = int(partial_row == stores[P, ENTRY + COUNT] - 1)
            else:
                offer = offered[operand] == 1
                last = ends_tile[operand]
            taken = offer and vector_ready
            if split:
                box_last = narrow[operand, LAST] if narrow[operand, PLACE] == words[operand] - 1 else 0
                up(wide[operand], words[operand], box_given, box_last, box_taken)
                down(narrow[operand], words[operand], taken, last, box_given)
            else:
                up(wide[operand], 1, taken, last, box_taken)
            position[operand] = int(taken)
        stepped = position[A] == 1

        # the read bus
        ar_moves, r_moves = channel_moves(wait_share, draws, 0), channel_moves(wait_share, draws, 1)
        word_read = n_bursts > 0 and bursts[0, 0] <= now and r_moves
        issued = reader[ACTIVE] == 1 and reader[UNANSWERED] != OUTSTANDING and ar_moves
        may_command = reader[ACTIVE] == 0
        full = reader[PENDING] == COMMANDS
        if issued:
            n_read, may_command = issue(job, reader)
            bursts[n_bursts, 0], bursts[n_bursts, 1] = now + job[READ_LATENCY], n_read
            n_bursts += 1
            reader[UNANSWERED] += 1
            if may_command:
                reader[ACTIVE] = 0
        reads = np.zeros(3, np.int64)
        for operand in (A, W):
            reads[operand] = int(entry_offered(stores[operand]) and (offered[operand] == 0 or position[operand] == 1))
        if walk[ON] == 1:
            ask(job, walk, fetcher, reader, stores, may_command and not full)

        # the state moves: stores and read bus
        if ends and simd:
            entry_leaves(stores[P])
        if position[3] == 1:
            if partial_row == 0:
                scales += 1
            partial_row += 1
            if partial_row == stores[P, ENTRY + COUNT]:
                partial_row = 0
                entry_leaves(stores[P])
        for operand in (A, W):
            store = stores[operand]
            if reads[operand]:
                final = read_steps[operand] == store[ENTRY + COUNT] - 1
                read_steps[operand] += 1
                offered[operand] = 1
                ends_tile[operand] = int(final and store[ENTRY + FINAL] == 1)
                if final:
                    read_steps[operand] = 0
                    entry_leaves(store)
            elif position[operand]:
                offered[operand] = 0
        if word_read:
            out[4] += 1
            reader[FIRST + 2] -= 1
            if reader[FIRST + 2] == 0:
                stores[reader[FIRST], TAG + reader[FIRST + 1] * TAG_SIZE + FILLED] = 1
                for place in range(FIRST, FIRST + COMMANDS * PENDING_SIZE):
                    reader[place] = reader[place + PENDING_SIZE]
                reader[PENDING] -= 1
            bursts[0, 1] -= 1
            if bursts[0, 1] == 0:
                bursts[:-1] = bursts[1:].copy()
                n_bursts -= 1
                reader[UNANSWERED] -= 1

        # array and results
        out[3] += int(stepped)
        out[1] += int(not stepped)
        out[2] += int(not stepped and flight == 0)
        flight = job[FLIGHT] if stepped else max(0, flight - 1)
        if step:
            begun = 1
        elif ready and not fits:
            waited += 1
        if drain:
            wait = words[0] - 1
            row += 1
        elif enable and wait > 0:
            wait -= 1
        if drained:
            draining = busy = row = 0
        if (starting[start_stages - 1] == 1 if start_stages else ends) and enable:
            draining = 1
        if ends:
            busy = 1
            if simd:
                tile_rows = ending_rows
        given = pipe[depth - 1] == 1 and result_ready
        given_last = drained_last[depth - 1]
        if enable:
            _shifted_in(pipe, depth, drain)
            _shifted_in(drained_last, depth, drained)
            _shifted_in(starting, start_stages, ends)
        whole_last = wide[0, LAST] if gathers else narrow[0, LAST]
        if gathers:
            up(wide[0], words[0], word_leaves, narrow[0, LAST], sums_taken)
        down(narrow[0], words[0], given, given_last, word_leaves)
        if moves:
            passed, passing = passing, int(sums_taken)
            if sums_taken and whole_last == 1:
                scales -= 1

        # rows and the write bus
        level += int(row_given) - int(fetched)
        if fetched:
            fifo_out = 1
        elif takes_row:
            fifo_out = 0
        if word_taken:
            out[5] += 1
            writer[WORD] += 1
            writer[ALL_WORDS] = int(last_word)
        if address_taken:
            writer[ADDRESSED] = 1
        if answered:
            answers[:-1] = answers[1:].copy()
            n_answers -= 1
            writer[OPEN] -= 1
        if burst_ends:
            writer[ADDRESSED] = writer[ALL_WORDS] = writer[WORD] = 0
            writer[AT] += n_words * job[BUS_BYTES]
            writer[WORDS_LEFT] -= n_words
            writer[OPEN] += 1
            answers[n_answers] = now + job[WRITE_LATENCY]
            n_answers += 1
        if row_ends:
            writer[HOLDS] = 0
        if row_taken:
            take_row(job, writing, writer)
