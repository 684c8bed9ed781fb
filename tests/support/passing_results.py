"""Results of an executor that are those of another one."""


class Passing:
    """Results that are passed on, but can't be closed; subclasses say something else of them."""

    copying_s = 0.0

    def __init__(self, results):
        self.results = results

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.results)

    @property
    def ready(self):
        return getattr(self.results, "ready", 0)


class Closable(Passing):
    def close(self):
        self.results.close()
