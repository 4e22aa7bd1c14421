"""What a training step takes on each of some devices."""

from __future__ import annotations

from dataclasses import dataclass

from lasagna.tasks.planning.division import Division


@dataclass(frozen=True)
class Devices:
    """The devices of a training.

    Args:
        count: How many there are, each with a process.
        divided: Whether they divide the weights (fsdp2); otherwise each has all of them (ddp).
    """

    count: int = 1
    divided: bool = False


@dataclass(frozen=True)
class Phases:
    """Most bytes in parts of a step, beside weights and states of the optimiser.

    Args:
        computing: In the forward and backward pass, gradients included.
        apart: The same without gradients.
        stepping: What the optimiser takes for itself while it steps.
    """

    computing: int
    apart: int
    stepping: int


@dataclass(frozen=True)
class StepCost:
    """What a training step takes on one device, in bytes.

    Args:
        weights: Weights and buffers.
        gradients: Gradients of what is trained.
        optimiser: States of the optimiser, with float32 copies of weights in less precision and averages of weights.
        activations: What else there is at the peak: what the backward pass needs, and intermediate results.
        flops: Floating-point operations of one batch, forward and backward, or None if they were not counted.
        gathered: Weights and gradients that belong to other processes.
        phases: Where the peak comes from, to divide it, or None.
        division: What is divided among processes, or None if the weights cannot be divided.
    """

    weights: int
    gradients: int
    optimiser: int
    activations: int
    flops: int | None = None
    gathered: int = 0
    phases: Phases | None = None
    division: Division | None = None

    @property
    def peak(self) -> int:
        """Most bytes at the same time, in one process."""
        return self.weights + self.gradients + self.optimiser + self.activations + self.gathered

    def peak_of(self, processes: int) -> int:
        """Return the most bytes at the same time in each of several processes, which keep their gradients twice."""
        return self.peak + (self.gradients if processes > 1 else 0)

    def peak_on(self, devices: Devices) -> int | None:
        """Return the most bytes at the same time on each device; None if the weights cannot be divided among them."""
        if not devices.divided:
            return self.peak_of(devices.count)
        return None if self.division is None else self.divided(devices.count).peak

    def divided(self, processes: int) -> StepCost:
        """Return what the step takes in each of several processes that divide the weights.

        Args:
            processes: Number of processes; the weights can be divided.
        """
        assert self.division is not None
        assert self.phases is not None
        whole, rest = self.division.gradients(1), self.division.rest_gradients(processes)
        gradients, gathered = self.division.gradients(processes), self.division.gathered(processes)
        # gradients of blocks are complete for a moment only
        computing = min(self.phases.computing, self.phases.apart + gradients + rest)
        peaks = (
            computing + gathered,
            gradients + self.division.start(processes),
            gradients + self.phases.stepping // processes,
        )
        most = peaks.index(max(peaks))
        held = (gathered, self.division.start(processes), 0)[most]
        return StepCost(
            weights=self.division.weights(processes),
            gradients=gradients,
            optimiser=self.optimiser * gradients // max(1, whole),
            activations=peaks[most] - held - gradients,
            flops=self.flops,
            gathered=held,
        )
