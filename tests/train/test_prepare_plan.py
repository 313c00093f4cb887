"""Plans: rules, TOML, and the errors for what a network or an estimator does not have."""

import re

import pytest
from torch import nn
from torch.nn.utils import prune

from tetrit.errors import InvalidValueError, UnknownNameError
from tetrit.train.qat import Plan, Rule, low_bit_layers, prepare
from tetrit.train.quantizers import quantizer


def network():
    return nn.Sequential(
        nn.Embedding(5, 4), nn.Linear(4, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)), nn.Linear(3, 2)
    )


def rules(*matches, **fields):
    return Plan(rules=tuple(Rule(match=match, weight="szt") for match in matches), **fields)


def quantised(plan, model=None):
    return list(low_bit_layers(prepare(model or network(), plan)))


def refused(text, kind=InvalidValueError):
    return pytest.raises(kind, match=f"^{re.escape(text)}$")


@pytest.mark.parametrize(
    ("plan", "names"),
    [
        (rules("*"), ["0", "1", "3.0", "4"]),
        (rules("3*"), ["3.0"]),
        (rules("[14]"), ["1", "4"]),
        (rules("*", keep_first=True), ["1", "3.0", "4"]),
        (rules("*", keep_first=True, keep_last=True), ["1", "3.0"]),
        (Plan(rules=(Rule(match="1"), Rule(match="?", weight="szt"))), ["0", "4"]),
    ],
)
def test_layers_that_a_plan_takes(plan, names):
    assert quantised(plan) == names


def test_the_first_rule_that_takes_a_layer_counts():
    plan = Plan(rules=(Rule(match="4", weight="ste"), Rule(match="*", weight={"name": "szt", "axis": 0})))
    layers = low_bit_layers(prepare(network(), plan))
    assert [layer.weight_quantizer.estimator.name for layer in layers.values()] == ["szt", "szt", "szt", "ste"]


TOML = """
[quantize]
keep_first = true
[[quantize.layer]]
match = "4"
weight = "float"
[[quantize.layer]]
match = "*"
weight = {name = "sr_ste", along = "input", inner = {name = "szt", axis = "output"}}
activation = {name = "ste_clipped", format = "int8", limit = 4.0}
"""


def test_toml_file_and_its_content_are_the_same_plan(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(TOML)
    plan = Plan.from_toml(path)
    weight = {"name": "sr_ste", "along": "input", "inner": {"name": "szt", "axis": "output"}}
    activation = {"name": "ste_clipped", "format": "int8", "limit": 4.0}
    layers = [{"match": "4", "weight": "float"}, {"match": "*", "weight": weight, "activation": activation}]
    content = {"keep_first": True, "layer": layers}
    assert plan == Plan.from_toml(content) == Plan.from_toml({"quantize": content})
    layers = low_bit_layers(prepare(network(), plan))
    assert list(layers) == ["1", "3.0"]
    e = layers["1"].weight_quantizer.estimator
    assert (e.along, e.inner.axis) == (1, 0)
    assert layers["1"].input_quantizer.estimator.limit == 4.0


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"layer": [{"match": "*"}]}, "plan, layer 1: needs `weight` or `activation`"),
        ({"layer": [{"weight": "szt"}]}, "plan, layer 1: `match` is missing"),
        ({"layer": {"match": "*"}}, "plan: `layer` must be a list of tables, got {'match': '*'}"),
        ({"layer": []}, "`rules` must have at least one rule, got none"),
        ({"layers": []}, "plan: unknown key 'layers'; did you mean 'layer'?"),
        (
            {"quantize": {"layer": []}, "keep_first": True},
            "plan: `keep_first` stands beside the table [quantize]; it must be in it",
        ),
        (
            {"quantize": {"quantize": {}, "layer": []}},
            "plan, [quantize]: unknown key 'quantize'; known: keep_first, keep_last, layer",
        ),
        ({"layer": [{"match": "*", "weight": {}}]}, "rule '*', `weight`: `name` of the estimator is missing"),
        (
            {"layer": [{"match": "*", "activation": {"axis": 0}}]},
            "rule '*', `activation`: `name` of the estimator is missing",
        ),
        ({"quantize": {"layer": [3]}}, "plan, [quantize], layer 1: must be a table, got 3"),
        (
            {"layer": [{"match": "*", "weigth": "szt"}]},
            "plan, layer 1: unknown key 'weigth'; did you mean 'weight'?",
        ),
        (
            {"layer": [{"match": "*", "weight": "stz"}]},
            "rule '*', `weight`: unknown estimator 'stz'; did you mean 'szt'?",
        ),
        (
            {"layer": [{"match": "*", "weight": {"name": "szt", "axes": 0}}]},
            "rule '*', `weight`: unknown parameter of 'szt' 'axes'; did you mean 'axis'?",
        ),
        (
            {"layer": [{"match": "*", "weight": {"name": "szt", "axis": "outputs"}}]},
            "rule '*', `weight`: unknown axis 'outputs'; did you mean 'output'?",
        ),
        (
            {"layer": [{"match": "*", "activation": {"name": "lsq", "axis": "output"}}]},
            "rule '*', `activation`: `axis` must be a number or left out, got 'output'",
        ),
        ({"layer": [{"match": "", "weight": "szt"}]}, "`match` must not be empty; use '*' for all layers"),
    ],
)
def test_wrong_toml(content, text):
    with refused(text):
        Plan.from_toml(content)


