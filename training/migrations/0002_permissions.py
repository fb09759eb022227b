"""Training is for staff and administrators. As for the groups themselves, this runs once."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from retrieval.granting import granting

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


def forbid(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    wanted = apps.get_model("auth", "Permission").objects.filter(content_type__app_label="training")
    for group in apps.get_model("auth", "Group").objects.filter(name__in=GROUPS):
        group.permissions.remove(*wanted)


class Migration(migrations.Migration):
    dependencies = [("training", "0001_initial"), ("retrieval", "0002_groups")]
    operations = [migrations.RunPython(granting("training", PERMISSIONS, groups=GROUPS), forbid)]
