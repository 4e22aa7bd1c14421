"""Gradients are reduced in one order, whatever a batch uses."""

from types import SimpleNamespace

import torch
from torch import nn

from lasagna.tasks.training.zero_reduction import OrderedReduction


class Reducing:
    """DeepSpeed's optimiser, as far as gradients reach it."""

    def __init__(self, groups):
        self.bit16_groups = groups
        self.removed = 0
        self._grad_acc_hooks = [SimpleNamespace(remove=self._removed)]
        self.reduced = []
        self.ended = []

    def _removed(self):
        self.removed += 1

    def process_gradients(self, parameter, number):
        self.reduced.append((number, parameter.grad.clone()))
        parameter.grad = None

    def overlapping_partition_gradients_reduce_epilogue(self):
        self.ended.append(len(self.reduced))


def test_gradients_are_reduced_in_one_order_with_zeros_for_what_a_batch_does_not_use():
    first, second, third = (nn.Parameter(torch.ones(size)) for size in (1, 2, 3))
    reducing = Reducing([[first, second], [third]])
    reduction = OrderedReduction(reducing)
    assert reducing.removed == 1
    assert reducing._grad_acc_hooks == []
    # computed in another order, and then without one
    (first.exp().sum() * third.sum() + (second * second.detach()).sum()).backward()
    early = len(reducing.reduced)
    reduction.finish()
    assert [(number, len(grad)) for number, grad in reducing.reduced] == [(1, 3), (0, 2), (0, 1)]
    assert early == 3
    (first.sum() * 2).backward()
    assert len(reducing.reduced) == 3
    reduction.finish()
    assert [(number, grad.tolist()) for number, grad in reducing.reduced[3:]] == [(1, [0] * 3), (0, [0] * 2), (0, [2])]
    assert reducing.ended == [3, 6]
    reduction.remove()
    first.sum().backward()
    assert len(reducing.reduced) == 6
