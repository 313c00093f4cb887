"""What a checkpoint holds of a layer: its codes, scales and surroundings, checked whoever makes them."""

__all__ = ["KINDS", "StoredLayer", "StoredWeight"]

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrit import checks, formats
from tetrit.errors import InvalidValueError

KINDS = (
    *("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("embedding", "attention"),
)
"""The types of layer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredWeight:
    """A quantised weight.

    Attributes
    ----------
    codes : ndarray of uint8 or uint16
        Of `format`, in the axes of PyTorch: (outputs, inputs, ...) but for transposed convolutions.
    scale : ndarray of float64
        Positive, broadcasting against `codes`.
    format : str
        A scalar format of `tetrit.formats`.
    """

    codes: NDArray[Any]
    scale: NDArray[np.float64]
    format: str

    def __post_init__(self) -> None:
        bits = formats.get(self.format).bits
        if self.codes.dtype not in (np.uint8, np.uint16) or (self.codes >= 2**bits).any():
            raise InvalidValueError(f"`codes` must be uint8 or uint16 codes of {self.format}")
        if not (np.isfinite(self.scale) & (self.scale > 0)).all():
            raise InvalidValueError("`scale` must be positive and finite")
        shape, fits = self.codes.shape, self.scale.ndim in (0, self.codes.ndim)
        if not fits or any(n not in (1, m) for n, m in zip(self.scale.shape, shape, strict=False)):
            raise InvalidValueError(f"`scale` of shape {self.scale.shape} does not fit codes of shape {shape}")

    @property
    def values(self) -> NDArray[Any]:
        """Real values, ``decode(codes) * scale``."""
        return np.asarray(formats.get(self.format).decode(self.codes) * self.scale)


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredLayer:
    """A layer.

    Attributes
    ----------
    name : str
        In the network, as PyTorch names it; the network itself, where it is a layer, is ``0``.
    kind : str
        ``linear``, ``conv1d`` .. ``conv3d``, ``conv_transpose1d`` .. ``3d``, ``embedding`` or ``attention``.
    weights : dict of str to StoredWeight or ndarray
        By parameter; an array of float where a weight was left alone.
    bias : ndarray of float64 or None
        In real units.
    in_format, in_scale : str and float, or None
        Format of the quantised input and real value of its unit; None where the input is float.
    first : bool
        Whether the layer takes the input of the network, as it is.
    follows : str or None
        Name of the layer whose output it takes, after at most a ReLU; None where that is not so plain.
    relu : bool or None
        Whether a ReLU follows it; None where that is not known.
    out_scale : float or None
        For the layer that gives the result of the network: the real value of a unit of an int16 output, calibrated.
    options : dict
        Strides, paddings and the like, of the kind.

    Raises
    ------
    TypeError, InvalidValueError
        If a field is of the wrong kind; a scale is not positive and finite, or a bias or float weight not finite; or
        the kind or the format is unknown. The message names the layer.
    """

    name: str
    kind: str
    weights: dict[str, StoredWeight | NDArray[Any]]
    bias: NDArray[np.float64] | None = None
    in_format: str | None = None
    in_scale: float | None = None
    first: bool = False
    follows: str | None = None
    relu: bool | None = None
    out_scale: float | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"the name of a layer must be a string, got {self.name!r}")
        try:
            self._check()
        except InvalidValueError as error:
            raise InvalidValueError(f"layer '{self.name}': {error}") from None
        except TypeError as error:
            raise TypeError(f"layer '{self.name}': {error}") from None

    def _check(self) -> None:
        checks.choice("kind", self.kind, KINDS)
        for name, weight in self.weights.items():
            if not isinstance(weight, StoredWeight):
                _check_floats(name, weight)
        if self.bias is not None:
            _check_floats("bias", self.bias)
        if self.in_format is not None:
            formats.get(self.in_format)
        for name in ("in_scale", "out_scale"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, checks.real(name, value, minimum=0.0, exclusive=True))
        if not isinstance(self.first, bool):
            raise TypeError(f"`first` must be True or False, got {self.first!r}")
        if not (self.relu is None or isinstance(self.relu, bool)):
            raise TypeError(f"`relu` must be True, False or None, got {self.relu!r}")
        if not (self.follows is None or isinstance(self.follows, str)):
            raise TypeError(f"`follows` must be a string or None, got {self.follows!r}")
        if not isinstance(self.options, dict):
            raise TypeError(f"`options` must be a dict, got {self.options!r}")


def _check_floats(name: str, array: Any) -> None:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        kind = array.dtype.name if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"`{name}` must be an array of floats, got {kind}")
    checks.finite(name, array)
