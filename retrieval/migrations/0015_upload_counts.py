"""Uploads know how many files they have, and of how many bytes."""

from django.db import migrations, models


# Of those that are being sent: a finished one has no rows of files any more.
COUNT = """
UPDATE retrieval_upload SET file_count = files.count, size = files.bytes
FROM (SELECT upload_id, count(*) AS count, sum(size) AS bytes FROM retrieval_uploadedfile GROUP BY upload_id) AS files
WHERE files.upload_id = retrieval_upload.id
"""


class Migration(migrations.Migration):

    dependencies = [
        ('retrieval', '0014_slices_by_name'),
    ]

    operations = [
        migrations.AddField(
            model_name='upload',
            name='file_count',
            field=models.PositiveIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name='upload',
            name='size',
            field=models.PositiveBigIntegerField(default=0, editable=False, help_text='Bytes of all files, here or to come.'),
        ),
        migrations.RunSQL(COUNT, migrations.RunSQL.noop),
    ]
