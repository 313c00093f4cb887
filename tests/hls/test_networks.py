"""Networks: their parameters and products are the published ones."""

import numpy as np
import pytest

from tetrit.errors import UnknownNameError
from tetrit.hls import networks
from tetrit.hls.networks.random_wiring import watts_strogatz


def parameters(graph):
    """Count weights, biases, and the scales and shifts of norms; means, variances and scalars are not learned."""
    learned = (v for name, v in graph.constants.items() if not name.endswith((".mean", ".variance")))
    return sum(v.size for v in learned if v.dtype == np.float32 and v.ndim)


# exact counts: torchvision's documentation of its weights ("num_params"), PyTorch's DCGAN example, the model files of
# BVLC GoogLeNet (without auxiliary heads), DARTS (without them) and Keras NASNet (trainable)
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("alexnet", 61_100_840),
        ("vgg16", 138_357_544),
        ("resnet18", 11_689_512),
        ("resnet50", 25_557_032),
        ("googlenet", 6_998_552),
        ("squeezenet1_1", 1_235_496),
        ("densenet121", 7_978_856),
        ("mobilenet_v2", 3_504_872),
        ("efficientnet_b0", 5_288_548),
        ("dcgan_generator", 3_576_704),
        ("darts_imagenet", 4_718_752),
        ("nasnet_a_mobile", 5_289_978),
    ],
)
def test_parameters_are_the_published_ones(name, count):
    assert parameters(networks.get(name)) == count


# rounded figures that the papers print, in millions and in 10^9 multiply-adds: RandWire-WS small 5.6 M and 583 M (the
# mean of its draws), NASNet-A large 88.9 M and 23.8 G, mobile 5.3 M and 564 M, MobileNetV2 300 M, EfficientNet-B0 5.3 M
# and 0.39 G, ResNet-18 1.8 G, FCN-8s 134 M; from torchvision's documentation VGG-16, DenseNet-121, ResNet-50 (stride in
# the 3 x 3) and the parameters of MobileNetV2; BERT-base's layers from their widths, 7,087,872 each
@pytest.mark.parametrize(
    ("name", "millions", "giga_macs", "tolerance"),
    [
        ("nasnet_a_large", 88.9, 23.8, 0.005),
        ("nasnet_a_mobile", 5.3, 0.564, 0.005),
        ("mobilenet_v2", 3.5, 0.300, 0.01),
        ("efficientnet_b0", 5.3, 0.39, 0.02),
        ("resnet18", 11.7, 1.8, 0.02),
        ("resnet50", 25.6, 4.1, 0.01),
        ("vgg16", 138, 15.5, 0.01),
        ("densenet121", 8.0, 2.83, 0.01),
        ("fcn8s", 134, None, 0.005),
        ("bert_base", 12 * 7.087872, None, 1e-6),
        ("randwire_small", 5.6, 0.583, 0.04),
    ],
)
def test_sizes_are_those_that_the_papers_print(name, millions, giga_macs, tolerance):
    graph = networks.get(name)
    assert parameters(graph) == pytest.approx(1e6 * millions, rel=tolerance)
    if giga_macs is not None:
        assert graph.macs == pytest.approx(1e9 * giga_macs, rel=tolerance)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("unet", (1, 2, 388, 388)),
        ("fcn8s", (1, 21, 500, 500)),
        ("dcgan_generator", (1, 3, 64, 64)),
        ("bert_base", (1, 512, 768)),
    ],
)
def test_outputs_have_the_published_shapes(name, shape):
    graph = networks.get(name)
    assert [graph.values[output].shape for output in graph.outputs] == [shape]


def test_unet_has_23_convolutions():
    ops = [node.op for node in networks.get("unet").nodes]
    assert ops.count("Conv") + ops.count("ConvTranspose") == 23


@pytest.mark.parametrize("name", ["darts_imagenet", "nasnet_a_mobile", "randwire_small"])
def test_searched_networks_end_in_one_output_and_use_every_node(name):
    graph = networks.get(name)
    used = {source for node in graph.nodes for source in node.inputs} | set(graph.outputs)
    assert all(set(node.outputs) & used for node in graph.nodes)


def test_rewiring_keeps_the_number_of_edges_and_the_ring_without_it():
    rng = np.random.default_rng(3)
    ring = watts_strogatz(8, 4, 0.0, rng)
    assert ring == sorted({tuple(sorted((n, (n + hop) % 8))) for n in range(8) for hop in (1, 2)})
    rewired = watts_strogatz(32, 4, 0.75, rng)
    assert len(set(rewired)) == 64
    assert all(low < high for low, high in rewired)
    assert rewired != watts_strogatz(32, 4, 0.75, rng)


def test_names_and_one_that_is_unknown():
    assert set(networks.names()) >= {"resnet50", "unet", "nasnet_a_large"}
    assert networks.get("alexnet") is networks.get("alexnet")
    with pytest.raises(UnknownNameError, match=r"^unknown network 'resnet51'; did you mean 'resnet50'\?"):
        networks.get("resnet51")
