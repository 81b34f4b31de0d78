"""Exceptions that only this program knows."""


class FixtureError(Exception):
    """Two arguments of its own, as applications write them."""

    def __init__(self, code, detail):
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self):
        return f"{self.code}: {self.detail}"


class KeywordOnlyError(Exception):
    """Cannot be rebuilt from its args: `args` is empty and the constructor wants a keyword."""

    def __init__(self, *, reason):
        super().__init__()
        self.reason = reason

    def __str__(self):
        return self.reason


class OpaqueError(Exception):
    """Carries an argument that JSON cannot express."""
