"""One way to compute a whole graph, node by node: places for its tensors, and drafts of all steps in order."""

__all__ = ["Plan", "options", "plan"]

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt

from tetrit.errors import InvalidValueError
from tetrit.hls.integer import IntegerGraph, IntegerNode, Reshape, Window
from tetrit.hls.jobs.drafts import Buffer, Costs, Draft, HostDraft, Move, Work, collapsed
from tetrit.hls.jobs.forms import Form, form
from tetrit.hls.jobs.layout import Choice, Needs
from tetrit.hls.jobs.moves import Mover
from tetrit.hls.jobs.place import Place, aligned
from tetrit.sim.coprocessor import Coprocessor

Ints = npt.NDArray[np.int64]


@dataclass(kw_only=True, eq=False)
class Plan:
    """Drafts of a program.

    Attributes
    ----------
    drafts : list of Draft
        In order.
    places : dict of str to (Buffer, Place)
        Of every tensor; the base of a place is an offset in its buffer.
    choices : mapping of str to Choice
        Of every node.
    """

    choices: Mapping[str, Choice]
    drafts: list[Draft] = field(default_factory=list)
    places: dict[str, tuple[Buffer, Place]] = field(default_factory=dict)


def options(node: Form | None) -> list[Choice]:
    """Return the ways to compute a node, the one that always works first."""
    if node is None:
        return [Choice("host")]
    if node.window is None:
        return [Choice("whole")]
    if len(node.sources) > 1:
        return [Choice("host"), Choice("pairs")]
    found = [Choice("patches")]
    if node.window.positions == 1:
        found.append(Choice("whole"))
    ways = ("direct", "strips") if node.window.kernel[0] > 1 else ("direct",)
    found += [Choice(way, by_rows) for way, by_rows in product(ways, (False, True))]  # type: ignore[arg-type]
    return found


def plan(graph: IntegerGraph, unit: Coprocessor, batch: int, choices: Mapping[str, Choice], costs: Costs) -> Plan:
    """Return the plan that follows choices for all nodes.

    Raises
    ------
    InvalidValueError
        A choice that is impossible for its node, or a node that the machine cannot compute.
    """
    return _Planner(graph, unit, batch, choices, costs).build()


