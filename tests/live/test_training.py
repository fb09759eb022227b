"""A trainer that is killed in the middle: the run goes on after its last epoch, and the site answers all the while."""

import psutil

from tests.live.test_killing import RECOVERY_SECONDS
from tests.live_site import LiveSite, wait_until

START = """
from retrieval.models import Dataset
from training.services.starting import start_run
recipe = {"architecture": "narrow", "epochs": 6, "patience": 6, "batch_size": 16}
dataset = Dataset.objects.get(name="Synthetic phantoms")
print(start_run(datasets=[dataset], recipe=recipe, weights="none").pk)
"""


def test_a_killed_trainer_costs_the_epoch_it_was_in(site: LiveSite) -> None:
    active = site.value("SELECT number FROM retrieval_modelversion WHERE status = 'active'")
    run = int(site.shell(START))
    epochs = "SELECT count(*) FROM training_epochmetrics WHERE run_id = %s"
    wait_until(lambda: site.value(epochs, (run,)) >= 2, seconds=RECOVERY_SECONDS, what="two epochs are done")
    first = "SELECT epoch, train_loss FROM training_epochmetrics WHERE run_id = %s AND epoch <= 2 ORDER BY epoch"
    before = site.query(first, (run,))
    trainer = site.worker("training")
    for process in [*trainer.children(recursive=True), trainer]:
        process.kill()
    row = "SELECT status, attempts, reason FROM training_trainingrun WHERE id = %s"
    assert site.query(row, (run,)) == [("running", 1, "")], "too late to be caught in the middle"
    wait_until(
        lambda: site.query(row, (run,)) == [("done", 2, "")], seconds=2 * RECOVERY_SECONDS, what="the run is done"
    )
    assert not psutil.pid_exists(trainer.pid)
    assert site.value(epochs, (run,)) == 6
    # Not learnt a second time: the figures of the epochs before are those of the first attempt.
    assert site.query(first, (run,)) == before
    assert site.value("SELECT number FROM retrieval_modelversion WHERE status = 'active'") == active
    judged = "SELECT count(*) FROM training_evaluation WHERE run_id = %s AND status = 'done'"
    assert site.value(judged, (run,)) == 2
    indexed = (
        "SELECT count(*) FROM retrieval_embedding e JOIN training_trainingrun r ON r.model_version_id ="
        " e.model_version_id WHERE r.id = %s"
    )
    total = site.value("SELECT count(*) FROM retrieval_medicalimage")
    wait_until(lambda: site.value(indexed, (run,)) == total, seconds=RECOVERY_SECONDS, what="the version is indexed")
    assert site.manage("check_archive")["ok"]
