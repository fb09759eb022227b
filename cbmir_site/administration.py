"""The administration's name, menu and look (django-unfold). Colours are in static/css/admin.css."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def context(request: HttpRequest) -> dict[str, object]:  # noqa: ARG001
    """Without the theme's own colours, which it writes into each page: a style sheet holds ours."""
    return {"colors": None}


def _may(*permissions: str) -> Callable[[HttpRequest], bool]:
    return lambda request: any(map(request.user.has_perm, permissions))


def _of_model(title: str, *, model: str, icon: str) -> dict[str, Any]:
    """The list of a model, for those who may see it. Icons are names of Material Symbols, which the theme brings."""
    app, name = model.split(".")
    address = reverse_lazy(f"admin:{app}_{name}_changelist")
    return {"title": title, "icon": icon, "link": address, "permission": _may(f"{app}.view_{name}")}


def _of_site(title: str, *, page: str, permission: str, icon: str) -> dict[str, Any]:
    """A page outside of the administration: never the one that is open."""
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(page),
        "permission": _may(permission),
        "active": False,
    }


NAVIGATION = [
    {
        "title": "Archive",
        "items": [
            _of_model("Datasets", model="retrieval.dataset", icon="database"),
            _of_model("Images", model="retrieval.medicalimage", icon="radiology"),
            _of_model("Changes of images", model="retrieval.imagechange", icon="history"),
        ],
    },
    {
        "title": "Jobs",
        "items": [
            _of_model("Imports", model="retrieval.importjob", icon="upload_file"),
            _of_model("Indexing", model="retrieval.indexjob", icon="manage_search"),
            _of_model("Deletions", model="retrieval.datasetdeletion", icon="delete_sweep"),
        ],
    },
    {
        "title": "Networks",
        "items": [
            _of_model("Model versions", model="retrieval.modelversion", icon="deployed_code"),
            _of_model("Training runs", model="training.trainingrun", icon="model_training"),
            _of_model("Evaluations", model="training.evaluation", icon="fact_check"),
        ],
    },
    {
        "title": "People",
        "items": [
            _of_model("Users", model="auth.user", icon="person"),
            _of_model("Groups", model="auth.group", icon="group"),
        ],
    },
    {
        "title": "Back to the site",
        "separator": True,
        "items": [
            _of_site("Search", page="ask", permission="retrieval.add_query", icon="image_search"),
            _of_site("Browse datasets", page="dataset_list", permission="retrieval.view_dataset", icon="photo_library"),
            _of_site("Review", page="review", permission="retrieval.curate_medicalimage", icon="visibility"),
            _of_site("Training", page="training_home", permission="retrieval.view_modelversion", icon="monitoring"),
        ],
    },
]

UNFOLD = {
    "SITE_TITLE": "CBMIR administration",
    "SITE_HEADER": "CBMIR",
    "SITE_SUBHEADER": "Administration",
    "SITE_ICON": lambda request: static("img/mark.svg"),  # noqa: ARG005
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("img/mark.svg")},  # noqa: ARG005
    ],
    "STYLES": [
        lambda request: static("css/tokens.css"),  # noqa: ARG005
        lambda request: static("css/admin.css"),  # noqa: ARG005
    ],
    "SCRIPTS": [
        lambda request: static("js/theme.js"),  # noqa: ARG005
        lambda request: static("js/admin.js"),  # noqa: ARG005
    ],
    "GLOBAL_CALLBACK": "cbmir_site.administration.context",
    "SIDEBAR": {"show_search": False, "navigation": NAVIGATION},
}
