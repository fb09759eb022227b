"""Datasets can be deleted, by administrators."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from retrieval.granting import granting


class Migration(migrations.Migration):

    dependencies = [
        ('retrieval', '0006_uploads'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='DatasetDeletion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('status', models.CharField(choices=[('queued', 'waiting'), ('running', 'running'), ('done', 'done'), ('failed', 'failed'), ('cancelled', 'cancelled')], default='queued', editable=False, max_length=10)),
                ('attempts', models.PositiveSmallIntegerField(default=0, editable=False)),
                ('queued_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('started_at', models.DateTimeField(editable=False, null=True)),
                ('heartbeat_at', models.DateTimeField(editable=False, null=True)),
                ('lease_expires_at', models.DateTimeField(editable=False, null=True)),
                ('finished_at', models.DateTimeField(editable=False, null=True)),
                ('cancel_requested', models.BooleanField(default=False, editable=False)),
                ('reason', models.TextField(blank=True, editable=False, help_text='Why it failed, in words for people.')),
                ('done', models.PositiveIntegerField(default=0, editable=False)),
                ('total', models.PositiveIntegerField(editable=False, null=True)),
                ('name', models.CharField(help_text="The dataset's, which is gone afterwards.", max_length=100)),
                ('leaving', models.JSONField(default=list, editable=False)),
                ('asked_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='dataset_deletions', to=settings.AUTH_USER_MODEL)),
                ('dataset', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='deletions', to='retrieval.dataset')),
            ],
            options={
                'ordering': ['-pk'],
                'abstract': False,
                'indexes': [models.Index(condition=models.Q(('status__in', ('queued', 'running'))), fields=['status'], name='datasetdeletion_unfinished')],
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('status', 'failed'), _negated=True), models.Q(('reason', ''), _negated=True), _connector='OR'), name='datasetdeletion_failed_has_reason'), models.CheckConstraint(condition=models.Q(models.Q(('status', 'running'), _negated=True), ('lease_expires_at__isnull', False), _connector='OR'), name='datasetdeletion_running_has_lease'), models.UniqueConstraint(condition=models.Q(('status__in', ('queued', 'running'))), fields=('dataset',), name='datasetdeletion_one_unfinished')],
            },
        ),
        # The right to delete datasets itself is theirs from the beginning (0002).
        migrations.RunPython(granting("retrieval", ["view_datasetdeletion"], groups=["admin"]), migrations.RunPython.noop),
    ]
