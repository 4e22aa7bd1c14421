"""Which parameters are trained: glob patterns over their names, with a factor for the learning rate of each set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from torch import nn

from lasagna.errors import CheckpointError, ConfigError
from lasagna.tasks.training.optimiser import ANEW


def trainable_sets(parameters: Iterable[tuple[str, nn.Parameter]], patterns: Mapping[str, float]) -> dict[str, float]:
    """Say which parameters are trained, and with which factor.

    Args:
        parameters: All parameters with their names. What a part has frozen itself stays frozen.
        patterns: Glob pattern to factor of the learning rate. A pattern fits a name, or everything below it
            ("mask_head" is all of the mask head); where several fit, the one listed last counts. Factor 0 freezes.

    Returns:
        Name to factor for each parameter that is trained, in the order of ``parameters``.

    Raises:
        ConfigError: If a pattern fits nothing that can be trained, a factor is negative, or nothing would be trained.
    """
    open_to_training = {name: parameter.requires_grad for name, parameter in parameters}
    names = [name for name, is_open in open_to_training.items() if is_open]
    for pattern, factor in patterns.items():
        if factor < 0:
            raise ConfigError(f"trainable: the factor of {pattern!r} is {factor}; it must be 0 (frozen) or more")
        if not any(_fits(pattern, name) for name in (names if factor else open_to_training)):
            frozen = any(_fits(pattern, name) for name in open_to_training)
            reason = "fits only what its part keeps frozen" if frozen else "fits no parameter"
            raise ConfigError(f"trainable: {pattern!r} {reason}; what can be trained is in {_overview(names)}")
    factors = {name: _factor(name, patterns) for name in names}
    trained = {name: factor for name, factor in factors.items() if factor > 0}
    if not trained:
        raise ConfigError(f"trainable: nothing would be trained; name at least one of {_overview(names)}")
    return trained


def check_factors(stored: Mapping[str, float], factors: Mapping[str, float]) -> None:
    """Check that the sets of a training that goes on are those that it began with.

    Args:
        stored: Name to factor, as the training began.
        factors: Name to factor, as it would go on; 0 for what neither names.

    Raises:
        CheckpointError: If they are others; names the first few parameters.
    """
    names = [*stored, *(name for name in factors if name not in stored)]
    changed = [
        f"{name} with factor {stored.get(name, 0.0)}, here {factors.get(name, 0.0)}"
        for name in names
        if stored.get(name, 0.0) != factors.get(name, 0.0)
    ]
    if changed:
        more = f" and {len(changed) - 2} more" if len(changed) > 2 else ""
        raise CheckpointError(f"trainable: the checkpoint was trained with {'; '.join(changed[:2])}{more}; {ANEW}")


def freeze_others(module: nn.Module, trained: Iterable[str]) -> None:
    """Let only the named parameters of a module ask for gradients."""
    chosen = set(trained)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in chosen)


def settle_modes(module: nn.Module, training: bool) -> None:
    """Put what is trained into training mode and what is frozen into evaluation mode.

    A module without parameters (dropout, a norm without scale) follows the one around it, so that the statistics of
    frozen norms do not move and dropout inside trained parts still works.

    Args:
        module: Root of the modules.
        training: Mode of a module without parameters at the root.
    """
    parameters = list(module.parameters())
    module.training = any(parameter.requires_grad for parameter in parameters) if parameters else training
    for child in module.children():
        settle_modes(child, module.training)


def trained_state(module: nn.Module) -> frozenset[str]:
    """Return the names in the state dict that training can change: trained parameters, buffers of trained modules."""
    state = set(module.state_dict(keep_vars=True))
    parameters = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    settle_modes(module, training=True)
    moving = {
        f"{prefix}.{name}" if prefix else name
        for prefix, child in module.named_modules()
        if child.training
        for name, _ in child.named_buffers(recurse=False)
    }
    return frozenset(parameters | (moving & state))


def _fits(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def _factor(name: str, patterns: Mapping[str, float]) -> float:
    fitting = [factor for pattern, factor in patterns.items() if _fits(pattern, name)]
    return float(fitting[-1]) if fitting else 0.0


def _overview(names: Iterable[str]) -> str:
    return ", ".join(sorted({".".join(name.split(".")[:2]) for name in names})[:24])
