"""The three groups of people and what each may do. Administrators can change them later; this runs once."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from retrieval.granting import make_permissions_now

CLINICIAN = ["retrieval.view_dataset", "retrieval.view_medicalimage", "retrieval.view_query", "retrieval.add_query"]
STAFF = [
    *CLINICIAN,
    "retrieval.add_dataset",
    "retrieval.change_dataset",
    "retrieval.add_importjob",
    "retrieval.view_importjob",
    "retrieval.view_rejection",
    "retrieval.add_indexjob",
    "retrieval.view_indexjob",
    "retrieval.view_indexbatch",
    "retrieval.view_indexfailure",
    "retrieval.add_modelversion",
    "retrieval.change_modelversion",
    "retrieval.view_modelversion",
]
ADMIN = [
    *STAFF,
    "retrieval.change_medicalimage",
    "retrieval.delete_medicalimage",
    "retrieval.delete_dataset",
    "auth.view_user",
    "auth.add_user",
    "auth.change_user",
    "auth.delete_user",
    "auth.view_group",
]


def create_groups(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    make_permissions_now(apps, "auth", "retrieval")
    group_model, permission_model = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    for name, wanted in {"clinician": CLINICIAN, "staff": STAFF, "admin": ADMIN}.items():
        group, _ = group_model.objects.get_or_create(name=name)
        for permission in wanted:
            app, codename = permission.split(".")
            group.permissions.add(permission_model.objects.get(content_type__app_label=app, codename=codename))


def remove_groups(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("auth", "Group").objects.filter(name__in=["clinician", "staff", "admin"]).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("retrieval", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(create_groups, remove_groups)]
