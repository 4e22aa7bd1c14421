"""Classes of torch, and classes like them, that a config names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import TypeVar

from lasagna.errors import ConfigError

T = TypeVar("T")

_GIVEN = ("params", "self", "optimizer")
"""What a constructor of torch takes that no user gives."""


def find_class(argument: str, path: str, home: str, base: type[T], others: Sequence[str] = ()) -> type[T]:
    """Return a class by its name or path.

    Args:
        argument: The optimiser's argument that names it, for errors.
        path: The class's name in ``home``, or its path.
        home: The module where names are looked up.
        base: What it must be a subclass of.
        others: What the argument may be beside a class, for errors.

    Raises:
        ConfigError: If there is no such class, its package is not installed, or it is of another kind.
    """
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(import_module(module or home), name, None)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        # a wrong module in a package that is there is a wrong path
        if find_spec(missing) is None:
            way = f"`pip install {missing.replace('_', '-')}`, or run in the folder of {missing}.py if it is your own"
            raise ConfigError(
                f"optimiser.{argument}: {path!r} needs the package {missing}, which is not installed; {way}"
            ) from error
        kind = None
    except ImportError as error:
        raise ConfigError(f"optimiser.{argument}: {path!r} cannot be imported ({error}); name another class") from error
    if not (isinstance(kind, type) and issubclass(kind, base) and kind is not base):
        names = [name for name, value in vars(import_module(home)).items() if isinstance(value, type)]
        near = get_close_matches(path, [*others, *names], n=1)
        words = [*(repr(other) for other in others), f"the name of a class of {home}"]
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"optimiser.{argument}: expected {', '.join(words)} or the path of a subclass of {base.__name__} that can "
            f"be imported here, got {path!r}{hint}"
        )
    return kind


def check_options(argument: str, kind: type, given: Mapping[str, object], required: bool = False) -> None:
    """Check that a class takes its options.

    Args:
        argument: The optimiser's argument that holds the options, for errors.
        kind: The class.
        given: Name to value.
        required: Whether what has no default must be among them.

    Raises:
        ConfigError: If an option is unknown or missing.
    """
    taken = {name: value for name, value in inspect.signature(kind).parameters.items() if name not in _GIVEN}
    if any(value.kind is inspect.Parameter.VAR_KEYWORD for value in taken.values()):
        return
    missing = [name for name, value in taken.items() if required and value.default is value.empty and name not in given]
    faults = [f"there is no {name!r}" for name in sorted(set(given) - taken.keys())]
    faults += [f"{name!r} must be given" for name in missing]
    if faults:
        raise ConfigError(f"optimiser.{argument}: {kind.__name__} takes {', '.join(taken)}; {'; '.join(faults)}")
