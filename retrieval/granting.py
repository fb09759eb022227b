"""What migrations need to give rights to groups: Django itself creates permissions only after all of them."""

from collections.abc import Callable, Sequence

from django.apps.registry import Apps
from django.contrib.auth.management import create_permissions
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def granting(app: str, codenames: Sequence[str], *, groups: Sequence[str]) -> Callable:
    """Return a step for RunPython that gives the groups these permissions of the app, where the groups are there."""

    def grant(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:  # noqa: ARG001
        make_permissions_now(apps, app)
        permissions = apps.get_model("auth", "Permission").objects
        wanted = permissions.filter(content_type__app_label=app, codename__in=codenames)
        for group in apps.get_model("auth", "Group").objects.filter(name__in=groups):
            group.permissions.add(*wanted)

    return grant


def make_permissions_now(apps: Apps, *labels: str) -> None:
    for label in labels:
        config = apps.get_app_config(label)
        # It passes over apps that seem to have no models; those of a migration have no module.
        config.models_module = True  # type: ignore[assignment]
        create_permissions(config, apps=apps, verbosity=0)
        config.models_module = None
