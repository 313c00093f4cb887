"""Headers of layers in C++: the authority for the constants and types that stand between a node and the library."""

__all__ = ["Layer", "lookup", "map_text", "pool", "product", "sum_of"]

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tetrit import formats
from tetrit.errors import InvalidValueError
from tetrit.hls.cpp.constants import array, columns, packed, signed_bits, wide_words
from tetrit.hls.cpp.geometry import Map, PoolSize, ProductSize, ceil_div
from tetrit.hls.cpp.kinds import format_type, value_type
from tetrit.hls.cpp.source import CodesProduct, Signal
from tetrit.hls.cpp.timing import ENCODE_DEPTH, REQUANTISE_DEPTH
from tetrit.hls.integer import AveragePool, Lookup, MaxPool, Product, Sum


@dataclass(kw_only=True)
class Layer:
    """A header in the making.

    Attributes
    ----------
    name, title : str
        Its name space, and what it is, for the reader.
    include : str
        Header of the library that it needs.
    parts : list of str
        Text, in order.
    finish_depth : int
        Cycles that follow a product's sum.
    figures : dict
        Widths and sizes for the report.
    """

    name: str
    title: str
    include: str
    parts: list[str] = field(default_factory=list)
    finish_depth: int = 0
    figures: dict[str, Any] = field(default_factory=dict)

    def add(self, part: str) -> None:
        """Add text in front."""
        self.parts.insert(0, part)

    def text(self) -> str:
        """Return the whole header."""
        guard = f"LAYERS_{self.name.upper()}_H"
        includes = [self.include, *(["window"] if any("struct Map" in part for part in self.parts) else [])]
        lines = "".join(f'#include "tetrit/{name}.h"\n' for name in includes)
        body = "\n".join(self.parts)
        return (
            f"// {self.title}\n#ifndef {guard}\n#define {guard}\n\n{lines}\nnamespace {self.name} {{\n\n{body}\n"
            f"}}  // namespace {self.name}\n\n#endif\n"
        )


def product(
    node: Product | CodesProduct,
    name: str,
    size: ProductSize,
    tile: tuple[int, int],
    signal: Signal,
    out: Signal,
    acc_bits: int,
) -> Layer:
    """Return the header of a product: its sizes and types, packed weights, and what follows the sums."""
    tile_k, tile_n = tile
    weight_format = node.layer.weight_format if isinstance(node, CodesProduct) else node.weight_format
    weight = node.layer.weight if isinstance(node, CodesProduct) else node.weight
    bits = formats.get(weight_format).bits
    try:
        decoder = format_type(weight_format)
    except InvalidValueError as error:
        raise InvalidValueError(f"layer '{node.name}': {error}") from None
    words, width = packed(weight.reshape(size.groups, size.k, size.n), bits, tile_k, tile_n)
    finish = _codes(node, size, tile_n, signal, out) if isinstance(node, CodesProduct) else None
    if finish is None:
        assert isinstance(node, Product)
        finish = _integers(node, size, tile_n, signal, out, acc_bits)
    shape = (
        f"struct Layer {{\n  static constexpr int vectors = {size.vectors}, groups = {size.groups}, "
        f"k = {size.k}, n = {size.n};\n  static constexpr int tile_k = {tile_k}, tile_n = {tile_n};\n"
        f"  using Weight = {decoder};\n  using Products = {finish.products};\n  using Out = {value_type(out)};\n"
        f"  using Finish = {finish.type};\n}};\n"
    )
    note = (
        f"// {weight_format} codes of {tile_n} x {tile_k} weights a row, input after input of one output, the first in "
        "the low bits\n"
    )
    names = [constant for constant, _ in finish.constants]
    pragmas = "".join(
        f"#pragma HLS ARRAY_PARTITION variable={constant} complete dim=2\n" for constant in ("weights", *names)
    )
    if isinstance(node, CodesProduct):
        pragmas += "#pragma HLS ARRAY_PARTITION variable=bias complete dim=3\n"
    beats = f"tetrit::Beat<{value_type(signal)}, {tile_k}>", f"tetrit::Beat<{value_type(out)}, {tile_n}>"
    run = (
        f"inline void run(tetrit::stream<{beats[0]}>& in,\n                tetrit::stream<{beats[1]}>& out) {{\n"
        f"{pragmas}  tetrit::product<Layer>(in, out, {', '.join(('weights', *names))});\n}}\n"
    )
    parts = [
        shape,
        note + array(f"tetrit::UInt<{width}>", "weights", words, hexadecimal=True),
        *(text for _, text in finish.constants),
        run,
    ]
    kind = "convolution" if size.map is not None else "product"
    title = (
        f"Layer '{_plain(node.name)}': {kind}, {size.k} -> {size.n} in {size.groups} group(s), "
        f"{size.vectors} vector(s) an input, {signal.format} x {weight_format} -> {out.format}"
    )
    figures = {
        "macs": size.macs,
        "tile_k": tile_k,
        "tile_n": tile_n,
        "weight_bits": int(weight.size) * bits,
        "sum_bits": finish.sum_bits,
        "multipliers": finish.multipliers * tile_k * tile_n,
    }
    return Layer(name=name, title=title, include="finish", parts=parts, finish_depth=finish.depth, figures=figures)


