"""Every file of an import has a row now, not only those that were refused, and running imports can be cancelled."""

import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from retrieval.granting import granting

GROUPS = ["staff", "admin"]
PERMISSIONS = ["view_importedfile", "change_importjob"]
CARRY_OVER = """
INSERT INTO retrieval_importedfile (job_id, name, status, reason)
SELECT job_id, file, 'refused', reason FROM retrieval_rejection ORDER BY id
"""
CARRY_BACK = """
INSERT INTO retrieval_rejection (job_id, file, reason)
SELECT job_id, name, reason FROM retrieval_importedfile WHERE status = 'refused' ORDER BY id
"""


def forget_rejections(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    apps.get_model("contenttypes", "ContentType").objects.filter(app_label="retrieval", model="rejection").delete()


class Migration(migrations.Migration):

    dependencies = [
        ('retrieval', '0004_retiring'),
    ]

    operations = [
        migrations.CreateModel(
            name='ImportedFile',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(help_text='Its path in the folder or archive.', max_length=500)),
                ('status', models.CharField(choices=[('stored', 'stored'), ('duplicate', 'duplicate'), ('refused', 'refused')], max_length=10)),
                ('reason', models.TextField(blank=True, help_text='Why it was refused, in words for people.')),
                ('image', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='imported_files', to='retrieval.medicalimage')),
                ('job', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='files', to='retrieval.importjob')),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.RunSQL(CARRY_OVER, CARRY_BACK),
        migrations.DeleteModel(
            name='Rejection',
        ),
        migrations.RunPython(granting("retrieval", PERMISSIONS, groups=GROUPS), migrations.RunPython.noop),
        migrations.RunPython(forget_rejections, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name='importedfile',
            index=models.Index(fields=['job', 'status', 'id'], name='importedfile_of_a_status'),
        ),
        migrations.AddConstraint(
            model_name='importedfile',
            constraint=models.UniqueConstraint(fields=('job', 'name'), name='importedfile_once_a_job'),
        ),
        migrations.AddConstraint(
            model_name='importedfile',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('image', None), ('status', 'refused'), models.Q(('reason', ''), _negated=True)), models.Q(models.Q(('status', 'refused'), _negated=True), ('reason', '')), _connector='OR'), name='importedfile_reason_if_refused'),
        ),
    ]
