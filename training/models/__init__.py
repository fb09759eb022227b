from training.models.evaluations import EvaluatedImage, Evaluation
from training.models.runs import EpochMetrics, SplitImage, TrainingRun

__all__ = ["EpochMetrics", "EvaluatedImage", "Evaluation", "SplitImage", "TrainingRun"]