def test_wrong_kinds():
    with refused("`keep_first` must be True or False, got 1", TypeError):
        rules("*", keep_first=1)
    with refused("`rules` must hold Rule objects, got 'szt'", TypeError):
        Plan(rules=("szt",))
    rule = Rule(match="*", weight="szt")
    for wrong in (rule, None, "szt", {"match": "*"}, 3):
        with refused(f"`rules` must be a sequence of Rule objects, got {wrong!r}", TypeError):
            Plan(rules=wrong)
    assert Plan(rules=iter([rule])) == Plan(rules=[rule]) == Plan(rules=(rule,))
    for wrong in ([1], None, 3):
        with refused(f"`source` must be a path or a mapping, got {wrong!r}", TypeError):
            Plan.from_toml(wrong)
    with refused("rule '*', `weight` must be a name or a table, got 3", TypeError):
        Rule(match="*", weight=3)
    with refused("`match` must be a string, got 3", TypeError):
        Rule(match=3)
    with refused("rule '*', `weight`: `axis` must be an integer or None, got 0.5", TypeError):
        Rule(match="*", weight={"name": "szt", "axis": 0.5})
    with refused("`model` must be an nn.Module, got int", TypeError):
        prepare(3, rules("*"))
    with refused("`plan` must be a Plan, got dict", TypeError):
        prepare(network(), {})


def weight_norm_of_old(layer):
    with pytest.warns(FutureWarning, match="weight_norm"):
        nn.utils.weight_norm(layer)


