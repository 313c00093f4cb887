"""Files of a program: the image, the job list as C table equal to the registers that a bench writes, the driver."""

import ctypes
import json
import shutil
import subprocess

import numpy as np
import pytest

from tests.hls.jobs.networks import Net, small_unit
from tetrit.errors import InvalidValueError
from tetrit.hls.jobs import HostNode, JobStep, compile_jobs
from tetrit.rtl.coprocessor import header
from tetrit.rtl.coprocessor.registers import register
from tetrit.sim.coprocessor import execute
from tetrit.verify.suites.coprocessor import register_writes

WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1")
SHIM = """
#include <stdint.h>
static void (*writer)(uint32_t, uint32_t);
static uint32_t (*reader)(uint32_t);
void hooks(void (*w)(uint32_t, uint32_t), uint32_t (*r)(uint32_t)) { writer = w; reader = r; }
void tetrit_write_register(uint32_t offset, uint32_t value) { writer(offset, value); }
uint32_t tetrit_read_register(uint32_t offset) { return reader(offset); }
"""


def compiled_driver(program, folder, base=0):
    """Write a program, compile its driver, and return the library and a way to run it with hooks."""
    program.write(folder, header())
    (folder / "shim.c").write_text(SHIM)
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "a C compiler is needed"
    sources = [str(folder / name) for name in ("network.c", "shim.c")]
    subprocess.run([compiler, *WARNINGS, "-shared", "-fPIC", *sources, "-o", str(folder / "n.so")], check=True)
    code = ctypes.CDLL(str(folder / "n.so"))
    code.tetrit_network_run.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
    writes_type = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32)
    reads_type = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_uint32)

    def run(memory, write, read):
        hooks = writes_type(write), reads_type(read)
        code.hooks(*hooks)
        return code.tetrit_network_run(memory.ctypes.data, base)

    return code, run


@pytest.fixture(scope="module")
def program():
    rng = np.random.default_rng(4)
    net = Net(rng, 6, 6, 8)
    net.conv(8, (3, 3), padding=(1, 1, 1, 1))
    before = net.last
    net.conv(8, (3, 3), padding=(1, 1, 1, 1), relu=False)
    net.sum(before, (900, -901))  # no weights of a common factor: for the host
    net.lookup()
    branch = net.last
    net.conv(5, (1, 1))
    net.concat(branch)
    net.pool("max", 2)
    net.head(10)
    return compile_jobs(net.graph(), small_unit(), batch=2)


def test_the_image_is_the_constants(program, tmp_path):
    written = program.write(tmp_path, header())
    assert sorted(path.name for path in written) == [
        "README.md", "memory.bin", "memory.hex", "network.c", "network.h", "network.json", "tetrit_coprocessor.h",
    ]  # fmt: skip
    assert (tmp_path / "memory.bin").read_bytes() == program.constants
    lines = (tmp_path / "memory.hex").read_text().split()
    data = b"".join(int(line, 16).to_bytes(8, "little") for line in lines)
    assert data[: len(program.constants)] == program.constants
    assert all(len(line) == 16 for line in lines)
    table = json.loads((tmp_path / "network.json").read_text())
    assert [step["name"] for step in table["steps"]] == [step.name for step in program.steps]
    assert table["memory_bytes"] == program.memory_bytes
    assert "tetrit_coprocessor.h" not in program.files()


def test_the_c_driver_does_every_step_and_writes_every_register(program, tmp_path):
    """The model is the co-processor: registers are those that a bench writes, all of memory is the model's."""
    code, run = compiled_driver(program, tmp_path)
    assert {type(step).__name__ for step in program.steps} == {"JobStep", "Copy", "HostNode"}
    kinds = {type(step.operation).__name__ for step in program.steps if isinstance(step, HostNode)}
    assert kinds == {"Sum", "Lookup", "Concat", "MaxPool"}
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (2, 6, 6, 8))
    memory = np.zeros(program.memory_bytes, np.uint8)
    memory[: len(program.constants)] = np.frombuffer((tmp_path / "memory.bin").read_bytes(), np.uint8)
    for image in range(2):
        for index, value in enumerate(x[image].ravel().tolist()):
            code.tetrit_set_x(ctypes.c_void_p(memory.ctypes.data), image, index, value)
    jobs, registers = iter(program.jobs), {}
    control, status = register("CONTROL").offset, register("STATUS").offset
    started = []

    def write(offset, value):
        if offset == control:
            job = next(jobs).job
            expected = dict(register_writes(job, program.unit))
            assert registers == expected
            memory[:] = execute(memory, job, program.unit).memory
            started.append(job)
        elif offset != status:
            registers[offset] = value

    assert run(memory, write, lambda offset: 2) == 0
    assert len(started) == len(program.jobs)
    model = program.memory()
    program.write_inputs(model, x)
    for _, after in program.simulate(model):
        model = after
    np.testing.assert_array_equal(memory, model)
    golden = program.graph.run(x)["fc"]
    seen = [[code.tetrit_get_fc(ctypes.c_void_p(memory.ctypes.data), b, e) for e in range(10)] for b in range(2)]
    np.testing.assert_array_equal(seen, golden)


def test_the_driver_says_which_step_failed(program, tmp_path):
    _, run = compiled_driver(program, tmp_path)
    first = next(number for number, step in enumerate(program.steps) if isinstance(step, JobStep))
    assert run(program.memory(), lambda offset, value: None, lambda offset: 4) == first + 1


def test_a_folder_that_cannot_be_written(program, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidValueError, match=r"^cannot write"):
        program.write(tmp_path / "file")
