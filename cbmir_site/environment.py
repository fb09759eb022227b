"""The environment's variables as settings: an empty one is not set, and a value that says nothing is refused."""

import os
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

_OFF = ("false", "off", "n", "no", "0")


class Environment(environ.Env):
    """As environ.Env, which takes an empty variable, or a mistyped one, for a switch that is off.

    Raises ImproperlyConfigured with a sentence for a switch that is neither on nor off, and a number that is none.
    """

    def __init__(self) -> None:
        super().__init__()
        # A password or key that begins with a dollar is no name of another variable.
        self.escape_proxy = True
        self.ENVIRON = {name: value.replace("$", r"\$") for name, value in os.environ.items() if value}

    def get_value(self, var: str, cast: Any = None, **options: Any) -> Any:
        try:
            if cast is bool and self.ENVIRON.get(var, "1").lower() not in (*self.BOOLEAN_TRUE_STRINGS, *_OFF):
                raise ValueError
            return super().get_value(var, cast=cast, **options)
        except ValueError:
            wanted = "1 or 0" if cast is bool else "a number"
            raise ImproperlyConfigured(f"{var} is {wanted}, not {self.ENVIRON[var]!r}.") from None
