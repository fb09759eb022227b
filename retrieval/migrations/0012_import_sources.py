"""Imports know how their source is called and what to tell of it, and have embedded what they stored however they end."""

from django.db import migrations, models


# What they stored was never embedded, until some later import was through.
EMBED_WHAT_IS_LEFT = "UPDATE retrieval_importjob SET embedding_due = true WHERE status IN ('failed', 'cancelled')"


class Migration(migrations.Migration):

    dependencies = [
        ('retrieval', '0011_stacks'),
    ]

    operations = [
        migrations.AddField(
            model_name='importjob',
            name='embedding_due',
            field=models.BooleanField(default=False, editable=False, help_text='What it stores has to be embedded, however it ends.'),
        ),
        migrations.AddField(
            model_name='importjob',
            name='source_name',
            field=models.CharField(blank=True, help_text='What a browser called it, where the path on the server would not tell.', max_length=1000),
        ),
        migrations.AddField(
            model_name='importjob',
            name='source_notes',
            field=models.JSONField(default=list, editable=False, help_text='What people should know of its manifest, in sentences.'),
        ),
        migrations.AddField(
            model_name='upload',
            name='note',
            field=models.TextField(blank=True, help_text='What of it was not imported and why, in words for people.'),
        ),
        migrations.AlterField(
            model_name='importedfile',
            name='status',
            field=models.CharField(choices=[('stored', 'stored'), ('duplicate', 'duplicate'), ('refused', 'refused'), ('skipped', 'skipped')], max_length=10),
        ),
        migrations.RunSQL(EMBED_WHAT_IS_LEFT, migrations.RunSQL.noop),
    ]