@dataclass(frozen=True, kw_only=True)
class _Finish:
    products: str
    type: str
    sum_bits: int
    depth: int
    multipliers: int  # of a product: 0 where weights or activations are powers of two
    constants: list[tuple[str, str]]


def _integers(node: Product, size: ProductSize, tile_n: int, signal: Signal, out: Signal, acc_bits: int) -> _Finish:
    bias_bits = signed_bits(node.bias.tolist())
    sum_bits = max(acc_bits, bias_bits)
    bias = columns(node.bias, size.groups, tile_n, 0)
    constants = [("bias", array(f"tetrit::Int<{bias_bits}>", "bias", bias))]
    relu = "true" if node.relu else "false"
    if node.multiplier is None or node.shift is None:
        finish, depth = f"tetrit::Keep<{out.bits}, {relu}>", 1
    else:
        finish, depth = f"tetrit::Requantise<{out.bits}, {relu}>", REQUANTISE_DEPTH
        limit = sum_bits + max(int(node.multiplier.max()).bit_length(), 1)  # a larger shift gives 0 as well
        for name, values, fill in (("multiplier", node.multiplier, 0), ("shift", np.minimum(node.shift, limit), 1)):
            bits = max(int(values.max()).bit_length(), 1)
            rows = columns(values, size.groups, tile_n, fill)
            constants.append((name, array(f"tetrit::UInt<{bits}>", name, rows)))
    return _Finish(
        products=f"tetrit::IntegerProducts<{value_type(signal)}, Weight, {sum_bits}>",
        type=finish,
        sum_bits=sum_bits,
        depth=depth,
        multipliers=0 if _powers(node.weight_format) else 1,
        constants=constants,
    )


def _codes(node: CodesProduct, size: ProductSize, tile_n: int, signal: Signal, out: Signal) -> _Finish:
    layer = node.layer
    entries = [int(value) for value in layer.bias]
    bias_bits = signed_bits(entries)
    needed = formats.accumulator_bits(layer.act_format, layer.weight_format, size.k)
    quire_bits = max(needed, bias_bits) + 1
    fraction = -sum(formats.get(name).lsb_exponent for name in layer.pair)
    shift_bits = signed_bits(layer.shift.tolist())
    words = columns(wide_words(entries, bias_bits), 1, tile_n, 0)
    constants = [
        ("bias", array("tetrit::UInt<64>", "bias", words, hexadecimal=True)),
        ("shift", array(f"tetrit::Int<{shift_bits}>", "shift", columns(layer.shift, 1, tile_n, 0))),
    ]
    act = format_type(signal.format)
    return _Finish(
        products=f"tetrit::CodeProducts<{act}, Weight, {quire_bits}, {fraction}>",
        type=f"tetrit::Encode<{format_type(out.format)}, {'true' if layer.relu else 'false'}>",
        sum_bits=quire_bits,
        depth=ENCODE_DEPTH,
        multipliers=0 if _powers(layer.weight_format) or _powers(layer.act_format) else 1,
        constants=constants,
    )


