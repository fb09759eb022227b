from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("training", "0002_permissions")]

    operations = [
        migrations.AlterField(
            model_name="epochmetrics", name="val_accuracy", field=models.FloatField(null=True)
        ),
        migrations.AlterField(
            model_name="epochmetrics", name="val_loss", field=models.FloatField(null=True)
        ),
    ]
