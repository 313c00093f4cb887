"""The table on the terminal."""

from tetrit import report

EXPECTED = """\
digits
  accuracy            97.11 % on the machine (integers), 98.22 % float
  cycles              32,756 (72.79 per image, 450 images)
  latency             327.6 us at 16 x 16, 100 MHz
  energy              1.711 nJ per image (synthesised and modelled)
  area                0.536 mm2 (synthesised and modelled)
  ShiftPEArray 16x16  412,346 um2, 3.42 ns, 25,300 cells
  SZTDecoder          12.7 um2, 0.11 ns, 2 cells
  szt datapath        412,142 um2, plain ternary 412,142 um2
  verified            0 mismatches in 66,420 outputs, 6 of 6 benches pass

  layer  m x k x n       cycles  PEs busy  bound by        nJ
  -----  --------------  ------  --------  -----------  -----
  fc1    450 x 64 x 128  15,408    93.5 %  activations  369.1
  fc2    450 x 128 x 64  15,408    93.5 %  compute      369.1
  fc3    450 x 64 x 10    1,940    58.0 %  results      31.86

  seed    float  quantised  machine
  ----  -------  ---------  -------
  0     98.44 %    97.56 %  97.33 %
  1     98.00 %    97.11 %  97.11 %
  2     98.22 %    96.89 %  96.89 %
  mean  98.22 %    97.19 %  97.11 %"""


def test_summary_of_the_sample(sample):
    assert report.summary(sample) == EXPECTED


def test_summary_without_the_later_steps(sample):
    for block in ("verify", "synthesis", "szt_vs_ternary", "roofline", "area_mm2", "energy_uj", "energy_per_image_nj"):
        del sample[block]
    for layer in sample["layers"]:
        del layer["energy_pj"], layer["breakdown"]
    sample["machine"] = {"kind": "other"}
    head, layers, _ = report.summary(sample).split("\n\n")
    assert head.splitlines() == [
        "digits",
        "  accuracy  97.11 % on the machine (integers), 98.22 % float",
        "  cycles    32,756 (72.79 per image, 450 images)",
        "  latency   327.6 us at 100 MHz",
        "  verified  no: this run did not simulate the RTL",
    ]
    assert all(line.endswith(" -") for line in layers.splitlines()[2:])


def test_names_cannot_steer_the_terminal_or_break_lines(sample):
    evil = "a\x1b[31m\nb\r\x07"
    sample["name"] = sample["layers"][0]["name"] = sample["synthesis"][0]["component"] = evil
    text = report.summary(sample)
    assert text.count("a?[31m?b??") == 3
    assert text.replace("\n", "").isprintable()
    assert len(text.splitlines()) == len(EXPECTED.splitlines())


def test_lines_fit_a_terminal():
    assert max(map(len, EXPECTED.splitlines())) <= 80
