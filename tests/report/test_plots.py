"""The figures: they show the report's numbers, nothing else changes them, and odd names do not break them."""

import math
import re
import struct
import xml.etree.ElementTree as ElementTree
import zlib

import matplotlib
import pytest

from tetrit.report import canonical, plots, style
from tetrit.report.figures import costs, network, silicon

NAMES = [
    "accuracy", "training", "weight_codes", "layers", "roofline", "energy", "energy_map", "area", "area_map",
    "szt_vs_ternary", "verify",
]  # fmt: skip


@pytest.fixture
def data(sample):
    return canonical.plain(sample)


@pytest.fixture(scope="module")
def drawn(unchanged):
    """The figures of the sample."""
    return plots.draw(canonical.plain(unchanged))


@pytest.fixture(scope="module")
def themed():
    with style.themed():
        yield


def widths(axes):
    return [bar.get_width() for bar in axes.patches]


def texts(drawn):
    return [text.get_text() for axes in drawn.axes for text in axes.texts]


def png_chunks(data):
    place = 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        place += 12 + length


def test_every_figure_is_drawn_and_says_its_origin(drawn):
    assert list(drawn) == NAMES
    for name, plot in drawn.items():
        assert plot.name == name
        assert plot.title and plot.alt
        assert plot.origin
    assert drawn["energy"].origin == "synthesised and modelled"
    assert drawn["szt_vs_ternary"].origin == "synthesised"
    assert drawn["layers"].origin == "modelled; equal to the RTL's cycles in 4 of 4 test benches (48 cases)"


def test_figures_of_steps_that_were_not_run_are_left_out(data):
    for block in ("verify", "synthesis", "szt_vs_ternary", "roofline", "area_mm2", "energy_uj", "energy_per_image_nj"):
        del data[block]
    for layer in data["layers"]:
        del layer["energy_pj"], layer["breakdown"]
    data["training"] = {"epochs": 0, "history": [], "weight_codes": {}}
    drawn = plots.draw(data)
    assert list(drawn) == ["accuracy", "layers"]
    assert drawn["layers"].origin == "modelled; not compared with the RTL in this run"


def test_equal_reports_give_equal_bytes_and_other_ones_do_not(data, drawn):
    assert plots.draw(data) == drawn
    data["layers"][0]["cycles"] += 5000
    changed = plots.draw(data)
    assert [name for name in NAMES if changed[name].png != drawn[name].png] == ["layers"]
    assert [name for name in NAMES if changed[name].svg != drawn[name].svg] == ["layers"]


def test_settings_of_the_user_change_nothing_and_are_left_alone(data, drawn):
    settings = {
        "font.size": 30,
        "axes.facecolor": "red",
        "svg.hashsalt": "other",
        "figure.dpi": 17,
        "axes.grid": False,
        "text.color": "pink",
    }
    with matplotlib.rc_context(settings):
        assert plots.draw(data) == drawn
        assert {key: matplotlib.rcParams[key] for key in settings} == settings


def test_png_has_pixels_and_neither_date_nor_version(drawn):
    for plot in drawn.values():
        chunks = list(png_chunks(plot.png))
        assert {kind for kind, _ in chunks} == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}, plot.name
        width, height = struct.unpack(">II", chunks[0][1][:8])
        assert width == 1000
        pixels = zlib.decompress(b"".join(content for kind, content in chunks if kind == b"IDAT"))
        assert len(pixels) == height * (4 * width + 1)
        assert len(set(pixels)) > 50, plot.name


