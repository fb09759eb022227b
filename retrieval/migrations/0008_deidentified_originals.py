from django.db import migrations, models

from retrieval.services import naming

UIDS = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")


def map_uids(apps, schema_editor):
    """What was imported before is known by the same UIDs as what is imported from now on."""
    images = apps.get_model("retrieval", "MedicalImage").objects.exclude(**dict.fromkeys(UIDS, "")).order_by("pk")
    batch = []
    for image in images.only(*UIDS).iterator(chunk_size=2000):
        for field in UIDS:
            setattr(image, field, naming.instance_uid(getattr(image, field)))
        batch.append(image)
        if len(batch) == 2000:
            images.model.objects.bulk_update(batch, UIDS)
            batch = []
    images.model.objects.bulk_update(batch, UIDS)


class Migration(migrations.Migration):

    dependencies = [
        ('retrieval', '0007_dataset_deletion'),
    ]

    operations = [
        migrations.AddField(
            model_name='storedfile',
            name='stored_sha256',
            field=models.CharField(default='', help_text='Of the file as it is stored.', max_length=64),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='storedfile',
            name='is_deidentified',
            field=models.BooleanField(default=False, help_text='Whether metadata were removed before it was stored.'),
            preserve_default=False,
        ),
        migrations.AlterField(
            model_name='storedfile',
            name='sha256',
            field=models.CharField(help_text='Of the file that came in.', max_length=64, unique=True),
        ),
        # Files that are there already were stored as they came.
        migrations.RunSQL('UPDATE retrieval_storedfile SET stored_sha256 = sha256', migrations.RunSQL.noop),
        # A UID that was mapped cannot be told again.
        migrations.RunPython(map_uids, migrations.RunPython.noop),
    ]
