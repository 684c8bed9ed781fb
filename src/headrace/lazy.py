"""Public names that are imported when they are first used (PEP 562).

So importing a package costs nothing for what a program does not use: `hr.NpyFiles` loads neither
the network nor other formats. Requires the standard library alone.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def lazy_names(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package whose public names come from other modules.

    Type checkers do not follow it. They need the same names imported `if TYPE_CHECKING`.

    Args:
        package: its `__name__`.
        names: of each module by its full name, the names to take from it. None of them may be
            that of a module in the package, which the import of that module would bind instead.
    """
    module_of = {name: module for module, of_it in names.items() for name in of_it}

    def get(name: str) -> object:
        try:
            module = module_of[name]
        except KeyError:
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None
        value: object = getattr(import_module(module), name)
        setattr(sys.modules[package], name, value)  # the next use finds it without this function
        return value

    def list_names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *module_of})

    return get, list_names
