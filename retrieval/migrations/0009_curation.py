"""Images may be held until a person has looked at them, or taken out; what people change of images is kept."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from retrieval.granting import granting

# Those who may administer datasets.
GROUPS = ["staff", "admin"]
PERMISSIONS = ["curate_medicalimage", "view_imagechange"]


class Migration(migrations.Migration):

    dependencies = [
        ('retrieval', '0008_deidentified_originals'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ImageChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('field', models.CharField(choices=[('standing', 'standing'), ('label', 'label')], max_length=10)),
                ('old', models.CharField(blank=True, max_length=100)),
                ('new', models.CharField(blank=True, max_length=100)),
                ('note', models.TextField(blank=True)),
                ('changed_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['-pk'],
                'default_permissions': ('view',),
            },
        ),
        migrations.AlterModelOptions(
            name='medicalimage',
            options={'ordering': ['pk'], 'permissions': [('curate_medicalimage', 'Can see held images, release, exclude and relabel')]},
        ),
        migrations.AddField(
            model_name='dataset',
            name='review_all',
            field=models.BooleanField(default=False, help_text='For images that may have names or dates drawn into them. Holds for imports from now on.', verbose_name='look at every image before it is shown'),
        ),
        migrations.AddField(
            model_name='medicalimage',
            name='held_reason',
            field=models.CharField(blank=True, editable=False, help_text='Why a person has to look at it, in words for people.', max_length=300),
        ),
        migrations.AddField(
            model_name='medicalimage',
            name='standing',
            field=models.CharField(choices=[('shown', 'shown'), ('held', 'waits to be looked at'), ('excluded', 'taken out of the archive')], default='shown', editable=False, max_length=10),
        ),
        migrations.AddIndex(
            model_name='medicalimage',
            index=models.Index(condition=models.Q(('standing', 'held')), fields=['dataset'], name='medicalimage_held'),
        ),
        migrations.AddConstraint(
            model_name='medicalimage',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('standing', 'held'), _negated=True), models.Q(('held_reason', ''), _negated=True), _connector='OR'), name='medicalimage_held_has_reason'),
        ),
        migrations.AddField(
            model_name='imagechange',
            name='changed_by',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='image_changes', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='imagechange',
            name='image',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='changes', to='retrieval.medicalimage'),
        ),
        migrations.AddConstraint(
            model_name='imagechange',
            constraint=models.CheckConstraint(condition=models.Q(('old', models.F('new')), _negated=True), name='imagechange_changes_something'),
        ),
        migrations.RunPython(granting("retrieval", PERMISSIONS, groups=GROUPS), migrations.RunPython.noop),
    ]
