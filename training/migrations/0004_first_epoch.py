from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("training", "0003_final_epochs")]

    operations = [
        migrations.AddField(
            model_name="trainingrun", name="epoch_began_at", field=models.DateTimeField(editable=False, null=True)
        ),
        migrations.AlterField(
            model_name="trainingrun",
            name="phase",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "waiting for the trainer"),
                    ("reading", "reading the images"),
                    ("preparing", "computing the frozen blocks"),
                    ("training", "training"),
                    ("validating", "validating"),
                    ("projecting", "fitting the projection"),
                    ("storing", "storing the model version"),
                    ("judging", "judging on the test images"),
                ],
                default="",
                editable=False,
                max_length=12,
            ),
        ),
    ]