class Own(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def with_others():
    return nn.ModuleDict(
        {
            "fc": nn.Linear(4, 4),
            "lstm": nn.LSTM(4, 4),
            "gru": nn.GRU(4, 4),
            "both": nn.Bilinear(2, 2, 2),
            "bag": nn.EmbeddingBag(3, 4),
            "lazy": nn.LazyLinear(3),
            "own": Own(2, 2),
            "normed": nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
            "norm": nn.LayerNorm(4),
            "block": nn.Sequential(nn.Linear(2, 2)),
        }
    )


@pytest.mark.parametrize(
    ("match", "text"),
    [
        (
            "lstm",
            "layer 'lstm' is a LSTM, which cannot be quantised; use tetrit.train.models.LSTM, whose projections are "
            "Linear layers",
        ),
        (
            "gr*",
            "layer 'gru' is a GRU, which cannot be quantised; write its projections as nn.Linear layers, as "
            "tetrit.train.models.LSTM does",
        ),
        ("both", "layer 'both' is a Bilinear, which cannot be quantised; write it with nn.Linear layers"),
        ("bag", "layer 'bag' is a EmbeddingBag, which cannot be quantised; use nn.Embedding and sum its rows"),
        (
            "lazy",
            "layer 'lazy' is a LazyLinear, which cannot be quantised; call the model once, so that the layer takes "
            "its shape",
        ),
        (
            "own",
            "layer 'own' is a Own, which cannot be quantised; it may have a forward pass of its own: use "
            "torch.nn.Linear itself",
        ),
        (
            "normed",
            "layer 'normed' is a ParametrizedLinear, which cannot be quantised; remove its parametrisations first",
        ),
        ("norm", "layer 'norm' is a LayerNorm, which cannot be quantised; it has no weight matrix"),
        (
            "block",
            "layer 'block' is a Sequential, which cannot be quantised; match the layers in it, for instance with "
            "'block.*'",
        ),
        ("head*", "rule 'head*' takes no layer; layers that can be quantised: 'fc', 'block.0'"),
    ],
)
def test_rules_that_take_no_layer(match, text):
    with refused(text):
        prepare(with_others(), rules(match))


@pytest.mark.parametrize(
    "hook",
    [
        lambda layer: prune.random_unstructured(layer, "weight", 0.5),
        lambda layer: nn.utils.spectral_norm(layer),
        weight_norm_of_old,
    ],
)
def test_weights_that_a_hook_computes(hook):
    model = network()
    hook(model[1])
    text = "layer '1': `weight` is computed by a hook (weight_norm, pruning); remove it first"
    for plan in (rules("*"), Plan(rules=(Rule(match="1", activation="ste"),))):
        with refused(text):
            prepare(model, plan)
    assert not low_bit_layers(model)
    assert quantised(rules("4"), model) == ["4"]


def test_attention_of_which_a_hook_computes_a_weight():
    model = nn.ModuleDict({"at": nn.MultiheadAttention(4, 2)})
    prune.random_unstructured(model["at"], "in_proj_weight", 0.5)
    text = "layer 'at': `in_proj_weight` is computed by a hook (weight_norm, pruning); remove it first"
    for match in ("*", "at.out_proj"):
        with refused(text):
            prepare(model, rules(match))


def test_star_skips_what_cannot_be_quantised_and_says_so():
    text = (
        "layers that cannot be quantised stay in float: 'lstm' (LSTM: use tetrit.train.models.LSTM, whose projections "
        "are Linear layers); 'gru' (GRU: write its projections as nn.Linear layers, as tetrit.train.models.LSTM does); "
        "'both' (Bilinear: write it with nn.Linear layers); 'bag' (EmbeddingBag: use nn.Embedding and sum its rows); "
        "'lazy' (LazyLinear: call the model once, so that the layer takes its shape); "
        "'own' (Own: it may have a forward pass of its own: use torch.nn.Linear itself); "
        "'normed' (ParametrizedLinear: remove its parametrisations first)"
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(text)}$"):
        assert quantised(rules("*"), with_others()) == ["fc", "block.0"]
    assert quantised(rules("fc"), with_others()) == ["fc"]


def test_a_rule_that_leaves_them_in_float_keeps_quiet():
    model = nn.ModuleDict({"fc": nn.Linear(4, 4), "lstm": nn.LSTM(4, 4), "gru": nn.GRU(4, 4)})
    quiet = Plan(rules=(Rule(match="lstm"), Rule(match="gru"), Rule(match="*", weight="szt")))
    assert quantised(quiet, model) == ["fc"]


def test_a_layer_whose_weight_the_user_quantises_is_not_one_of_them():
    model = nn.ModuleDict({"fc": nn.Linear(4, 4), "own": nn.Linear(4, 4)})
    nn.utils.parametrize.register_parametrization(model["own"], "weight", quantizer("szt"))
    assert quantised(rules("*"), model) == ["fc"]


def test_rules_without_effect():
    text = "rule '4' has no effect: an earlier rule, `keep_first` or `keep_last` takes '4'"
    with refused(text):
        prepare(network(), Plan(rules=(Rule(match="*", weight="szt"), Rule(match="4"))))
    with refused(text):
        prepare(network(), rules("4", keep_last=True))


def test_no_layers():
    with refused("`model` must have a layer that can be quantised, got none"):
        prepare(nn.ReLU(), rules("*"))
    with refused(
        "`model` must have a layer that can be quantised, got none: layer '1' is a Bilinear, which cannot be "
        "quantised; write it with nn.Linear layers"
    ):
        prepare(nn.Sequential(nn.ReLU(), nn.Bilinear(2, 2, 2), nn.GRU(2, 2)), rules("*"))
    with refused(
        "`model` must have a layer that can be quantised, got none: it is a EmbeddingBag, which cannot be quantised; "
        "use nn.Embedding and sum its rows"
    ):
        prepare(nn.EmbeddingBag(3, 4), rules("*"))


def test_embedding_takes_no_activation_estimator():
    text = "layer '0' takes indices, which no activation estimator can quantise; leave out `activation`"
    with refused(text):
        prepare(network(), Plan(rules=(Rule(match="0", weight="szt", activation="ste"),)))
    layers = low_bit_layers(prepare(network(), Plan(rules=(Rule(match="*", weight="szt", activation="ste"),))))
    assert [layer.input_quantizer is None for layer in layers.values()] == [True, False, False, False]


def test_a_failed_preparation_leaves_the_model():
    model = network()
    with pytest.raises(UnknownNameError):
        prepare(model, Plan(rules=(Rule(match="*", weight="szt"), Rule(match="1", weight="st"))))
    with pytest.raises(InvalidValueError):
        prepare(model, rules("1", "nothing"))
    assert not low_bit_layers(model)
