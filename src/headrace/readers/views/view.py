"""View: what readers of other readers have in common."""

import functools


class View:
    """A pickle of it has what it was made of, and nothing that was computed since.

    That is computed again where it is asked for, so that a pickle, of which `Cached` tells whether
    it has kept these samples, does not depend on what was asked for before.
    """

    def __getstate__(self) -> dict[str, object]:
        computed = {
            name
            for kind in type(self).__mro__
            for name, value in vars(kind).items()
            if isinstance(value, functools.cached_property)
        }
        return {name: value for name, value in vars(self).items() if name not in computed}
