"""An evaluation in lines for a terminal."""

from collections.abc import Iterator
from typing import Any

FLATTERS = "These images come from the same sources as those it learnt from. Images from elsewhere: --queries FOLDER."


def lines_of_report(report: dict[str, Any]) -> Iterator[str]:
    yield f"{report['queries']} queries in a gallery of {report['gallery']} images"
    if whole := report.get("sampled_from"):
        yield f"  a sample, evenly spread: there are {whole['queries']} test images and {whole['gallery']} others"
    yield f"  accuracy ({report['accuracy_by']}) {_figure(report['accuracy'])}"
    yield "  " + "  ".join(f"P@{k} {_figure(value)}" for k, value in report["p_at"].items())
    yield f"  mAP@20 {_figure(report['map_at_20'])}"
    if features := report.get("features"):
        precisions = "  ".join(f"P@{k} {_figure(value)}" for k, value in features["p_at"].items())
        yield f"  dense features, not projected: {precisions}  mAP@20 {_figure(features['map_at_20'])}"
    if (best := report["best_p_at_20"]) is not None and best < 1:
        yield f"  some classes have fewer than 20 images in the gallery: a perfect ranking would have P@20 {best:.4f}"
    width = max((len(label) for label in report["per_class"]), default=0)
    for label, own in sorted(report["per_class"].items()):
        yield (
            f"  {label:{width}}  {own['queries']:5d} queries  accuracy {_figure(own['accuracy'])}  "
            f"P@20 {_figure(own['p_at_20'])}  mAP@20 {_figure(own['map_at_20'])}"
        )
    for label, own in sorted(report.get("unknown", {}).items()):
        told = "" if own.get("unlike") is None else f", {own['unlike']:.1%} called unlike the archive"
        yield f"  {label}: no such class in the archive, {own['queries']} queries, AUROC {_figure(own['auroc'])}{told}"
    if report.get("unlike") is not None:
        yield f"  of the known classes {report['unlike']:.1%} are called unlike the archive"
    left_out = report.get("left_out", {})
    if any(left_out.values()):
        yield (
            f"  left out: {left_out['refused']} that are no readable images, {left_out['unlabelled']} without a class, "
            f"{left_out['already_in_archive']} that the archive has already"
        )
    if "unknown" not in report:
        yield FLATTERS


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
