"""Compiled loops as native tasks, which threads of another library start without Python and without its lock.

A loop is a function ``kernel(*args, first, last)`` compiled by numba. Its task takes all arguments from a vector of
words of 8 bytes, and blocks of items until none is left. Words 0 to 2 are the item that comes next, which threads
share; how many there are, 0 after a block that gave False, -1 after one that failed; and how many make a block.
"""

__all__ = ["Task", "Team", "call", "run"]

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from struct import Struct
from typing import Any

import numpy as np

_HEAD = 3
_LEAST = 1 << 13
"""Elements that are not worth another thread."""

_FEW = 1 << 15
"""Up to so many elements a loop takes no longer than finding its task, about 10 us, unless it draws."""

_SHARES = 4
"""Blocks for each thread: they are handed out one by one, so that a slow core does less."""

_KINDS = (bool, int, float, np.int32, np.int64, np.uint32, np.uint64, np.float32, np.float64)
_CODES = {"float32": "f4x", "float64": "d", "int32": "i4x", "int64": "q", "uint32": "I4x", "uint64": "Q", "bool": "?7x"}
_LARGEST = 2**63 - 1
_PLAIN = 0x101
"""The flags of numpy's C interface for C-contiguous and aligned arrays."""

_numbers = count()


@dataclass(frozen=True, eq=False)
class Team:
    """Threads of another library.

    Attributes
    ----------
    fork : callable
        ``fork(task, words, threads)`` lets so many threads, the calling one among them, call the function at the
        address `task` with the address `words`, and waits for them. It does not hold Python's lock meanwhile.
    size : callable
        How many threads there may be now.
    """

    fork: Callable[[int, Any, int], None]
    size: Callable[[], int]


class Task:
    """A loop as a native function.

    Parameters
    ----------
    kernel : numba function
        ``kernel(*args, first, last)`` gives nothing, or whether all is right.
    types : sequence of numba types
        Of `args`: numbers, and arrays, which must be C-contiguous.
    """

    def __init__(self, kernel: Any, types: Sequence[Any]) -> None:
        from numba import types as kinds
        from numba.core.compiler_lock import global_compiler_lock

        whole = (*types, kinds.int64, kinds.int64)
        kernel.compile(whole)
        self._loop = kernel.overloads[whole]
        self._words = Struct("=3q" + "".join(_layout(kind) for kind in types))
        with global_compiler_lock:
            self._library, self.address = _compiled(self._loop)
        self._alone = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.address)

    def __call__(self, team: Team | None, n: int, size: int, *words: float) -> bool | None:
        """Do `n` items of about `size` elements each; return whether no block gave False, or None if one failed.

        Parameters
        ----------
        team : Team or None
            None: the calling thread does everything.
        n, size : int
        *words : int or float
            Numbers as they are, and for an array its address and lengths; the caller holds the memory.
        """
        threads = 1 if team is None or n * size < _LEAST else min(team.size(), n)
        block = n if threads == 1 else -(-n // (_SHARES * threads))
        memory = ctypes.create_string_buffer(self._words.pack(0, n, block, *words))
        if team is None or threads == 1:
            self._alone(memory)
        else:
            team.fork(self.address, memory, threads)
        left: int = self._words.unpack_from(memory)[1]
        return None if left < 0 else left == n


def call(kernel: Any, args: Sequence[Any], first: int, last: int) -> bool:
    """Call ``kernel(*args, first, last)``; return whether it did not give False."""
    found = kernel(*args, first, last)
    return found is None or bool(found)


def run(team: Team | None, kernel: Any, args: Sequence[Any], n: int, size: int) -> bool:
    """Call ``kernel(*args, first, last)`` on a team so that each of `n` items is done once.

    Where there is nothing to gain, or arguments are not what a `Task` takes, the calling thread does it at once.

    Parameters
    ----------
    team : Team or None
    kernel : numba function
    args : sequence of arrays and numbers
        A task takes arrays that are C-contiguous and aligned, and numbers of up to 64 bits.
    n, size : int
        Items, and about how many elements each has.

    Returns
    -------
    bool
        Whether no call gave False.
    """
    if team is not None and n > 1 and n * size > _FEW and team.size() > 1 and hasattr(kernel, "overloads"):
        key, words = [kernel], list[Any]()
        for value in args:
            if type(value) is np.ndarray and value.flags.num & _PLAIN == _PLAIN:
                key.append((value.dtype, value.ndim))
                words += _address(value), *value.shape
            elif type(value) in _KINDS and (type(value) is not int or -_LARGEST <= value <= _LARGEST):
                key.append(type(value))
                words.append(value)
            else:
                break
        else:
            task = _task(tuple(key), args)
            found = task(team, n, size, *words)
            if found is not None:
                return found
    return call(kernel, args, 0, n)


def _address(x: np.ndarray[Any, Any]) -> int:
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(x))  # type: ignore[arg-type]  # in a third of the time
    except (TypeError, ValueError):  # of one that is not to be written, or has no elements
        return x.ctypes.data


