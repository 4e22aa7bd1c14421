import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lasagna.tasks.training.buffers import share_buffers


@pytest.fixture
def exchanges(tmp_path, monkeypatch):
    """One process that is a group, and what it exchanges."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    counted = []
    broadcast = distributed._broadcast_coalesced

    def noted(*given):
        counted.append("buffers")
        return broadcast(*given)

    monkeypatch.setattr(distributed, "_broadcast_coalesced", noted)
    yield counted
    distributed.destroy_process_group()


def answered(model):
    with torch.no_grad():
        model(torch.ones(2, 3))


def trained(model):
    model(torch.ones(2, 3)).sum().backward()


def test_what_processes_exchange_does_not_depend_on_how_many_batches_they_validate_on(exchanges):
    def made(batches):
        model = DistributedDataParallel(nn.BatchNorm1d(3))
        exchanges.clear()
        # a check before the training, and two validations within it
        for step in (None, trained, trained):
            if step is not None:
                step(model)
            share_buffers(model)
            for _ in range(batches):
                answered(model)
            exchanges.append("scores")
        trained(model)
        return exchanges.copy()

    assert made(batches=0) == made(batches=1) == made(batches=2) == ["buffers", "scores"] * 3


def test_buffers_are_exchanged_before_the_first_batch(exchanges):
    model = DistributedDataParallel(nn.BatchNorm1d(3))
    trained(model)
    exchanges.clear()
    share_buffers(model)
    assert exchanges == ["buffers"]


@pytest.mark.filterwarnings("ignore:.*broadcast_buffers")
def test_a_training_that_shares_no_buffers_exchanges_none(exchanges):
    model = DistributedDataParallel(nn.BatchNorm1d(3), broadcast_buffers=False)
    exchanges.clear()
    share_buffers(model)
    answered(model)
    share_buffers(nn.BatchNorm1d(3))
    share_buffers(None)
    assert not exchanges
