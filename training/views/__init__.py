from training.views.comparing import version_compare
from training.views.evaluations import evaluation_cancel, evaluation_detail
from training.views.home import training_home
from training.views.runs import run_cancel, run_detail
from training.views.starting import run_start
from training.views.versions import version_activate, version_retire, version_roll_back

__all__ = [
    "evaluation_cancel",
    "evaluation_detail",
    "run_cancel",
    "run_detail",
    "run_start",
    "training_home",
    "version_activate",
    "version_compare",
    "version_retire",
    "version_roll_back",
]
