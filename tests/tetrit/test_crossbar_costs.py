"""What a run on a crossbar reports beyond its energy, and the keys of [crossbar] that prices and areas come from."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tetrit.errors import InvalidValueError
from tetrit.flow import crossbar_costs, throughput
from tetrit.flow.crossbar_config import read_crossbar
from tetrit.hardware import Device
from tetrit.sim.cost import AnalogPrices
from tetrit.sim.cost.crossbar_area import crossbar_area

CHANGES = {"rows": 32, "cols": 32, "weight_format": "szt", "bits_per_cell": 1}
TABLE = {"preset": "crossbar_256_pcm", "changes": CHANGES}

# as the report has them: 10 images, 20 x 30 weights on 2 arrays
EVENTS = {"dac_conversion": 200, "driver": 400, "cell_read": 12000, "adc_conversion": 320, "shift_add": 320}
LAYER = {
    "name": "one", "m": 10, "k": 20, "n": 30, "arrays": 2, "utilization": 0.25, "events": EVENTS,
    "breakdown": {"DAC": 666.72, "drivers": 0.0, "cells": 7.0, "ADC": 534.4, "shift and add": 6.72},
}  # fmt: skip
BLOCK = {"layers": [LAYER, LAYER | {"arrays": 6, "utilization": 0.75}], "latency_us": 2.0}
BLOCK["energy_uj"] = {"breakdown": LAYER["breakdown"]}


def named(config, pulses=1000):
    found = crossbar_costs.figures(config, BLOCK, pulses)
    assert all(list(row) == ["name", "value", "unit", "origin", "source", "low", "high"] for row in found)
    return {row["name"]: row for row in found}


@pytest.fixture
def config():
    return read_crossbar("c: [crossbar]", TABLE, Path())


def test_area_programming_energy_and_throughput(config):
    found = named(config)
    area = crossbar_area(config.machine, arrays=8)
    assert {name: row["value"] for name, row in found.items() if name.startswith("area, ")} == {
        f"area, {name}": figure.value for name, figure in area.items()
    }
    assert found["area"]["value"] == pytest.approx(sum(figure.value for figure in area.values()))
    assert found["programming a chip once"]["value"] == pytest.approx(0.192)
    energy_pj = 2 * sum(LAYER["breakdown"].values())
    assert found["energy of the run"]["value"] == pytest.approx(energy_pj * 1e-6)
    operations = 2 * 2 * 10 * 20 * 30
    assert found["TOPS"]["value"] == pytest.approx(operations / 2.0 * 1e-6)
    assert found["TOPS/W"]["value"] == pytest.approx(operations / energy_pj)
    assert found["TOPS/mm2"]["value"] == pytest.approx(operations / 2.0 * 1e-6 / found["area"]["value"])
    assert found["TOPS/W, 1-bit"]["value"] == pytest.approx(16 * operations / energy_pj)
    assert found["TOPS/W"]["low"] is None  # the default prices have no bounds
    definition, where = (row["text"] for row in crossbar_costs.assumptions(config, BLOCK))
    assert definition == (
        "Throughput: 1 MAC = 2 operations; 8-bit activations x 2-bit weights, 8-bit conversions; energy of: DAC, "
        "drivers, cells, ADC, shift and add; area of: cells, DAC, registers, integrators, ADC, shift and add; "
        "utilisation 62.5 %"
    )
    assert where.startswith("Area of the crossbar at 32 nm, all arrays of all layers: ")


def test_prices_of_the_survey_are_for_the_changed_machine_and_node():
    config = read_crossbar("c: [crossbar]", TABLE | {"prices": "survey", "node_nm": 65}, Path())
    assert config.prices == AnalogPrices.survey(config.machine, node_nm=65)
    found = named(config)
    assert found["TOPS/W"]["low"] < found["TOPS/W"]["value"] < found["TOPS/W"]["high"]
    assert found["area, cells"]["value"] == crossbar_area(config.machine, arrays=8, node_nm=65)["cells"].value
    small = read_crossbar("c: [crossbar]", TABLE | {"prices": "survey", "changes": CHANGES | {"adc_bits": 5}}, Path())
    assert small.prices.adc_bits == 5


def test_a_cell_without_figures_leaves_area_out_and_says_why(config, tmp_path):
    mine = replace(config, machine=config.machine.replace(device=Device(name="mine", source="-")))
    found = named(mine)
    assert set(found) == {"energy of the run", "TOPS", "TOPS/W", "TOPS, 1-bit", "TOPS/W, 1-bit"}
    why = crossbar_costs.assumptions(mine, BLOCK)[1]["text"]
    assert why.endswith("cells.toml: unknown device 'mine'; known: flash, pcm, rram, sram")
    (tmp_path / "cell.toml").write_text('name = "mine"\ng_max_siemens = 1e-5\n')
    figures = 'area_f2 = 10\narea_origin = "assumed"\narea_source = "a"\npulse_pj = 2.0\npulse_origin = "assumed"\n'
    figures += 'pulse_source = "b"\npulses = 3\npulses_origin = "assumed"\npulses_source = "c"\n'
    (tmp_path / "cells.toml").write_text(f"[mine]\n{figures}")
    table = TABLE | {"changes": CHANGES | {"device": "cell.toml"}, "cells": "cells.toml"}
    known = read_crossbar("c: [crossbar]", table, tmp_path)
    assert known.cells == tmp_path / "cells.toml"
    assert named(known)["programming a chip once"]["value"] == pytest.approx(1000 * 3 * 2e-6)
    assert "area, cells" in named(known)


def test_a_run_without_prices_has_no_throughput_per_watt(config):
    free = replace(config.prices, adc_conversion_pj=0.0, dac_conversion_pj=0.0, shift_add_pj=0.0, figures=())
    layer = LAYER | {"breakdown": LAYER["breakdown"] | {"cells": 0.0}}
    block = BLOCK | {"layers": [layer]}
    found = crossbar_costs.figures(replace(config, prices=free), block, 10)
    assert [row["name"] for row in found][-2:] == ["programming a chip once", "energy of the run"]
    assert found[-1]["value"] == 0
    text = crossbar_costs.assumptions(replace(config, prices=free), block)[0]["text"]
    assert text == "No throughput per watt: no event has a price"


def test_a_digital_run_has_the_same_figures_with_their_definition():
    report = {
        "layers": [
            {"macs": 6000, "cycles": 100, "utilization": 0.5},
            {"macs": 2000, "cycles": 300, "utilization": 0.25},
        ],
        "latency_us": 4.0,
        "energy_uj": {"breakdown": {"array": 0.006, "memory": 0.002},
                      "sources": {"array": "synthesised", "memory": "modelled"}},
        "area_mm2": {"breakdown": {"array": 0.5}, "sources": {"array": "synthesised"}},
        "assumptions": [{"id": "first"}],
    }  # fmt: skip
    made = throughput.digital(report, 8, 2, "24-bit sums, exact")
    found = {row["name"]: row for row in made["figures"]}
    assert {name: row["value"] for name, row in found.items()} == pytest.approx(
        {
            "TOPS": 0.004, "TOPS/W": 2.0, "TOPS/mm2": 0.008,
            "TOPS, 1-bit": 0.064, "TOPS/W, 1-bit": 32.0, "TOPS/mm2, 1-bit": 0.128,
        }
    )  # fmt: skip
    assert [found[name]["origin"] for name in ("TOPS/W", "TOPS/mm2")] == ["modelled", "synthesised"]
    assert (
        found["TOPS/W"]["source"] == "operations over the energy of the run: sum of 2 figures, each with its own source"
    )
    assert [row["id"] for row in made["assumptions"]] == ["first", "operations"]
    assert made["assumptions"][1]["text"] == (
        "Throughput: 1 MAC = 2 operations; 8-bit activations x 2-bit weights, 24-bit sums, exact; energy of: array, "
        "memory; area of: array; utilisation 31.2 %"
    )
    assert len(report["assumptions"]) == 1


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"prices": 3}, "c: [crossbar]: `prices` must be a string, got 3"),
        ({"prices": "surveys"}, "c: [crossbar]: cannot read price table '{folder}/surveys': No such file or directory"),
        ({"prices": "survey", "node_nm": 3}, "c: [crossbar]: `node_nm` must be from 7 to 180, where the table of nodes "
         "ends, got 3"),
        ({"node_nm": 650}, "c: [crossbar]: `node_nm` must be from 7 to 180, where the table of nodes ends, got 650"),
        ({"node_nm": 0}, "c: [crossbar]: `node_nm` must be above 0, got 0"),
        ({"node_nm": "32"}, "c: [crossbar]: `node_nm` must be a number, got '32'"),
        ({"prices": "survey", "changes": CHANGES | {"adc_bits": 18}}, "c: [crossbar]: the machine's converters: `bits` "
         "must be an integer from 1 to 17, got 18"),
        ({"cells": "none.toml"}, "c: [crossbar]: cannot read table of cells '{folder}/none.toml': No such file or "
         "directory"),
    ],
)  # fmt: skip
def test_wrong_keys_are_refused(tmp_path, more, text):
    with pytest.raises(InvalidValueError, match=f"^{re.escape(text.format(folder=tmp_path))}$"):
        read_crossbar("c: [crossbar]", TABLE | more, tmp_path)
