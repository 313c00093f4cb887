"""The authority for the C++ around a batch model: typed copies between arrays and ports, clock and reset."""

__all__ = [
    "CLOCK",
    "RESET",
    "container_bytes",
    "data_ports",
    "member",
    "quiet",
    "rows_source",
    "with_waves",
    "words",
]

from collections.abc import Sequence
from pathlib import Path

from tetrit.verify.building import Port

CLOCK, RESET = "clk", "rst"

_TEXT = """\
#include <cstdint>
#include <cstring>

#include "Vtop.h"
#include "verilated.h"

namespace {

struct Design {
    VerilatedContext context;
    Vtop* top;
#ifdef TETRIT_WAVES
    Waves waves;
    int64_t cycle = 0;
#endif

    explicit Design(int seed) {
#ifdef TETRIT_WAVES
        context.traceEverOn(true);
#endif
        context.randReset(2);
        context.randSeed(seed);
        top = new Vtop{&context, "dut"};
    }
    ~Design() {
#ifdef TETRIT_WAVES
        waves.close();
#endif
        top->final();
        delete top;
    }
};

}  // namespace

extern "C" {
#pragma GCC visibility push(default)

Design* tetrit_open(int seed) { return new Design(seed); }

void tetrit_close(Design* design) { delete design; }

void tetrit_reset(Design* design) {
    Vtop& top = *design->top;
    (void)top;
@RESET@
}

void tetrit_run(Design* design, int64_t rows, const void* const* inputs, void* const* outputs) {
    Vtop& top = *design->top;
@POINTERS@
    for (int64_t row = 0; row < rows; ++row) {
@ROW@
    }
}

#ifdef TETRIT_WAVES
void tetrit_waves(Design* design, Sink sink, int64_t first, int64_t end) {
    design->waves.begin(*design->top, sink, first, end);
}

void tetrit_waves_end(Design* design) { design->waves.close(); }
#endif

#pragma GCC visibility pop
}  // extern "C"
"""

_SETTLED, _RISEN = "design->waves.settled(design->cycle);", "design->waves.risen(design->cycle++);"
_WAVES = Path(__file__).with_name("waves.cpp")


def with_waves(driver: str) -> str:
    """Return a driver that can record what it drives; see ``waves.cpp``."""
    return f"{_WAVES.read_text(encoding='utf-8')}\n{driver}"


def container_bytes(bits: int) -> int:
    """Return the bytes of the integer that holds a port: 1, 2, 4 or 8; of each of its words if it is wider than 64."""
    return next(size for size in (1, 2, 4, 8) if bits <= 8 * size) if bits <= 64 else 4


def words(bits: int) -> int:
    """Return the number of such integers."""
    return 1 if bits <= 64 else -(-bits // 32)


def member(name: str) -> str:
    """Return the name by which Verilator calls a port."""
    return name.replace("__", "___05F")


def data_ports(ports: Sequence[Port], *, inputs: bool) -> list[Port]:
    """Return the inputs or outputs, without clock and reset."""
    return [port for port in ports if port.is_input == inputs and port.name not in (CLOCK, RESET)]


def rows_source(ports: Sequence[Port], *, waves: bool = False) -> str:
    """Return the C++ of a library that applies one row of inputs per cycle and samples the outputs in the same cycle.

    Outputs of a row are those while its inputs are applied, before the clock edge that ends it. With `waves` it can
    record; reset is cycle 0 then.
    """
    names = {port.name for port in ports}
    clocked = CLOCK in names
    given, sampled = data_ports(ports, inputs=True), data_ports(ports, inputs=False)
    still = [quiet(port) for port in given]
    if RESET in names:
        still.append("top.rst = 1;")
    low = ["top.clk = 0;", "top.eval();"] if clocked else ["top.eval();"]
    high = ["top.clk = 1;", "top.eval();"] if clocked else []
    if waves:
        low, high = [*low, _SETTLED], [*high, _RISEN if clocked else "++design->cycle;"]
    reset = [*still, *low, *high, *(["top.rst = 0;"] if RESET in names else [])]
    pointers = [
        f"const auto* in_{index} = static_cast<const {_type(port)}*>(inputs[{index}]);"
        for index, port in enumerate(given)
    ] + [f"auto* out_{index} = static_cast<{_type(port)}*>(outputs[{index}]);" for index, port in enumerate(sampled)]
    row = [_applied(port, f"in_{index}") for index, port in enumerate(given)]
    row += low
    row += [_sampled(port, f"out_{index}") for index, port in enumerate(sampled)]
    row += high
    parts = {"@RESET@": (reset, 4), "@POINTERS@": (pointers, 4), "@ROW@": (row, 8)}
    text = _TEXT
    for mark, (lines, indent) in parts.items():
        text = text.replace(mark, "\n".join(" " * indent + line for line in lines))
    return with_waves(text) if waves else text


def _type(port: Port) -> str:
    return f"uint{8 * container_bytes(port.bits)}_t"


def quiet(port: Port, prefix: str = "top.") -> str:
    """Return the C++ that sets an input to 0."""
    name = prefix + member(port.name)
    return f"{name} = 0;" if port.bits <= 64 else f"std::memset(&{name}[0], 0, {4 * words(port.bits)});"


def _applied(port: Port, array: str) -> str:
    name, count = member(port.name), words(port.bits)
    if port.bits <= 64:
        return f"top.{name} = {array}[row];"
    return f"std::memcpy(&top.{name}[0], {array} + {count} * row, {4 * count});"


def _sampled(port: Port, array: str) -> str:
    name, count = member(port.name), words(port.bits)
    if port.bits <= 64:
        return f"if ({array}) {array}[row] = top.{name};"
    return f"if ({array}) std::memcpy({array} + {count} * row, &top.{name}[0], {4 * count});"
