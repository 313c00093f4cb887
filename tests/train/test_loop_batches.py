"""Which items a step sees: against what a list and a loop would do, and in any order of asking."""

import math

import numpy as np
import pytest
import torch

from tetrit.train.data import ImageData, Images, TextData
from tetrit.train.loop.batches import ImageBatches, TextBatches, batches

CONTEXT = 5


@pytest.fixture
def images():
    def part(n, first):
        x = (np.arange(n, dtype=np.uint8) + first)[:, None, None, None] * np.ones((1, 2, 3, 4), np.uint8)
        return Images(x=x, y=np.arange(n, dtype=np.int64) % 3)

    data = ImageData(source="s", train=part(23, 0), validation=part(4, 100), test=part(7, 200), scale=0.5)
    return ImageBatches(data, seed=3, batch=4, device="cpu")


@pytest.fixture
def text():
    data = TextData.cut(bytes(range(200)), source="s", validation=0.1, test=0.2)
    return TextBatches(data, context=CONTEXT, seed=3, batch=4, device="cpu")


def test_a_pass_over_images_takes_each_at_most_once(images):
    assert images.per_epoch == 5
    seen = []
    for step in range(5):
        x, y = images.train(0, step)
        assert x.dtype == torch.float32
        assert (x.shape, y.shape) == ((4, 2, 3, 4), (4,))
        numbers = (x[:, 0, 0, 0] * 2).int()
        assert torch.equal(x, (numbers * 0.5)[:, None, None, None].expand_as(x))
        assert torch.equal(y, numbers % 3)
        seen += numbers.tolist()
    assert len(set(seen)) == 20
    assert set(seen) <= set(range(23))


@pytest.mark.parametrize("kind", ["images", "text"])
def test_a_step_has_its_batch_whenever_it_is_asked_for(kind, request):
    made = request.getfixturevalue(kind)
    places = [(phase, step) for phase in range(2) for step in range(2 * made.per_epoch)]
    forward = {place: made.train(*place) for place in places}
    for place in reversed(places):
        again = made.train(*place)
        assert all(torch.equal(a, b) for a, b in zip(again, forward[place], strict=True))
    different = {x.numpy().tobytes() for x, _ in forward.values()}
    assert len(different) == len(places)


def test_another_seed_is_another_order(images):
    other = ImageBatches(images.data, seed=4, batch=4, device="cpu")
    assert not torch.equal(images.train(0, 0)[0], other.train(0, 0)[0])


def test_a_pass_over_text_is_cut_from_one_place_on(text):
    offsets = set()
    for epoch in range(12):
        starts = []
        for step in range(text.per_epoch):
            x, y = text.train(0, epoch * text.per_epoch + step)
            for symbols, following in zip(x.tolist(), y.tolist(), strict=True):
                assert symbols == list(range(symbols[0], symbols[0] + CONTEXT))
                assert following == [symbol + 1 for symbol in symbols]
                starts.append(symbols[0])
        assert len(set(starts)) == len(starts)
        (offset,) = {start % CONTEXT for start in starts}
        offsets.add(offset)
        assert max(starts) + CONTEXT < len(text.data.train)
    assert len(offsets) > 2


@pytest.mark.parametrize(("part", "n"), [("validation", 20), ("test", 40)])
def test_an_evaluation_of_text_goes_once_through_it(text, part, n):
    symbols, following = (torch.cat(halves).flatten().tolist() for halves in zip(*text.evaluation(part), strict=True))
    whole = getattr(text.data, part).tolist()
    count = (n - 1) // CONTEXT * CONTEXT
    assert (symbols, following) == (whole[:count], whole[1 : count + 1])


@pytest.mark.parametrize(("part", "first", "n"), [("validation", 100, 4), ("test", 200, 7)])
def test_an_evaluation_of_images_goes_once_through_them(images, part, first, n):
    ((x, y),) = images.evaluation(part)
    assert (x[:, 1, 2, 3] * 2).tolist() == list(range(first, first + n))
    assert y.tolist() == [i % 3 for i in range(n)]


def test_examples(images, text):
    assert images.example[:, 0, 0, 0].tolist() == [0.0, 0.5]
    assert text.example.tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_figures_of_text():
    figures = TextBatches.metrics(math.log(8), 0.25)
    assert figures == {
        "loss": math.log(8),
        "accuracy": 0.25,
        "perplexity": pytest.approx(8),
        "bits_per_character": pytest.approx(3),
    }
    assert math.isfinite(TextBatches.metrics(1e6, 0.0)["perplexity"])


def test_the_kind_follows_the_data(images, text):
    assert isinstance(batches(images.data, context=None, seed=0, batch=2, device="cpu"), ImageBatches)
    assert isinstance(batches(text.data, context=3, seed=0, batch=2, device="cpu"), TextBatches)
