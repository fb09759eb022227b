"""Training is for staff and administrators. As for the groups themselves, this runs once."""

from django.apps.registry import Apps
from django.contrib.auth.management import create_permissions
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

GROUPS = ["staff", "admin"]
PERMISSIONS = [
    "view_trainingrun",
    "add_trainingrun",
    "change_trainingrun",
    "view_epochmetrics",
    "view_splitimage",
    "view_evaluation",
    "add_evaluation",
    "view_evaluatedimage",
]


def permit(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    make_permissions_now(apps)
    permissions = apps.get_model("auth", "Permission").objects
    wanted = permissions.filter(content_type__app_label="training", codename__in=PERMISSIONS)
    for group in apps.get_model("auth", "Group").objects.filter(name__in=GROUPS):
        group.permissions.add(*wanted)


def make_permissions_now(apps: Apps) -> None:
    """Django creates permissions after all migrations; the groups need them here."""
    config = apps.get_app_config("training")
    config.models_module = True
    create_permissions(config, apps=apps, verbosity=0)
    config.models_module = None


def forbid(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    wanted = apps.get_model("auth", "Permission").objects.filter(content_type__app_label="training")
    for group in apps.get_model("auth", "Group").objects.filter(name__in=GROUPS):
        group.permissions.remove(*wanted)


class Migration(migrations.Migration):
    dependencies = [("training", "0001_initial"), ("retrieval", "0002_groups")]
    operations = [migrations.RunPython(permit, forbid)]