def test_svg_is_well_formed_with_own_ids_and_the_page_s_colours(drawn):
    seen = set()
    for name, plot in drawn.items():
        root = ElementTree.fromstring(plot.svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "width" not in root.attrib and root.attrib["viewBox"].startswith("0 0 360 ")
        ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
        assert all(text.startswith(f"{name}-") for text in ids)
        assert not seen & set(ids)
        assert len(ids) == len(set(ids))
        seen |= set(ids)
        used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', plot.svg))
        assert {one or other for one, other in used} <= set(ids)
        assert "var(--surface)" in plot.svg
        assert ("var(--muted)" if name.endswith("_map") else "var(--ink)") in plot.svg
        for colour in (style.INK, style.MUTED, style.GRID, style.SURFACE):
            assert colour not in plot.svg
        assert not re.search(r"<(style|metadata|script|image|text|!)", plot.svg)


@pytest.mark.usefixtures("themed")
def test_layers_shows_cycles_ideal_and_utilisation(data):
    data["layers"][1]["cycles"] = 23_456
    upper, lower = costs.layers(data).axes
    assert widths(upper) == [
        width for layer in data["layers"] for width in (layer["ideal_cycles"], layer["cycles"] - layer["ideal_cycles"])
    ]
    assert widths(lower) == [100 * layer["utilization"] for layer in data["layers"]]
    assert "23,456 (57 %)" in [text.get_text() for text in upper.texts]
    assert upper.get_xlim()[0] == lower.get_xlim()[0] == 0


@pytest.mark.usefixtures("themed")
@pytest.mark.parametrize("n_components", [1, 7, 8, 9, 30])
def test_energy_bars_and_stacks_have_the_totals(data, n_components):
    for index, layer in enumerate(data["layers"]):
        layer["breakdown"] = {f"part {part}": 1e6 * (part + 1) * (index + 1) for part in range(n_components)}
    total = {
        f"part {part}": math.fsum(layer["breakdown"][f"part {part}"] * 1e-6 for layer in data["layers"])
        for part in range(n_components)
    }
    data["energy_uj"] = {
        "total": math.fsum(total.values()),
        "breakdown": total,
        "sources": dict.fromkeys(total, "modelled"),
    }
    upper, lower = costs.energy(data).axes
    factor = 1e-3 if "mJ" in upper.get_title(loc="left") else 1.0
    assert sum(widths(upper)) == pytest.approx(factor * data["energy_uj"]["total"])
    factor = 1e-3 if "mJ" in lower.get_title(loc="left") else 1.0
    assert sum(widths(lower)) == pytest.approx(factor * data["energy_uj"]["total"])
    assert len(widths(upper)) == min(n_components, len(style.PALETTE))
    assert len({bar.get_facecolor() for bar in upper.patches}) == len(widths(upper))
    assert [bar.get_facecolor() for bar in lower.patches] == [bar.get_facecolor() for bar in upper.patches] * len(
        data["layers"]
    )


@pytest.mark.usefixtures("themed")
def test_accuracy_shows_means_and_seeds_and_says_where_the_axis_starts(data):
    drawn = network.accuracy(data)
    (axes,) = drawn.axes
    means = [points.get_offsets()[0, 0] for points in axes.collections[::2]]
    measured = data["accuracy"]
    expected = [
        measured["float"],
        measured["quantized"],
        measured["machine"],
        *(entry["accuracy"] for entry in measured["by_estimator"]),
    ]
    assert means == pytest.approx([100 * value for value in expected])
    assert [len(points.get_offsets()) for points in axes.collections[1::2]] == [3] * len(expected)
    assert texts(drawn) == [f"{100 * value:.2f}" for value in expected]
    assert f"axis starts at {axes.get_xlim()[0]:.1f}" in drawn.get_supxlabel()


@pytest.mark.usefixtures("themed")
def test_training_draws_one_line_per_key_and_seed(data):
    upper, lower = network.training(data).axes
    assert len(upper.lines) == 3
    assert len(lower.lines) == 6
    first = [entry["loss"] for entry in data["training"]["history"] if entry["seed"] == 0]
    assert list(upper.lines[0].get_ydata()) == first
    assert len({(line.get_color(), line.get_linestyle()) for line in lower.lines}) == 2


@pytest.mark.usefixtures("themed")
def test_weight_codes_keep_the_two_zeros_apart(data):
    (axes,) = network.weight_codes(data).axes
    shares = data["training"]["weight_codes"]
    assert widths(axes) == pytest.approx(
        [100 * shares[name][code] for name in ("fc1", "fc2", "fc3") for code in ("-1", "-0", "+0", "+1")]
    )
    assert len({bar.get_facecolor() for bar in axes.patches}) == 4


@pytest.mark.usefixtures("themed")
def test_roofline_has_every_layer_below_its_roof(data):
    drawn = costs.roofline(data)
    (axes,) = drawn.axes
    roof = data["roofline"]
    x, y = axes.lines[0].get_data()
    assert y == pytest.approx(
        [min(roof["peak_macs_per_cycle"], roof["bandwidth_bytes_per_cycle"] * value) for value in x]
    )
    (points,) = [c for c in axes.collections if len(c.get_offsets()) == 3]
    assert points.get_offsets().tolist() == [
        [p["intensity_macs_per_byte"], p["macs_per_cycle"]] for p in roof["points"]
    ]
    assert {"fc1", "fc2", "fc3"} <= set(texts(drawn))


@pytest.mark.usefixtures("themed")
def test_names_on_the_roofline_never_overlap(data):
    data["roofline"]["points"] = [
        {"name": f"layer {i}", "intensity_macs_per_byte": 4 + 0.02 * i, "macs_per_cycle": 100 + 3 * i}
        for i in range(20)
    ]
    drawn = costs.roofline(data)
    drawn.draw_without_rendering()
    boxes = [text.get_window_extent() for text in drawn.axes[0].texts if text.get_text().startswith("layer")]
    assert len(boxes) >= 8
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


@pytest.fixture
def deep(data):
    """A network of 60 layers, of which every third takes least."""
    data["layers"] = [data["layers"][place % 3] | {"name": f"layer {place}"} for place in range(60)]
    data["roofline"]["points"] = [
        data["roofline"]["points"][place % 3] | {"name": f"layer {place}"} for place in range(60)
    ]
    data["training"]["weight_codes"] = {f"layer {place}": {"+1": 1.0} for place in range(60)}
    return data


@pytest.mark.usefixtures("themed")
def test_figures_of_deep_networks_show_the_longest_layers_and_the_sum_of_the_others(deep):
    upper, lower = costs.layers(deep).axes
    names = [label.get_text() for label in upper.get_yticklabels()]
    kept = [place for place in range(60) if place % 3 != 2][:19]
    assert names == [*(f"layer {place}" for place in kept), "41 other layers"]
    assert sum(widths(upper)) == pytest.approx(sum(layer["cycles"] for layer in deep["layers"]))
    rest = [layer for place, layer in enumerate(deep["layers"]) if place not in kept]
    share = sum(layer["ideal_cycles"] for layer in rest) / sum(layer["cycles"] for layer in rest)
    assert widths(lower)[-1] == pytest.approx(100 * share)
    _, stacks = costs.energy(deep).axes
    whole = math.fsum(layer["energy_pj"] for layer in deep["layers"]) * 1e-6
    assert sum(widths(stacks)) == pytest.approx(whole)
    (codes,) = network.weight_codes(deep).axes
    assert len(widths(codes)) == 19 and codes.get_xlabel().endswith("the 19 layers that take longest")
    written = [text.get_text() for text in costs.roofline(deep).axes[0].texts if text.get_text().startswith("layer")]
    assert written and {name.removeprefix("layer ") for name in written} <= {str(place) for place in kept}


@pytest.mark.usefixtures("themed")
def test_area_shows_components_and_the_modules_of_the_largest_component(data):
    upper, lower = silicon.area(data).axes
    assert sum(widths(upper)) == pytest.approx(data["area_mm2"]["total"])
    assert widths(lower) == pytest.approx(
        sorted((m["total_area_um2"] * 1e-6 for m in data["synthesis"][0]["modules"]), reverse=True)
    )
    assert lower.get_title(loc="left").startswith("ShiftPEArray")


@pytest.mark.usefixtures("themed")
def test_szt_vs_ternary_stacks_to_the_arrays(data):
    (axes,) = silicon.szt_vs_ternary(data).axes
    table = data["szt_vs_ternary"]
    bars = widths(axes)
    assert [sum(bars[:2]), sum(bars[2:])] == pytest.approx(
        [table["szt_array_um2"] * 1e-6, table["ternary_array_um2"] * 1e-6]
    )
    assert bars[0] == bars[2]


@pytest.mark.usefixtures("themed")
def test_verify_shows_a_wrong_cycle_count_beside_the_model_s(data):
    data["verify"]["testbenches"][1] |= {"cycles_rtl": 1941, "mismatches": 3}
    drawn = silicon.verify(data)
    model, hardware = (points.get_offsets()[:, 0].tolist() for points in drawn.axes[0].collections)
    assert model == [497, 1940, 4821, 4821]
    assert hardware == [497, 1941, 4821, 4821]
    assert "28,800 outputs, 3 wrong" in texts(drawn)
    assert plots.draw(data)["layers"].origin == "modelled; equal to the RTL's cycles in 3 of 4 test benches (48 cases)"


HOSTILE = ["$\\frac{1}$ 层 \U0001f600 \x1b[31m", "_hidden\nb\tc", "--><script>alert(1)</script>&amp;", "x" * 500]


@pytest.mark.parametrize("name", HOSTILE)
def test_odd_names_are_drawn(data, name):
    def rename(block):
        if isinstance(block, dict):
            return {(name if key == "array" else key): rename(value) for key, value in block.items()}
        return [rename(item) for item in block] if isinstance(block, list) else (name if block == "fc1" else block)

    renamed = rename(data)
    renamed["synthesis"][0]["component"] = renamed["accuracy"]["by_estimator"][0]["estimator"] = name
    renamed["training"]["weight_codes"] = {name: {name: 1.0}}
    renamed["training"]["history"][0][f"{name} accuracy"] = 0.5
    for plot in plots.draw(renamed).values():
        ElementTree.fromstring(plot.svg)
        assert "script" not in plot.svg


def test_extreme_numbers_are_drawn(data):
    for layer in data["layers"]:
        layer |= {"utilization": 0.0, "ideal_cycles": 0.0, "cycles": 1, "breakdown": {"array": 0.0}}
    data["energy_uj"] |= {"total": 0.0, "breakdown": {"array": 0.0}}
    data["area_mm2"] |= {"total": 0.0, "breakdown": {"array": 0.0}}
    data["synthesis"][0]["modules"] = [{"name": "a", "instances": 1, "area_um2": 0.0, "total_area_um2": 0.0}]
    data["szt_vs_ternary"] = dict.fromkeys(data["szt_vs_ternary"], 0.0)
    data["accuracy"] |= {"float": 1.0, "quantized": 0.0, "machine": 0.0}
    data["training"]["history"] = [{"epoch": 0, "loss": 1e300}]
    data["roofline"]["points"] = [{"name": "only", "intensity_macs_per_byte": 1e-6, "macs_per_cycle": 1e-9}]
    data["verify"]["testbenches"][0] |= {"cycles_rtl": 1, "cycles_model": 10**12}
    assert list(plots.draw(data)) == [name for name in NAMES if not name.endswith("_map")]


@pytest.mark.parametrize("length", [1, 8, 25, 26, 27, 300])
def test_label_is_one_line_of_limited_length(length):
    text = style.label("\n" + "m" * length + "\t", 26)
    assert len(text) == min(length, 26)
    assert text.isprintable()


def test_label_draws_a_box_for_what_the_font_lacks():
    assert style.label("a层b") == "a\N{WHITE SQUARE}b"


@pytest.mark.parametrize("colour", [*style.PALETTE, "#a6d3ef", "#f7d9a8"])
def test_text_on_bars_has_contrast(colour):
    def luminance(text):
        channels = [int(text[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted([luminance(colour), luminance(style.ink_on(colour))])
    assert (light + 0.05) / (dark + 0.05) >= 4.5
