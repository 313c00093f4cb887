"""Training in two processes: the ranks agree, and do what one process does with the joint batch."""

import socket
from datetime import timedelta

import torch
import torch.multiprocessing as mp
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from tetrit.train.qat import Plan, Rule, prepare
from tetrit.train.schedule import Schedule

X = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (8,), generator=torch.Generator().manual_seed(1))
STEPS = 5


FIXED = {"name": "ste_clipped", "format": "int8", "limit": 3.0}
LEARNED = {"name": "lsq", "format": "int8"}


def network(activation):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    rules = (
        Rule(match="0", weight="reste", activation=activation),
        Rule(match="*", weight={"name": "lsq", "axis": "output"}, activation=activation),
    )
    return prepare(model, Plan(rules=rules), example=X)


def train(model, x, y):
    """Return all parameters, and the progress, after a few steps."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = Schedule(model, total_steps=2 * STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        schedule.step()
    progress = {m.progress for m in model.modules() if hasattr(m, "set_progress")}
    return {name.removeprefix("module."): p.detach() for name, p in model.named_parameters()}, progress


def work(rank, port, folder):
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    for name, activation in (("fixed", FIXED), ("learned", LEARNED)):
        model = DistributedDataParallel(network(activation))
        torch.save(train(model, X[rank::2], Y[rank::2]), f"{folder}/{name}{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def test_two_processes_train_as_one_does(tmp_path):
    mp.spawn(work, args=(free_port(), tmp_path), nprocs=2)
    for kind, activation in (("fixed", FIXED), ("learned", LEARNED)):
        (first, progress), (second, _) = (torch.load(tmp_path / f"{kind}{rank}.pt") for rank in (0, 1))
        begun = dict(network(activation).named_parameters())
        alone, progress_alone = train(network(activation), X, Y)
        assert progress == progress_alone == {0.5}
        assert first.keys() == alone.keys()
        for name, value in alone.items():
            assert torch.equal(first[name], second[name]), name
            assert not torch.equal(first[name], begun[name]), name
            torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-5)
