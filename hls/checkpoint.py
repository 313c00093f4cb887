"""Checkpoints: the authority for the file in which a trained network leaves PyTorch; nothing here needs torch.

One safetensors file. Its tensors are codes, scales, biases and what else the network has; its metadata has one entry,
``tetrit``, a JSON text ``{"sha256": ..., "content": ...}`` that describes every layer and has the SHA-256 of every
tensor. Codes are stored plainly, one uint8 or uint16 each, so that any reader of safetensors can use them; pack them
with `tetrit.formats.pack` where space counts.
"""

__all__ = ["SCHEMA", "Checkpoint", "StoredLayer", "StoredWeight", "read_checkpoint", "write_checkpoint"]

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit.errors import InvalidValueError, TetritError, ToolError
from tetrit.files import write_atomic
from tetrit.hls.stored import StoredLayer, StoredWeight
from tetrit.sim import QuantizedLinear

SCHEMA = 1
"""Version of the layout; readers refuse a newer one."""


_PLAIN = ("name", "kind", "in_format", "in_scale", "first", "follows", "relu", "out_scale", "options")
"""Fields of a layer that the JSON has as they are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A trained network outside of PyTorch.

    Attributes
    ----------
    layers : tuple of StoredLayer
        In the order of the network's construction.
    other : dict of str to ndarray
        All other parameters and buffers, by their names in the state dict.
    tetrit : str
        Version that wrote it.
    """

    layers: tuple[StoredLayer, ...]
    other: dict[str, NDArray[Any]] = field(default_factory=dict)
    tetrit: str = ""

    def linear_network(self) -> list[QuantizedLinear]:
        """Return the layers that `compile_network` takes, of a network that is a chain of linear layers.

        Hidden layers give the format and unit that the next one takes; the last one gives int16 in its `out_scale`.

        Raises
        ------
        InvalidValueError
            If the network is no such chain, or a layer has float weights or inputs; the message names the layer.
        """
        chain = self._chain()
        result = []
        for layer, following in zip(chain, [*chain[1:], None], strict=True):
            weight = layer.weights.get("weight")
            if not isinstance(weight, StoredWeight):
                raise InvalidValueError(f"layer '{layer.name}' has float weights: quantise it")
            n_out = len(weight.codes)
            if weight.scale.size != 1 and weight.scale.shape != (n_out, 1):
                raise InvalidValueError(
                    f"layer '{layer.name}' must have one weight scale, or one for each output, "
                    f"got scales of shape {weight.scale.shape}"
                )
            (in_format, in_scale), out = _input(layer), ("int16", layer.out_scale)
            out_format, out_scale = out if following is None else _input(following)
            if out_scale is None:
                raise InvalidValueError(
                    f"layer '{layer.name}' lacks the scale of its output: export the model with an `example`"
                )
            result.append(
                QuantizedLinear(
                    name=layer.name,
                    weight=np.ascontiguousarray(weight.codes.T),
                    weight_format=weight.format,
                    weight_scale=np.broadcast_to(weight.scale.reshape(-1), (n_out,)).astype(np.float64),
                    bias=np.zeros(n_out) if layer.bias is None else layer.bias,
                    in_format=in_format,
                    in_scale=in_scale,
                    out_format=out_format,
                    out_scale=out_scale,
                    relu=bool(layer.relu),
                )
            )
        return result

    def _chain(self) -> list[StoredLayer]:
        for layer in self.layers:
            if layer.kind != "linear":
                raise InvalidValueError(
                    f"layer '{layer.name}' is a {layer.kind}: only linear layers make a linear network"
                )
        by_source = {layer.follows: layer for layer in self.layers if layer.follows is not None}
        firsts = [layer for layer in self.layers if layer.first]
        if len(firsts) != 1:
            raise InvalidValueError(
                f"the network must have one layer that takes its input, as it is, before all others, got {len(firsts)}"
            )
        chain = firsts
        while chain[-1].name in by_source and len(chain) < len(self.layers):
            chain.append(by_source[chain[-1].name])
        missing = [layer.name for layer in self.layers if layer not in chain]
        if missing:
            raise InvalidValueError(
                f"layer '{missing[0]}' does not plainly follow another: the network must be a chain of linear layers "
                "with nothing but ReLU between them"
            )
        unknown = [layer.name for layer in chain if layer.relu is None]
        if unknown:
            raise InvalidValueError(f"what follows layer '{unknown[0]}' is not known: it may be no ReLU")
        return chain


