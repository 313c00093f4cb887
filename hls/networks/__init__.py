"""Published networks as graphs, from their definitions; weights are zeros that take no memory."""

__all__ = ["get", "names"]

import importlib
from functools import cache

from tetrit import checks
from tetrit.hls.graph import Graph

_MODULES = {
    "plain": ("alexnet", "dcgan_generator", "vgg16"),
    "residual": ("efficientnet_b0", "mobilenet_v2", "resnet18", "resnet50"),
    "branching": ("densenet121", "googlenet", "squeezenet1_1"),
    "segmentation": ("fcn8s", "unet"),
    "encoder": ("bert_base",),
    "searched": ("darts_imagenet", "nasnet_a_large", "nasnet_a_mobile"),
    "random_wiring": ("randwire_small",),
    "transformers": ("transformer_7b_decode", "transformer_7b_prefill", "vit_s"),
}
"""For each module of this package the functions that make a graph, which are the networks' names."""

_HOME = {name: module for module, made in _MODULES.items() for name in made}


def names() -> tuple[str, ...]:
    """Return the names of all networks.

    Examples
    --------
    >>> "resnet18" in names()
    True
    """
    return tuple(sorted(_HOME))


@cache
def get(name: str) -> Graph:
    """Return a network, batch 1, at the size of input of its publication.

    Parameters
    ----------
    name : str
        One of `names()`.

    Raises
    ------
    UnknownNameError
        If there is no such network.

    Examples
    --------
    >>> get("resnet18").values["image"].shape
    (1, 3, 224, 224)
    """
    known = checks.choice("network", name, names())
    module = importlib.import_module(f"tetrit.hls.networks.{_HOME[known]}")
    graph = getattr(module, known)()
    assert isinstance(graph, Graph)
    return graph
