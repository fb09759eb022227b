"""Figures of training and judging, written the same way on every page; a dash where there is none."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import template

register = template.Library()
NOTHING = "–"  # noqa: RUF001
# A template hands over an empty text where a row has no figures at all.
Figure = float | None | str


def _written(value: Figure, form: str) -> str:
    return form.format(value).replace("-", "−") if isinstance(value, int | float) else NOTHING  # noqa: RUF001


@register.filter
def pairs(values: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """By name. Names that people choose may be "items": `.items` in a template is the value of that one then."""
    return sorted(values.items())


@register.filter
def figure(value: Figure) -> str:
    """P@k, AP@k and losses: three decimals, since versions differ in the third."""
    return _written(value, "{:.3f}")


@register.filter
def rate(share: Figure) -> str:
    """0.9853 -> "98.5 %"."""
    return _written(share, "{:.1%}").replace("%", " %")


@register.filter
def difference(value: Figure) -> str:
    """With its sign."""
    return _written(value, "{:+.3f}")


@register.filter
def rate_difference(share: Figure) -> str:
    """In points of a percentage, with its sign."""
    return _written(share, "{:+.1%}").replace("%", " points")


@register.filter
def points(share: float) -> str:
    """A percentage without its sign, for a narrow cell; what is not nothing is never shown as 0, nor a part as 100."""
    return str(min(99, max(1, round(100 * share))) if 0 < share < 1 else round(100 * share))