def _input(layer: StoredLayer) -> tuple[str, float]:
    if layer.in_format is None or layer.in_scale is None:
        raise InvalidValueError(f"layer '{layer.name}' takes float inputs: give it an activation estimator")
    return layer.in_format, layer.in_scale


def write_checkpoint(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> None:
    """Write a checkpoint; a file of that name is replaced at once, when all is written, or not at all.

    Parameters
    ----------
    checkpoint : Checkpoint
    path : path
        Usually ending in ``.safetensors``. The same checkpoint gives the same bytes.

    Raises
    ------
    InvalidValueError
        If the file cannot be written, or what is there is no regular file.
    ToolError
        If safetensors is not installed.
    """
    target = _file(path)
    tensors: dict[str, NDArray[Any]] = {}
    known: dict[int, str] = {}

    def put(name: str, array: NDArray[Any]) -> str:
        if id(array) in known:  # tied weights are one array
            return known[id(array)]
        known[id(array)] = name
        tensors[name] = np.ascontiguousarray(array).reshape(array.shape)
        return name

    layers = []
    for layer in checkpoint.layers:
        prefix = f"layers/{layer.name}"
        entry = {name: getattr(layer, name) for name in _PLAIN}
        entry["bias"] = None if layer.bias is None else put(f"{prefix}/bias", layer.bias)
        entry["weights"] = {}
        for name, weight in layer.weights.items():
            if isinstance(weight, StoredWeight):
                entry["weights"][name] = {
                    "format": weight.format,
                    "codes": put(f"{prefix}/{name}/codes", weight.codes),
                    "scale": put(f"{prefix}/{name}/scale", weight.scale),
                }
            else:
                entry["weights"][name] = {"format": None, "values": put(f"{prefix}/{name}", weight)}
        layers.append(entry)
    other = {name: put(f"other/{name}", array) for name, array in checkpoint.other.items()}
    described = {
        name: {"shape": list(array.shape), "dtype": array.dtype.name, "sha256": _tensor_digest(array)}
        for name, array in tensors.items()
    }
    content = {
        "schema": SCHEMA,
        "tetrit": checkpoint.tetrit,
        "layers": layers,
        "other": other,
        "tensors": described,
    }
    header = json.dumps({"sha256": _digest(content), "content": content}, sort_keys=True)
    content = _safetensors("numpy").save(tensors, {"tetrit": header})
    write_atomic(target, content, what="checkpoint", mark=str(os.getpid()), parents=False)


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint and check it: every digest, every reference, every code, every field.

    Parameters
    ----------
    path : path
        What `tetrit.train.export` or `write_checkpoint` wrote.

    Returns
    -------
    Checkpoint

    Raises
    ------
    InvalidValueError
        If the file cannot be read, is truncated, has no description, is of a newer schema, or has been changed; the
        message names it and says which.
    ToolError
        If safetensors is not installed.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from tetrit.hls.checkpoint import Checkpoint, StoredLayer, StoredWeight, read_checkpoint, write_checkpoint
    >>> weight = StoredWeight(codes=np.array([[1, 3, 0]], np.uint8), scale=np.array([[0.5]]), format="szt")
    >>> layer = StoredLayer(name="fc", kind="linear", weights={"weight": weight}, first=True, relu=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_checkpoint(Checkpoint(layers=(layer,)), Path(folder) / "net.safetensors")
    ...     found = read_checkpoint(Path(folder) / "net.safetensors")
    >>> found.layers[0].weights["weight"].values
    array([[ 0.5, -0.5,  0. ]])
    """
    path = _file(path)
    header, tensors = _load(path)
    content = _content(path, header)
    try:
        described = content["tensors"]
        if set(described) != set(tensors):
            odd = sorted(set(described) ^ set(tensors))[0]
            raise InvalidValueError(f"tensor '{odd}' is only in the {'description' if odd in described else 'file'}")
        for name, array in tensors.items():
            entry = described[name]
            stated = entry["dtype"], entry["shape"], entry["sha256"]
            if (array.dtype.name, list(array.shape), _tensor_digest(array)) != stated:
                raise InvalidValueError(f"tensor '{name}' is not the one that was written: its SHA-256 differs")
        if not isinstance(content["layers"], list):
            raise TypeError(f"`layers` must be a list, got {type(content['layers']).__name__}")
        if not isinstance(content["tetrit"], str):
            raise TypeError(f"`tetrit` must be a string, got {content['tetrit']!r}")
        return Checkpoint(
            layers=tuple(_layer(entry, tensors) for entry in content["layers"]),
            other={name: tensors[key] for name, key in content["other"].items()},
            tetrit=content["tetrit"],
        )
    except TetritError as error:
        raise InvalidValueError(f"checkpoint '{path}': {error}") from None
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise InvalidValueError(f"checkpoint '{path}': its description is not valid: {error!r}") from None


def _layer(entry: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> StoredLayer:
    weights: dict[str, StoredWeight | NDArray[Any]] = {}
    for name, weight in entry["weights"].items():
        if weight["format"] is None:
            weights[name] = tensors[weight["values"]]
        else:
            weights[name] = StoredWeight(
                codes=tensors[weight["codes"]], scale=tensors[weight["scale"]], format=weight["format"]
            )
    bias = None if entry["bias"] is None else tensors[entry["bias"]]
    return StoredLayer(weights=weights, bias=bias, **{name: entry[name] for name in _PLAIN})


def _load(path: Path) -> tuple[str | None, dict[str, NDArray[Any]]]:
    """Return the description's text and the tensors."""
    library = _safetensors("")
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # opening a pipe would wait for a writer
            raise InvalidValueError(f"cannot read checkpoint '{path}': it is no regular file")
        with path.open("rb"):
            pass  # safetensors has less clear errors
        with library.safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            return (file.metadata() or {}).get("tetrit"), {name: file.get_tensor(name) for name in names}
    except OSError as error:
        raise InvalidValueError(f"cannot read checkpoint '{path}': {error.strerror or error}") from None
    except library.SafetensorError as error:
        raise InvalidValueError(f"checkpoint '{path}' is truncated or no safetensors file: {error}") from None
    except (TypeError, AttributeError) as error:  # a dtype that numpy lacks
        raise InvalidValueError(f"checkpoint '{path}' has a tensor that numpy cannot hold: {error}") from None


def _content(path: Path, header: str | None) -> dict[str, Any]:
    """Return the description, of a schema that is known, as it was written."""
    if header is None:
        raise InvalidValueError(f"checkpoint '{path}' has no description: its metadata lack the entry 'tetrit'")
    try:
        table = json.loads(header)
        content: dict[str, Any] = table["content"]
        schema, digest = content["schema"], table["sha256"]
        found = _digest(content)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidValueError(f"checkpoint '{path}': its description is not valid JSON of tetrit") from None
    if type(schema) is not int or schema < 1:
        raise InvalidValueError(f"checkpoint '{path}': its schema must be a positive integer, got {schema!r}")
    if schema > SCHEMA:
        raise InvalidValueError(
            f"checkpoint '{path}' has schema {schema}, this version reads schema {SCHEMA}: update tetrit"
        )
    if found != digest:
        raise InvalidValueError(f"checkpoint '{path}': its description is not the one that was written")
    return content


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _tensor_digest(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _safetensors(part: str) -> Any:
    try:
        return import_module(f"safetensors.{part}" if part else "safetensors")
    except ModuleNotFoundError:
        raise ToolError("checkpoints need safetensors: pip install 'tetrit[train]'") from None


def _file(path: str | os.PathLike[str]) -> Path:
    """Return a path that names something in a folder."""
    if not Path(path).name or "\0" in str(path):
        raise InvalidValueError(f"`path` must name a file, got {os.fspath(path)!r}")
    return Path(path)