def _powers(name: str) -> bool:
    """Whether all values of a format are zero or plus or minus a power of two, and its codes are decoded as such."""
    known = formats.get(name)
    plain = np.isin(known.significand, (-1, 0, 1)).all()
    return bool(plain) and not isinstance(known, formats.Integer)


def map_text(found: Map, value: str, lanes_in: int, lanes_out: int, padding: int) -> str:
    """Return the definition of a window."""
    table = asdict(found)
    names = list(table)
    lines = [names[:3], names[3:7], names[7:11], names[11:]]
    fields = "".join(
        f"  static constexpr int {', '.join(f'{name} = {table[name]}' for name in line)};\n" for line in lines
    )
    return (
        f"struct Map {{\n  using Value = {value};\n{fields}"
        f"  static constexpr int lanes_in = {lanes_in}, lanes_out = {lanes_out};\n"
        f"  static constexpr long long padding = {padding};\n}};\n"
    )


def pool(
    node: MaxPool | AveragePool, name: str, size: PoolSize, lanes: int, signal: Signal, out: Signal, acc_bits: int
) -> Layer:
    """Return the header of a pool."""
    greatest = isinstance(node, MaxPool)
    text = (
        f"struct Pool {{\n  using Value = {value_type(signal)};\n"
        f"  static constexpr int positions = {size.positions}, places = {size.places}, channels = {size.channels}, "
        f"lanes = {lanes};\n"
    )
    figures: dict[str, Any] = {"lanes": lanes}
    if isinstance(node, AveragePool):
        bits = node.multiplier.bit_length()
        shift = min(node.shift, acc_bits + bits)
        text += (
            f"  using Out = {value_type(out)};\n  static constexpr int out_bits = {out.bits}, sum_bits = {acc_bits};\n"
            f"  static constexpr int multiplier = {node.multiplier}, multiplier_bits = {bits}, shift = {shift};\n"
        )
        figures["sum_bits"] = acc_bits
    kind = "maximum" if greatest else "mean"
    title = f"Layer '{_plain(node.name)}': {kind} of {size.places} pixel(s) at {size.positions} position(s)"
    return Layer(name=name, title=title, include="pool", parts=[text + "};\n"], figures=figures)


def sum_of(node: Sum, name: str, lanes: int, out: Signal, acc_bits: int) -> Layer:
    """Return the header of branches that meet."""
    shift = min(node.shift, acc_bits + 1)
    text = (
        f"struct Join {{\n  using Out = {value_type(out)};\n"
        f"  static constexpr int beats = {out.groups * (out.count // lanes)}, lanes = {lanes};\n"
        f"  static constexpr int out_bits = {out.bits}, sum_bits = {acc_bits}, shift = {shift};\n"
        f"  static constexpr bool relu = {'true' if node.relu else 'false'};\n}};\n"
    )
    title = f"Layer '{_plain(node.name)}': {len(node.inputs)} branches added, {out.size} value(s)"
    figures = {"lanes": lanes, "sum_bits": acc_bits}
    return Layer(name=name, title=title, include="pointwise", parts=[text], figures=figures)


def lookup(node: Lookup, name: str, lanes: int, signal: Signal, out: Signal) -> Layer:
    """Return the header of a function by table."""
    text = (
        f"struct Table {{\n  using Value = {value_type(signal)};\n  using Out = {value_type(out)};\n"
        f"  static constexpr int beats = {out.groups * (out.count // lanes)}, lanes = {lanes}, bits = {signal.bits};\n"
        "};\n"
    )
    copies = np.tile(np.roll(node.table, len(node.table) // 2), (ceil_div(lanes, 2), 1))
    table = array(value_type(out), "table", copies)
    title = f"Layer '{_plain(node.name)}': a function of {signal.format}, {out.size} value(s)"
    return Layer(name=name, title=title, include="pointwise", parts=[text, table], figures={"lanes": lanes})


def _plain(name: str) -> str:
    """Return a name that can stand in a comment of one line."""
    return "".join(c if c.isprintable() and c != "\\" else "?" for c in name)