_tasks: dict[tuple[Any, ...], Task] = {}


def _task(key: tuple[Any, ...], args: Sequence[Any]) -> Task:
    found = _tasks.get(key)
    if found is None:
        found = _tasks[key] = Task(key[0], [_kind(value) for value in args])
    return found


def _kind(value: Any) -> Any:
    from numba import typeof

    kind: Any = typeof(value)  # type: ignore[no-untyped-call]
    return (
        kind.copy(layout="C", readonly=False) if isinstance(value, np.ndarray) else kind
    )  # a row of one may be of another layout


def _layout(kind: Any) -> str:
    """Return the words of an argument as `struct` packs them."""
    ndim: int | None = getattr(kind, "ndim", None)
    return _CODES[str(kind)] if ndim is None else f"{1 + ndim}q"


def _compiled(loop: Any) -> tuple[Any, int]:
    """Compile the task of a numba overload; return what holds its code, and its address."""
    from llvmlite import binding, ir  # type: ignore[import-untyped]
    from numba.core import types

    context, found = loop.target_context, loop.fndesc
    word = ir.IntType(64)
    library = context.codegen().create_library(f"task{next(_numbers)}")
    module = library.create_ir_module(library.name)
    task = ir.Function(module, ir.FunctionType(ir.VoidType(), [word.as_pointer()]), library.name)
    (words,) = task.args
    builder = ir.IRBuilder(task.append_basic_block("entry"))
    args, at = [], _HEAD
    for kind in found.argtypes[:-2]:
        value, at = _argument(context, builder, kind, words, at)
        args.append(value)
    block = builder.load(_place(builder, words, 2))
    binding.add_symbol(f"{library.name}.loop", loop.library.get_pointer_to_function(found.llvm_func_name))
    signature = context.call_conv.get_function_type(found.restype, found.argtypes)
    callee = ir.Function(module, signature, f"{library.name}.loop")
    head, body, wrong, end = (task.append_basic_block(name) for name in ("head", "body", "wrong", "end"))
    builder.branch(head)
    builder.position_at_end(head)
    first = builder.atomic_rmw("add", words, block, "monotonic")
    limit = builder.load_atomic(_place(builder, words, 1), "monotonic", 8)
    builder.cbranch(builder.icmp_signed("<", first, limit), body, end)
    builder.position_at_end(body)
    whole = builder.add(first, block)
    last = builder.select(builder.icmp_signed("<", whole, limit), whole, limit)
    status, result = context.call_conv.call_function(
        builder, callee, found.restype, found.argtypes, [*args, first, last]
    )
    good = builder.not_(status.is_error)
    if isinstance(found.restype, types.Boolean):
        good = builder.and_(good, result)
    builder.cbranch(good, head, wrong)
    builder.position_at_end(wrong)
    left = builder.select(status.is_error, ir.Constant(word, -1), ir.Constant(word, 0))
    builder.store_atomic(left, _place(builder, words, 1), "monotonic", 8)
    builder.branch(end)
    builder.position_at_end(end)
    builder.ret_void()
    library.add_ir_module(module)
    library.finalize()
    return library, library.get_pointer_to_function(task.name)


def _place(builder: Any, words: Any, number: int) -> Any:
    from llvmlite import ir

    return builder.gep(words, [ir.Constant(ir.IntType(64), number)])


def _argument(context: Any, builder: Any, kind: Any, words: Any, at: int) -> tuple[Any, int]:
    """Return an argument as the loop takes it, from the words `at` on, and which word comes next."""
    from llvmlite import ir
    from numba.core import types
    from numba.np.arrayobj import populate_array

    word = ir.IntType(64)
    if not isinstance(kind, types.Array):
        data = context.data_model_manager[kind].get_data_type()
        place = builder.bitcast(_place(builder, words, at), data.as_pointer())
        return context.unpack_value(builder, kind, place), at + 1
    element = context.data_model_manager[kind.dtype].get_data_type()
    address = builder.load(_place(builder, words, at))
    shape = [builder.load(_place(builder, words, at + 1 + axis)) for axis in range(kind.ndim)]
    itemsize = context.get_abi_sizeof(element)
    strides = [ir.Constant(word, itemsize)]
    for length in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], length))
    made = context.make_array(kind)(context, builder)
    populate_array(  # type: ignore[no-untyped-call]
        made,
        data=builder.inttoptr(address, element.as_pointer()),
        shape=_packed(builder, shape),
        strides=_packed(builder, strides[: kind.ndim]),
        itemsize=ir.Constant(word, itemsize),
        meminfo=None,
    )
    return made._getvalue(), at + 1 + kind.ndim


def _packed(builder: Any, numbers: Sequence[Any]) -> Any:
    from llvmlite import ir
    from numba.core import cgutils

    return cgutils.pack_array(builder, numbers, ty=ir.IntType(64))  # type: ignore[no-untyped-call]