def map_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return height, width and channels of a tensor as it is laid out."""
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return 1, int(np.prod(shape[:-1], dtype=np.int64)), shape[-1] if shape else 1


class _Planner(Mover):
    def __init__(
        self, graph: IntegerGraph, unit: Coprocessor, batch: int, choices: Mapping[str, Choice], costs: Costs
    ) -> None:
        super().__init__(unit, costs)
        self.graph, self.batch = graph, batch
        self.forms = {node.name: form(node, graph.tensors, self.machine) for node in graph.nodes}
        self.plan = Plan(choices=dict(choices), drafts=self.drafts)
        self.makers = {node.output: node.name for node in graph.nodes}
        self.readers: dict[str, list[IntegerNode]] = {name: [] for name in graph.tensors}
        for node in graph.nodes:
            for name in node.sources:
                self.readers[name].append(node)
        self.needs: dict[str, Needs] = {}
        self.pairs: dict[str, tuple[Buffer, Place]] = {}  # of the sums whose buffer a source is written into

    def build(self) -> Plan:
        """Go through the graph backwards for what readers need, then forwards."""
        for name, tensor in self.graph.tensors.items():
            self.needs[name] = Needs(size=map_shape(tensor.shape)[:2])
        for node in reversed(self.graph.nodes):
            self._ask(node)
        for name in self.graph.inputs:
            self._put(name, *self.needs[name].least())
            self._clear(name)
        for node in self.graph.nodes:
            found, choice = self.forms[node.name], self.plan.choices[node.name]
            before = len(self.plan.drafts)
            if choice.way == "host":
                self._host(node)
            else:
                assert found is not None
                self._product(found, choice)
            if len(self.plan.drafts) > before:
                self.plan.drafts[-1].gives = node.output
        return self.plan

    # --- what readers need ---

    def _ask(self, node: IntegerNode) -> None:
        found, choice = self.forms[node.name], self.plan.choices[node.name]
        if choice.way == "host" or found is None or found.window is None or choice.way == "whole":
            return
        for name in dict.fromkeys(found.sources):
            needs = self.needs[name]
            if map_shape(self.graph.tensors[name].shape) != found.window.in_shape:
                raise InvalidValueError(f"node '{node.name}': '{name}' is laid out in another shape")
            if any(found.window.padding):
                needs.pad(found.window)
            if (choice.way in ("direct", "strips") and not choice.by_rows) or self._hosts(found) == name:
                needs.follow(found.window, self.needs[found.output])

    def _hosts(self, found: Form) -> str | None:
        """Return the source of a sum whose producer writes it where the sum reads it."""
        if self.plan.choices[found.node].way != "pairs":
            return None
        for name in reversed(found.sources):
            made = next((node for node in self.graph.nodes if node.output == name), None)
            alone = len(self.readers[name]) == 1 and found.sources.count(name) == 1 and name not in self.graph.outputs
            if made is not None and alone and self.plan.choices[made.name].way not in ("host", "pairs"):
                return name
        return None

    # --- places ---

    def _put(self, name: str, height: int, width: int) -> tuple[Buffer, Place]:
        """Give a tensor a place with rows of `width` cells."""
        tensor, needs = self.graph.tensors[name], self.needs[name]
        shape = map_shape(tensor.shape)
        reader = next((found for node in self.readers[name] if (found := self.forms[node.name]) is not None), None)
        lead = needs.lead(width)
        if reader is not None and self._hosts(reader) == name:
            slot = aligned(shape[2], self.step)
            place = Place(
                shape=shape, height=height, width=width, lead=lead, batch=self.batch, bits=tensor.bits,
                cell=slot * len(reader.sources), skip=slot * reader.sources.index(name),
            )  # fmt: skip
            made = (Buffer(name=f"{reader.node} operands", n_bytes=place.n_bytes), place)
            self.pairs[reader.node] = made
        else:
            narrow = name in self.graph.inputs and shape[2] < self.step // 2
            cell = shape[2] if narrow else aligned(shape[2], self.step)
            place = Place(
                shape=shape, height=height, width=width, lead=lead, batch=self.batch, bits=tensor.bits, cell=cell
            )
            made = (Buffer(name=name, n_bytes=place.n_bytes), place)
        self.plan.places[name] = made
        return made

    def _clear(self, name: str) -> None:
        """Clear the border of a tensor where windows read zeros."""
        (buffer, place), needs = self.plan.places[name], self.needs[name]
        node = self.makers.get(name, name)
        height, width, _ = place.shape
        row, cell = place.width * place.cell, place.cell
        first = place.lead * cell
        if place.lead:
            self.move(node, f"clear above {name}", 1, None, 0, (buffer, 0), 0, first)
        if needs.columns and place.width > width:
            n_rows = self.batch * place.height
            spot = (buffer, first + width * cell)
            self.move(node, f"clear beside {name}", n_rows, None, 0, spot, row, (place.width - width) * cell)
        if needs.rows and place.height > height:
            spot = (buffer, first + height * row)
            size = (place.height - height) * row
            self.move(node, f"clear below {name}", self.batch, None, 0, spot, place.image_bytes, size)

    # --- steps ---

    def _host(self, node: IntegerNode) -> None:
        name = node.output
        if isinstance(node, Reshape) and self._view(node):
            self.plan.places[name] = self.plan.places[node.sources[0]]
            return
        target = self._put(name, *self.needs[name].least())
        self._clear(name)
        sources = tuple(self.plan.places[source] for source in node.sources)
        draft = HostDraft(
            name=f"{node.name} on the host", node=node.name, operation=node, sources=sources, target=target
        )
        self.add(draft, target[0], *(buffer for buffer, _ in sources))

    def _view(self, node: Reshape) -> bool:
        """Return whether a reshaped tensor may stay where it is: all its readers take whole images."""
        ways = [self.plan.choices[reader.name].way for reader in self.readers[node.output]]
        return all(way in ("whole", "host") for way in ways)

    def _product(self, found: Form, choice: Choice) -> None:
        window = found.window
        if choice.way == "whole" or window is None:
            self._whole(found)
        elif choice.way == "pairs":
            self._pairs(found, window)
        elif choice.way == "patches":
            self._patches(found, window)
        else:
            self._windows(found, window, choice)

    def _whole(self, found: Form) -> None:
        """One window over all of an image: a row of A is an image as it lies."""
        buffer, place = self.plan.places[found.sources[0]]
        elements = np.arange(len(found.weight), dtype=np.int64)
        if found.window is not None:
            table = Window(
                in_shape=found.window.in_shape, kernel=found.window.kernel, stride=found.window.stride,
                padding=found.window.padding, dilation=found.window.dilation,
            ).indices()[0, 0]  # fmt: skip
            elements = table
        inside = elements >= 0
        offsets, weight = place.offsets()[elements[inside]], found.weight[inside]
        base = int(offsets.min()) // self.step * self.step
        spread = self.spread(offsets - base, weight)
        stride = place.image_bytes
        if spread is None or stride % self.step:
            size = int(np.prod(place.shape))
            copy = Buffer(name=f"{found.node} operands", n_bytes=aligned(size, self.step) * self.batch)
            self._gather(found.node, (buffer, place), copy, aligned(size, self.step))
            buffer, base, stride = copy, 0, aligned(size, self.step)
            spread = self.spread(elements[inside], weight)
            if spread is None:
                raise InvalidValueError(f"node '{found.node}': {self.no_zero()}")
        target, out = self._put(found.output, *self.needs[found.output].least())
        self._clear(found.output)
        job = Work(
            name=found.node, node=found.node, m=self.batch, a=(buffer, base), a_stride=stride,
            c=(target, out.at(0)), c_stride=out.image_bytes, operands=self.operands(found, spread),
            macs=found.macs * self.batch,
        )  # fmt: skip
        self.add(job, buffer, target)

    def _gather(self, node: str, source: tuple[Buffer, Place], copy: Buffer, image: int) -> None:
        """Copy the images of a batch so that their integers lie side by side."""
        buffer, place = source
        height, width, channels = place.shape
        row = place.width * place.cell
        move = Move(
            name=f"{node}: images side by side", node=node, counts=(self.batch, height, width),
            source_steps=(place.image_bytes, row, place.cell), target_steps=(image, width * channels, channels),
            source=(buffer, place.at(0)), target=(copy, 0), block=channels,
        )  # fmt: skip
        self.add(collapsed(move), buffer, copy)

    def _windows(self, found: Form, window: Window, choice: Choice) -> None:
        """Windows straight from the feature map, or from one in which each cell has a strip of the rows below it."""
        buffer, place = self.plan.places[found.sources[0]]
        (kh, kw), (dy, dx), (top, left) = window.kernel, window.dilation, window.padding[:2]
        if place.cell % self.step or place.skip % self.step:
            raise InvalidValueError(f"node '{found.node}': pixels do not lie at words of the bus")
        ky, kx, channel = (grid.ravel() for grid in np.indices((kh, kw, window.channels)))
        if choice.way == "strips":
            cells = place.last_window(window) + left + 1
            fat = place.replace(cell=kh * place.cell, lead=left, skip=0, base=0)
            strips = Buffer(name=f"{found.node} strips", n_bytes=cells * fat.cell)
            for row in range(kh):
                start = (buffer, place.at((row * dy - top) * place.width - left))
                what = f"{found.node}: strip {row + 1} of {kh}"
                spot = (strips, row * place.cell)
                self.move(found.node, what, cells, start, place.cell, spot, fat.cell, window.channels)
            buffer, place = strips, fat
            offsets, first = kx * dx * fat.cell + ky * (fat.cell // kh) + channel, -left
        else:
            offsets = (ky * dy * place.width + kx * dx) * place.cell + channel
            first = -top * place.width - left
        spread = self.spread(offsets, found.weight)
        if spread is None:
            raise InvalidValueError(f"node '{found.node}': {self.no_zero()}")
        self._slide(found, window, choice, (buffer, place), first, spread)

    def _slide(
        self,
        found: Form,
        window: Window,
        choice: Choice,
        source: tuple[Buffer, Place],
        first: int,
        spread: npt.NDArray[np.uint8],
    ) -> None:
        """Move a window from cell to cell: over the batch at once, or over one row of the output after the other."""
        buffer, place = source
        down, across = window.stride
        height, width = window.out_shape_hw
        operands = self.operands(found, spread)
        if choice.by_rows:
            target, out = self._put(found.output, *self.needs[found.output].least())
            starts = [
                (first + (image * place.height + row * down) * place.width, (image * out.height + row) * out.width)
                for image in range(self.batch)
                for row in range(height)
            ]
            m = width
        else:
            target, out = self._put(found.output, place.height // down, down * place.width // across)
            starts, m = [(first, 0)], out.last + 1
        for at, to in starts:
            job = Work(
                name=found.node, node=found.node, m=m, a=(buffer, place.at(at)), a_stride=across * place.cell,
                c=(target, out.at(to)), c_stride=out.cell, operands=operands,
                macs=found.macs * self.batch // len(starts),
            )  # fmt: skip
            self.add(job, buffer, target)
        self._clear(found.output)

    def _patches(self, found: Form, window: Window) -> None:
        """Copy what lies under each window into a row of its own."""
        buffer, place = self.plan.places[found.sources[0]]
        (kh, kw), (dy, dx), (top, left) = window.kernel, window.dilation, window.padding[:2]
        (down, across), (height, width) = window.stride, window.out_shape_hw
        target, out = self._put(found.output, *self.needs[found.output].least())
        slot, count = window.channels, out.last + 1
        cell = aligned(kh * kw * slot, self.step)
        patches = Buffer(name=f"{found.node} patches", n_bytes=count * cell)
        joined = kw if dx == 1 and slot == place.cell else 1
        for row, column in product(range(kh), range(0, kw, joined)):
            start = (buffer, place.at((row * dy - top) * place.width + column * dx - left))
            spot = (patches, (row * kw + column) * slot)
            what = f"{found.node}: row {row + 1} of {kh} of all windows"
            move = Move(
                name=what, node=found.node, counts=(self.batch, height, width),
                source_steps=(place.image_bytes, down * place.width * place.cell, across * place.cell),
                target_steps=(out.height * out.width * cell, out.width * cell, cell),
                source=start, target=spot, block=joined * slot,
            )  # fmt: skip
            if (down, across) == (1, 1) and (place.height, place.width) == (out.height, out.width):
                self.move(found.node, what, count, start, place.cell, spot, cell, joined * slot, move)
            else:
                self.add(collapsed(move), buffer, patches)
        self._rows(found, patches, cell, (target, out))

    def _pairs(self, found: Form, window: Window) -> None:
        """Put the pixels of all sources of a sum side by side."""
        if found.node in self.pairs:
            operands, like = self.pairs[found.node]
            height, width = like.height, like.width
        else:
            height, width = self.needs[found.output].least()
            operands = None
        target, out = self._put(found.output, height, width)
        slot = aligned(window.channels, self.step)
        cell, count = slot * len(found.sources), out.last + 1
        if operands is None:
            operands = Buffer(name=f"{found.node} operands", n_bytes=count * cell)
        for index, name in enumerate(found.sources):
            buffer, place = self.plan.places[name]
            if buffer is operands:
                continue
            what = f"{found.node}: {name} beside the others"
            spot, start = (operands, index * slot), (buffer, place.at(0))
            move = Move(
                name=what, node=found.node, counts=(self.batch, *window.out_shape_hw),
                source_steps=(place.image_bytes, place.width * place.cell, place.cell),
                target_steps=(out.height * out.width * cell, out.width * cell, cell),
                source=start, target=spot, block=window.channels,
            )  # fmt: skip
            if (place.height, place.width) == (height, width):
                self.move(found.node, what, count, start, place.cell, spot, cell, window.channels, move)
            else:
                self.add(collapsed(move), buffer, operands)
        offsets = (np.arange(len(found.sources))[:, np.newaxis] * slot + np.arange(window.channels)).ravel()
        spread = self.spread(offsets, found.weight)
        assert spread is not None, "a sum has weights of 0"
        job = Work(
            name=found.node, node=found.node, m=count, a=(operands, 0), a_stride=cell, c=(target, out.at(0)),
            c_stride=out.cell, operands=self.operands(found, spread), macs=found.macs * self.batch,
        )  # fmt: skip
        self.add(job, operands, target)
        self._clear(found.output)

    def _rows(self, found: Form, rows: Buffer, stride: int, target: tuple[Buffer, Place]) -> None:
        """One job over rows that lie there as they are."""
        buffer, out = target
        job = Work(
            name=found.node, node=found.node, m=out.last + 1, a=(rows, 0), a_stride=stride, c=(buffer, out.at(0)),
            c_stride=out.cell, operands=self.operands(found, found.weight.astype(np.uint8)),
            macs=found.macs * self.batch,
        )  # fmt: skip
        self.add(job, rows, buffer)
        self._clear(found.output)
