# amaranth: UnusedElaboratable=no
"""Liberty: our own text read back, a foreign style with hand-computed figures, and errors that name file and line."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrit.errors import InvalidValueError
from tetrit.hardware.technology import Technology
from tetrit.rtl import boolean
from tetrit.rtl.liberty import read
from tetrit.rtl.liberty_syntax import LibertyError, parse_groups
from tetrit.rtl.liberty_text import to_liberty
from tetrit.rtl.synthesis import synthesize

SG13G2 = Technology.load("sg13g2")

FOREIGN = """/* A library in another style:
   nanoseconds, picofarads, tables over slew and load */
library ("foreign") {
  technology (cmos);
  delay_model : table_lookup;
  time_unit : "1ns";
  voltage_unit : "1V";
  leakage_power_unit : 1uW;
  capacitive_load_unit (1, pf);
  nom_voltage : 2.0
  nom_temperature : 125;
  lu_table_template (delay_3x3) {
    variable_1 : input_net_transition;
    variable_2 : total_output_net_capacitance;
    index_1 ("0.01, 0.06, 0.5");
    index_2 ("0.001, 0.1, 2.0");
  }
  lu_table_template (swapped) {
    variable_1 : total_output_net_capacitance;
    variable_2 : input_net_transition;
    index_1 ("0.001, 0.101");
    index_2 ("0.05, 0.5");
  }
  power_lut_template (power_2) { variable_1 : total_output_net_capacitance; index_1 ("0.001, 0.1"); }
  cell (INV) {
    area : 1.5;
    leakage_power () { when : "A"; value : 0.002; }
    leakage_power () { when : "!A"; value : 0.004; }
    pin (A) { direction : input; rise_capacitance : 0.002; fall_capacitance : 0.004; }
    pin (Y) {
      direction : "output";
      function : "A'";
      timing () {
        related_pin : "A"; timing_sense : negative_unate;
        cell_rise (delay_3x3) { values ("9,9,9", \\
          "0.011, 0.110, 1.0", "9,9,9"); }
        cell_fall (swapped) { values ("0.021, 9", "0.221, 9"); }
        rise_transition (scalar) { values ("0.030"); }
      }
      internal_power () {
        related_pin : "A";
        rise_power (power_2) { values ("0.001, 0.003"); }
        fall_power (scalar) { values ("0.004"); }
      }
    }
  }
  cell (NAND) { area : 2;
    pin ("A", "B") { direction : input; capacitance : 0.001; }
    pin (Y) { direction : output; function : "(A B)'"; @TIMING@ }
  }
  cell (NOR) { area : 2;
    pin ("A", "B") { direction : input; capacitance : 0.001; }
    pin (Y) { direction : output; function : "!(A + B)"; @TIMING@ }
  }
  cell (BUF) { area : 2;
    pin (A) { direction : input; capacitance : 0.001; }
    pin (Y) { direction : output; function : "A"; @TIMING@ }
  }
  cell (BUSSED) { area : 1; bus (A) { direction : input; } pin (Y) { direction : output; function : "1"; } }
  cell (TRISTATE) { area : 1; pin (A) { direction : input; }
    pin (Y) { direction : output; function : "A"; three_state : "A"; } }
  cell (UNTIMED) { area : 1; pin (A) { direction : input; } pin (Y) { direction : output; function : "!A"; } }
  cell (BANNED) { area : 1; dont_use : true; pin (A) { direction : input; }
    pin (Y) { direction : output; function : "!A"; } }
  cell (DFF) { area : 5; ff (STATE, STATE_N) { clocked_on : "CK"; next_state : "D"; }
    pin (CK) { direction : input; clock : true; capacitance : 0.001; }
    pin (D) { direction : input; capacitance : 0.001; timing () { related_pin : "CK"; timing_type : setup_rising;
      rise_constraint (scalar) { values ("0.1"); } } }
    pin (Q) { direction : output; function : "STATE"; timing () { related_pin : "CK"; timing_type : rising_edge;
      cell_rise (scalar) { values ("0.2"); } cell_fall (scalar) { values ("0.4"); } } }
    pin (QN) { direction : output; function : "STATE_N"; }
  }
  cell (GATE) { area : 4; clock_gating_integrated_cell : latch_posedge_precontrol;
    pin (C) { direction : input; clock_gate_clock_pin : true; capacitance : 0.001; }
    pin (E) { direction : input; clock_gate_enable_pin : true; capacitance : 0.001; }
    pin (T) { direction : input; clock_gate_test_pin : true; capacitance : 0.001; }
    pin (G) { direction : output; clock_gate_out_pin : true; }
  }
}
""".replace(
    "@TIMING@",
    'timing () { related_pin : "A"; cell_rise (swapped) { values ("0.02, 9", "0.22, 9"); } '
    'rise_transition (swapped) { values ("0.01, 9", "0.31, 9"); } }',
)


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def save(text, name="user.lib"):
        (tmp_path / name).write_text(text)
        return name

    return save


def test_own_text_reads_back(write):
    paying = [
        replace(cell, input_energy_fj=((cell.clock_pin, 3.5),)) if cell.role == "flop" else cell
        for cell in SG13G2.cells
    ]
    technology = read(write(to_liberty(SG13G2.replace(cells=tuple(paying)))))
    assert technology.cell("sg13g2_dfrbpq_1").input_energy_fj == (("CLK", 3.5),)
    assert technology.unpriced == ()
    assert (technology.name, technology.voltage_v, technology.temperature_c) == ("sg13g2", 1.2, 25.0)
    for ours, again in zip(sorted(paying, key=lambda cell: cell.name), technology.cells, strict=True):
        assert replace(again, outputs=(), leakage_nw=0.0) == replace(ours, outputs=(), leakage_nw=0.0)
        assert again.leakage_nw == pytest.approx(ours.leakage_nw)
        for a, b in zip(ours.outputs, again.outputs, strict=True):
            assert b.pin == a.pin
            if ours.role != "clock_gate":
                assert b.function == a.function
            for field in ("delay_ps", "delay_ps_per_ff", "transition_ps", "transition_ps_per_ff", "energy_fj"):
                assert getattr(b, field) == pytest.approx(getattr(a, field), rel=1e-6, abs=1e-6)


def test_own_text_as_a_users_file_gives_the_same_cells(designs, write):
    ours = synthesize(designs.Element())
    user = synthesize(designs.Element(), liberty=write(to_liberty(SG13G2)))
    assert dict(user.cells) == dict(ours.cells)
    assert user.area_um2 == pytest.approx(ours.area_um2)
    assert user.delay_ns < ours.delay_ns  # the text has one mean delay for all arcs, the table also the slowest


def test_foreign_style(write):
    technology = read(write(FOREIGN))
    assert (technology.name, technology.voltage_v, technology.temperature_c) == ("foreign", 2.0, 125.0)
    assert [cell.name for cell in technology.cells] == ["BUF", "DFF", "GATE", "INV", "NAND", "NOR"]
    inverter = technology.cell("INV")
    assert inverter.area_um2 == 1.5
    assert inverter.leakage_nw == pytest.approx(3.0)
    assert dict(inverter.inputs) == pytest.approx({"A": 3.0})
    output = inverter.outputs[0]
    # rise: 11 ps at 1 fF and 110 ps at 100 fF (2000 fF lies outside the fit); fall: 21 ps at 1 fF and 221 ps at 101 fF
    assert output.delay_ps == pytest.approx((10.0 + 19.0) / 2)
    assert output.delay_ps_per_ff == pytest.approx((1.0 + 2.0) / 2)
    assert output.transition_ps == pytest.approx(30.0)
    # energies are in pF V^2 = pJ: the median of 1 and 3 fJ, and 4 fJ
    assert output.energy_fj == pytest.approx((2.0 + 4.0) / 2)
    flop, gate = technology.cell("DFF"), technology.cell("GATE")
    assert (flop.role, flop.clock, flop.data, flop.clear) == ("flop", "CK", "D", "")
    assert [(o.pin, o.function) for o in flop.outputs] == [("Q", "IQ"), ("QN", "IQN")]
    assert flop.outputs[0].delay_worst_ps == pytest.approx(300.0)
    assert (gate.role, gate.clock, gate.data) == ("clock_gate", "C", "E+T")
    assert technology.cell("NAND").pins == ("A", "B")


def test_foreign_library_synthesises(designs, write):
    result = synthesize(designs.Element(), liberty=write(FOREIGN))
    assert set(result.cells) - {"BUF"} == {"INV", "NAND", "NOR", "DFF", "GATE"}
    assert result.cells["DFF"] == 24
    assert result.area_um2 == pytest.approx(
        sum({"INV": 1.5, "BUF": 2, "NAND": 2, "NOR": 2, "DFF": 5, "GATE": 4}[c] * n for c, n in result.cells.items())
    )
    assert "nets above 120 fF split by trees of BUF" in result.assumptions


LEFT_OUT = (
    "; 4 cells were left out: 1 with buses, banks or tests, 1 three-state, 1 without a delay that grows with the load, "
    "1 not to be used"
)
BEYOND = "beyond reason"
CORRUPT = {
    "empty": ("", 1, "not a liberty file: it must begin with 'library', got 'nothing'"),
    "not liberty": ("<html></html>", 1, "not a liberty file: it must begin with 'library', got '<html></html>'"),
    "no brace": ("library (x)\n", 1, "a '{' must follow 'library (...)'"),
    "not closed": (
        "library (x) {\n cell (a) {\n area : 1;\n",
        4,
        "the file ends early: the group 'cell' of line 2 is not closed",
    ),
    "open string": ('library (x) {\n a : "b;\n}\n', 2, "a string is not closed"),
    "no value": ("library (x) {\n area : ;\n}", 2, "a value is missing before ';'"),
    "no colon": ("library (x) {\n area 1;\n}", 2, "a ':' or '(' is missing after 'area'"),
    "no name": ("library (x) {\n ) area;\n}", 2, "a name is missing before ')'"),
    "no parenthesis": ("library (x) {\n values (1, 2;\n}", 2, "a ')' is missing before ';'"),
    "bad number": (FOREIGN.replace("area : 1.5", "area : big"), 26, "'area' must be a number, got 'big'"),
    "bad unit": (FOREIGN.replace('"1ns"', '"1 hour"'), 6, "'time_unit' must be a number and a unit of s, got '1 hour'"),
    "bad load unit": (FOREIGN.replace("(1, pf)", "(1, nf)"), 9, "'capacitive_load_unit' must be a number and ff or pf"),
    "short table": (
        FOREIGN.replace('"0.021, 9", "0.221, 9"', '"0.021, 9", "0.221"'),
        37,
        "'values' must have as many numbers as its indices ask for, got 3",
    ),
    "not finite": (FOREIGN.replace('"0.030"', '"nan"'), 38, "'values' must be finite numbers"),
    "no voltage": (FOREIGN.replace("nom_voltage", "nominal"), 3, "library has no positive 'nom_voltage'"),
    "bad function": (
        FOREIGN.replace("A'", "A+)"),
        25,
        "cell 'INV': boolean function 'A+)': an operand is missing",
    ),
    "unknown pin": (FOREIGN.replace("A'", "B'"), 25, "cell 'INV': boolean function 'B'': there is no input pin 'B'"),
    "no inverter": (FOREIGN.replace("A'", "A"), 3, f"library 'foreign' has no inverter{LEFT_OUT}"),
    "no buffer": (
        FOREIGN.replace('function : "A";', 'function : "!A";'),
        3,
        f"library 'foreign' has no buffer{LEFT_OUT}",
    ),
    "no nand": (
        FOREIGN.replace("(A B)'", "A B").replace("!(A + B)", "A + B"),
        3,
        f"library 'foreign' has no two-input NAND or NOR{LEFT_OUT}",
    ),
    "no delay": (
        re.sub(r"cell_(rise|fall)", "other", FOREIGN),
        3,
        "library 'foreign' has no inverter; 9 cells were left out: 5 without a delay that grows with the load, 1 with "
        "buses, banks or tests, 1 three-state, 1 not to be used, 1 registers without a delay",
    ),
    "negative area": (FOREIGN.replace("area : 1.5", "area : -1.5"), 26, "'area' must not be negative, got -1.5"),
    "no area": (FOREIGN.replace("area : 1.5", "width : 1.5"), 25, "cell 'INV' has no 'area'"),
    "area 0": (FOREIGN.replace("area : 1.5", "area : 0.0"), 26, "'area' must be above 0, got 0.0"),
    "area in nm2": (
        FOREIGN.replace("area : 1.5", "area : 1.5e7"),
        26,
        f"'area' is 1.5e+07 um2, {BEYOND} (1e+06 um2): areas are in square micrometres",
    ),
    "negative capacitance": (
        FOREIGN.replace("rise_capacitance : 0.002", "rise_capacitance : -0.002"),
        29,
        "'rise_capacitance' must not be negative, got -0.002",
    ),
    "capacitance nan": (
        FOREIGN.replace("rise_capacitance : 0.002", "rise_capacitance : nan"),
        29,
        "'rise_capacitance' must not be negative, got nan",
    ),
    "no capacitance": (
        FOREIGN.replace("rise_capacitance : 0.002; fall_capacitance : 0.004;", ""),
        29,
        "pin 'A' has no 'capacitance'",
    ),
    "capacitance in fF": (
        FOREIGN.replace("rise_capacitance : 0.002", "rise_capacitance : 200"),
        29,
        f"'rise_capacitance' is 200000 fF, {BEYOND} (100000 fF): is 'capacitive_load_unit' right?",
    ),
    "negative leakage": (
        FOREIGN.replace("value : 0.004", "value : -0.004"),
        28,
        "'value' must not be negative, got -0.004",
    ),
    "leakage in W": (
        FOREIGN.replace("leakage_power_unit : 1uW", "leakage_power_unit : 1W"),
        25,
        f"cell 'INV' leaks 3e+06 nW on 1.5 um2, {BEYOND} (1000 nW/um2): is 'leakage_power_unit' right?",
    ),
    "volts in mV": (
        FOREIGN.replace("nom_voltage : 2.0", "nom_voltage : 2000"),
        10,
        f"'nom_voltage' is 2000 V, {BEYOND} (20 V): is 'voltage_unit' right?",
    ),
    "no time": (FOREIGN.replace('"1ns"', '"0ns"'), 6, "'time_unit' must be above 0, got '0ns'"),
    "no load": (FOREIGN.replace("(1, pf)", "(0, pf)"), 9, "'capacitive_load_unit' must be above 0, got 0"),
    "falling index": (
        FOREIGN.replace('index_1 ("0.001, 0.101")', 'index_1 ("0.101, 0.001")'),
        37,
        "'values' must have indices of rising numbers",
    ),
    "other axis": (
        FOREIGN.replace("variable_2 : input_net_transition", "variable_2 : temperature"),
        37,
        "'values' depends on 'temperature', which is not supported in this place",
    ),
    "no flop": (
        FOREIGN.replace('"CK"; next', '"!CK"; next'),
        3,
        f"library 'foreign' has no rising-edge flip-flop with one data pin{LEFT_OUT}",
    ),
}


@pytest.mark.parametrize("name", CORRUPT)
def test_corrupt_files_are_told_with_their_line(name, write, designs, capfd):
    text, line, message = CORRUPT[name]
    with pytest.raises(LibertyError, match=f"^user.lib:{line}: {re.escape(message)}$"):
        synthesize(designs.Counter(), liberty=write(text))
    assert capfd.readouterr() == ("", "")


def test_missing_file_is_told(designs, tmp_path):
    with pytest.raises(
        LibertyError,
        match=rf"^liberty file '{re.escape(str(tmp_path))}/no.lib' cannot be read: No such file or directory$",
    ):
        synthesize(designs.Counter(), liberty=tmp_path / "no.lib")
    with pytest.raises(
        LibertyError, match=rf"^liberty file '{re.escape(str(tmp_path))}' cannot be read: Is a directory$"
    ):
        read(tmp_path)


@given(st.integers(0, len(FOREIGN.rstrip()) - 1))
@settings(deadline=None, max_examples=300)
def test_a_truncated_file_is_never_accepted(length):
    with pytest.raises(LibertyError, match=r"^cut\.lib:\d+: "):
        parse_groups(FOREIGN[:length], "cut.lib")


def test_groups_of_a_file():
    library = parse_groups(FOREIGN, "foreign.lib")
    assert library.arguments == ("foreign",)
    assert library.get("nom_voltage") == "2.0"  # ends with its line, not with a semicolon
    assert library.attributes["capacitive_load_unit"] == ("1", "pf")
    assert [cell.line for cell in library.all("cell")][:2] == [25, 47]


def combined(symbol, operation):
    """Return a strategy step that joins two (text, value) pairs."""
    return lambda pair: (
        f"({pair[0][0]}){symbol}({pair[1][0]})",
        lambda bits: operation(pair[0][1](bits), pair[1][1](bits)),
    )


OPERATORS = {"*": min, "&": min, " ": min, "+": max, "|": max, "^": lambda a, b: (a + b) % 2}
EXPRESSION = st.recursive(
    st.sampled_from(
        [("A", lambda bits: bits[0]), ("B", lambda bits: bits[1]), ("C", lambda bits: bits[2]), ("0", lambda bits: 0)]
    ),
    lambda inner: st.one_of(
        inner.map(lambda x: (f"!({x[0]})", lambda bits: 1 - x[1](bits))),
        inner.map(lambda x: (f"({x[0]})'", lambda bits: 1 - x[1](bits))),
        *(st.tuples(inner, inner).map(combined(symbol, operation)) for symbol, operation in OPERATORS.items()),
    ),
    max_leaves=8,
)


@given(EXPRESSION)
@settings(deadline=None, max_examples=300)
def test_truth_tables_are_the_expressions_values(expression):
    text, value = expression
    table = boolean.truth_table(text, ("A", "B", "C"))
    for index in range(8):
        assert table >> index & 1 == value((index & 1, index >> 1 & 1, index >> 2 & 1)), text


@pytest.mark.parametrize(
    ("text", "verilog", "table"),
    [
        ("A*B+C", "A & B | C", 0b11111000),
        ("A+B*C", "A | B & C", 0b11101010),
        ("A^B*C", "(A ^ B) & C", 0b01100000),  # in liberty XOR binds stronger than AND
        ("!A B", "~A & B", 0b01000100),
        ("(A+B)'C", "~(A | B) & C", 0b00010000),
        ("A''", "~~A", 0b10101010),
    ],
)
def test_precedence(text, verilog, table):
    assert boolean.truth_table(text, ("A", "B", "C")) == table
    assert boolean.to_verilog(text) == verilog


def test_senses_of_inputs():
    assert boolean.senses("!(A*B)", ("A", "B")) == {"A": "negative_unate", "B": "negative_unate"}
    assert boolean.senses("(!S*A)+(S*B)", ("A", "B", "S")) == {
        "A": "positive_unate",
        "B": "positive_unate",
        "S": "non_unate",
    }
    assert boolean.senses("A", ("A", "B")) == {"A": "positive_unate"}


def test_boolean_errors():
    with pytest.raises(InvalidValueError, match=r"^boolean function '\(A': a '\)' is missing$"):
        boolean.parse("(A")
    with pytest.raises(InvalidValueError, match=r"^boolean function 'A\)': unexpected '\)'$"):
        boolean.parse("A)")
    with pytest.raises(InvalidValueError, match=r"^boolean function 'A % B': unexpected '%'$"):
        boolean.parse("A % B")
    with pytest.raises(InvalidValueError, match=r"^boolean function 'A': 7 inputs, at most 6 are supported$"):
        boolean.truth_table("A", tuple("ABCDEFG"))
