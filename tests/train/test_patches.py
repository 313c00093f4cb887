"""The vectors of a convolution are those that `torch.nn.functional.unfold` gives, in one piece and in many."""

import pytest
import torch
from torch.nn import functional

from tetrit.train.patches import Patches, as_matrix

SHAPES = {
    "square": ((13, 13), (3, 3), (1, 1), (1, 1)),
    "strides and gaps": ((15, 11), (2, 3), (3, 2), (2, 4)),
    "one place": ((4, 5), (4, 5), (1, 1), (1, 1)),
    "rests": ((10, 10), (3, 3), (4, 4), (1, 1)),
}


@pytest.mark.parametrize("name", list(SHAPES))
def test_patches_are_what_unfolding_gives(name):
    sizes, kernel, stride, dilation = SHAPES[name]
    images = torch.randn(5, 3, *sizes)
    found = Patches(images=images, kernel=kernel, stride=stride, dilation=dilation)
    wanted = functional.unfold(images, kernel, stride=stride, dilation=dilation).mT.flatten(0, 1)
    assert len(found) == len(wanted) and torch.equal(as_matrix(found), wanted)


@pytest.mark.parametrize("most", [1, 7, 40, 100, 10_000])
@pytest.mark.parametrize("name", list(SHAPES))
def test_pieces_are_the_whole(name, most):
    sizes, kernel, stride, dilation = SHAPES[name]
    found = Patches(images=torch.randn(5, 3, *sizes), kernel=kernel, stride=stride, dilation=dilation)
    pieces = list(found.split(most))
    assert all(len(piece) <= max(most, found.places[1]) for piece in pieces)
    assert torch.equal(torch.cat([piece.matrix() for piece in pieces]), found.matrix())


def test_sequences_have_patches():
    x = torch.randn(2, 3, 50)
    found = Patches(images=x, kernel=(4,), stride=(3,), dilation=(2,))
    assert torch.equal(found.matrix(), x.unfold(2, 7, 3)[..., ::2].transpose(1, 2).flatten(2).flatten(0, 1))
    assert [len(piece) for piece in found.split(4)] == [4, 4, 4, 3] * 2


def test_no_images_have_no_patches():
    found = Patches(images=torch.zeros(0, 3, 5, 5), kernel=(3, 3), stride=(1, 1), dilation=(1, 1))
    assert found.matrix().shape == (0, 27) and [len(piece) for piece in found.split(4)] == [0]


def test_gradients_go_through():
    images = torch.randn(2, 3, 6, 7, dtype=torch.float64, requires_grad=True)
    given = torch.randn(2 * 4 * 5, 27, dtype=torch.float64)
    found = Patches(images=images, kernel=(3, 3), stride=(1, 1), dilation=(1, 1)).matrix()
    wanted = functional.unfold(images, 3).mT.flatten(0, 1)
    assert torch.allclose(*(torch.autograd.grad(y, images, given)[0] for y in (found, wanted)))
