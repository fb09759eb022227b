"""One word for each modality: words of manifests that were written in other letters are the same words."""

from typing import Any

from django.db import migrations

from retrieval.services.modalities import modality_name


def unify(apps: Any, schema_editor: object) -> None:  # noqa: ARG001
    images = apps.get_model("retrieval", "MedicalImage").objects
    for word in set(images.order_by().values_list("modality", flat=True).distinct()):
        if modality_name(word) != word:
            images.filter(modality=word).update(modality=modality_name(word))


class Migration(migrations.Migration):

    dependencies = [
        ('retrieval', '0012_import_sources'),
    ]

    operations = [
        migrations.RunPython(unify, migrations.RunPython.noop),
    ]
