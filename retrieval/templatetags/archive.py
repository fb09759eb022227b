"""Small words and figures that the pages share."""

import base64
from collections.abc import Mapping

from django import template
from django.urls import reverse

from retrieval.models import MedicalImage

register = template.Library()


@register.filter
def similarity(distance: float) -> str:
    """Of a cosine distance: three decimals, since two images that look the same differ in the third."""
    return f"{1 - distance:.3f}"


@register.filter
def percent(share: float) -> str:
    """0.256 -> "26 %"; a share that is not nothing is never shown as 0 %, and one that is not all never as 100 %."""
    whole = round(share * 100)
    if share > 0 and whole == 0:
        return "< 1 %"
    if share < 1 and whole == 100:
        return "> 99 %"
    return f"{whole} %"


@register.filter
def share_of(part: int, whole: int | None) -> float:
    """Part of the whole, 0..1; 0 where the whole is nothing or not known yet."""
    return part / whole if whole else 0.0


@register.filter
def at(values: Mapping[int, str], key: int) -> str:
    """What stands at the key, or nothing."""
    return values.get(key, "")


@register.filter
def duration(seconds: float | None) -> str:
    """Time left, in words that do not change every second."""
    if seconds is None:
        return ""
    if seconds < 60:
        return "less than a minute"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 90 else f"about {round(minutes / 30) / 2:g} h"


@register.simple_tag
def held_count() -> int:
    """How many images wait for a person, for those who may look at them."""
    return MedicalImage.objects.held().count()


@register.filter
def inline_thumbnail(image: MedicalImage) -> str:
    """The thumbnail as a data: address, so that an answer arrives whole: twenty requests cost more than its search.

    Only for readers whose right to see the image has been checked. The usual address where the file is missing.
    """
    try:
        with image.thumbnail.open("rb") as file:
            return f"data:image/jpeg;base64,{base64.b64encode(file.read()).decode()}"
    except FileNotFoundError:
        return reverse("image_thumbnail", args=[image.uuid])
