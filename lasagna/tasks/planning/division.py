"""What FSDP2 divides among processes, and what each of them gathers to compute."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from lasagna.tasks.training.division import DividedWeights, checked_groups
from lasagna.tasks.training.module import AssistantTraining


@dataclass(frozen=True)
class Group:
    """Parameters that are gathered together.

    Args:
        parameters: Number of rows, bytes of a row, and whether it is trained, of each.
    """

    parameters: tuple[tuple[int, int, bool], ...]

    @classmethod
    def of(cls, parameters: Iterable[nn.Parameter]) -> Group:
        """Return the group of some parameters."""
        filled = [one for one in parameters if one.numel()]
        return cls(tuple((len(one), one.nbytes // len(one), one.requires_grad) for one in filled))

    def share(self, processes: int, trained_only: bool = False) -> int:
        """Return the bytes that each process holds, which rounds the rows of each parameter up.

        Args:
            processes: Number of processes.
            trained_only: Whether only trained parameters count.
        """
        return sum(-(-rows // processes) * row for rows, row, trained in self.parameters if trained or not trained_only)

    def whole(self, processes: int, trained_only: bool = False) -> int:
        """Return the bytes that all processes hold together."""
        return processes * self.share(processes, trained_only)


@dataclass(frozen=True)
class Division:
    """How FSDP2 divides a training.

    Args:
        rest: What is gathered for the entire step: embeddings, projector, mask head and what else is outside of blocks.
        blocks: What is gathered one after another.
        buffers: Bytes of buffers, which each process has.
    """

    rest: Group
    blocks: tuple[Group, ...]
    buffers: int

    def weights(self, processes: int) -> int:
        """Return the bytes of weights and buffers that each process holds between steps."""
        return self.buffers + sum(group.share(processes) for group in (self.rest, *self.blocks))

    def gradients(self, processes: int) -> int:
        """Return the bytes of gradients that each process holds."""
        return sum(group.share(processes, trained_only=True) for group in (self.rest, *self.blocks))

    def all_weights(self, processes: int) -> int:
        """Return the bytes of each process that has gathered all weights, as in validation."""
        return self.weights(processes) + sum(group.whole(processes) for group in (self.rest, *self.blocks))

    def rest_gradients(self, processes: int) -> int:
        """Return the bytes of gradients that are complete in each process until the end of the backward pass."""
        return self.rest.whole(processes, trained_only=True)

    def gathered(self, processes: int) -> int:
        """Return the bytes that are gathered at a time within a step, beside the gradients of the rest.

        Of blocks, these are one that computes and one that arrives, with the gradients of one, and those of the one
        before, which are sent.
        """
        block = max(
            (2 * group.whole(processes) + 2 * group.whole(processes, trained_only=True) for group in self.blocks),
            default=0,
        )
        return self.rest.whole(processes) + block

    def start(self, processes: int) -> int:
        """Return the bytes that are gathered when a step starts: the rest, as it arrives and as it is used."""
        return 2 * self.rest.whole(processes)


def division_of(training: AssistantTraining) -> Division:
    """Return how FSDP2 divides a training.

    Args:
        training: The training, built, with or without weights.

    Raises:
        ConfigError: If there are weights that it cannot divide, or parts are compiled.
    """
    DividedWeights(training.compiled is not None)
    blocks, rest = checked_groups(training, training.divided_parts)
    buffers = sum(buffer.nbytes for buffer in training.buffers())
    return Division(Group.of(rest), tuple(Group.of(block.parameters()) for block in blocks), buffers)
