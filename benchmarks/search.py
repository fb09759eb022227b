"""Exact search in PostgreSQL through `find_neighbours`, beside what the memory and one matrix product can do.

    python -m benchmarks.search [--rows 5400] [--queries 200]

The vectors are random: exact search reads all of them, whatever they are.
"""

import argparse
import json
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.installation import use_own_installation
from benchmarks.measuring import median, memory_bandwidth, p95, seconds_of
from benchmarks.report import Report

if TYPE_CHECKING:
    from retrieval.models import ModelVersion
    from retrieval.services.searching import SearchFilter

LABELS = 18
DIMENSION = 512
TARGET_MS = 10
_WARM_UP = 10
_EXPLAINED = 20


def main() -> None:
    options = _options()
    report = Report("search", options=options)
    use_own_installation()
    from retrieval.services.searching import SearchFilter

    vectors = _unit_vectors(options.rows)
    version = _make_archive(vectors)
    queries = _unit_vectors(options.queries, seed=1)
    _measure(report, queries=queries, version=version, narrowed=SearchFilter(), name="all rows", target=TARGET_MS)
    _measure(report, queries=queries, version=version, narrowed=SearchFilter(label="label 0"), name="one label of 18")
    _measure_references(report, vectors=vectors, queries=queries)
    report.finish()
    for name, plan in report.details["plans"].items():
        print(f"\n  plan, {name}:\n" + "\n".join(f"    {line}" for line in plan))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5400)
    parser.add_argument("--queries", type=int, default=200)
    return parser.parse_args()


def _unit_vectors(count: int, *, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _make_archive(vectors: np.ndarray) -> "ModelVersion":
    """One image row and one embedding row for each vector. There are no files: search reads none."""
    from django.db import connection

    from retrieval.models import Dataset, Embedding, MedicalImage, ModelVersion, StoredFile

    version = ModelVersion.objects.create(number=1, architecture="published", weights_source="none", weights="none")
    dataset = Dataset.objects.create(name="benchmark")
    original = StoredFile.objects.create(sha256="0" * 64, file="none", size=0, is_deidentified=True)
    images = MedicalImage.objects.bulk_create(
        MedicalImage(
            dataset=dataset,
            original=original,
            frame_number=number + 1,
            preview=f"preview {uuid.uuid4()}",
            thumbnail=f"thumbnail {uuid.uuid4()}",
            width=256,
            height=256,
            label=f"label {number % LABELS}",
        )
        for number in range(len(vectors))
    )
    Embedding.objects.bulk_create(
        (
            Embedding(image=image, model_version=version, vector=vector)
            for image, vector in zip(images, vectors, strict=True)
        ),
        batch_size=1000,
    )
    with connection.cursor() as cursor:
        # As autovacuum does it within a minute.
        cursor.execute("VACUUM ANALYZE")
    return version


def _measure(
    report: Report,
    *,
    queries: np.ndarray,
    version: "ModelVersion",
    narrowed: "SearchFilter",
    name: str,
    target: float | None = None,
) -> None:
    from retrieval.services.searching import TOP_K, find_neighbours

    search = partial(find_neighbours, version=version, narrowed=narrowed)
    for query in queries[:_WARM_UP]:
        if len(search(query)) != TOP_K:
            raise RuntimeError(f"Fewer than {TOP_K} neighbours came back.")
    milliseconds = [seconds_of(partial(search, query)) * 1e3 for query in queries]
    report.add(f"find_neighbours, {name}, median", median(milliseconds), unit="ms", at_most=target)
    report.add(f"find_neighbours, {name}, p95", p95(milliseconds), unit="ms")
    plans = [_explained(query, search=search) for query in queries[:_EXPLAINED]]
    report.add(
        f"  of it in the database, {name}, median", median([each["Execution Time"] for each in plans]), unit="ms"
    )
    report.add(f"  and for planning, {name}, median", median([each["Planning Time"] for each in plans]), unit="ms")
    report.details.setdefault("plans", {})[name] = _plan_lines(plans[-1]["Plan"])


def _explained(query: np.ndarray, *, search: "partial[Any]") -> dict[str, Any]:
    """The plan of the very statement that `find_neighbours` sends first, as PostgreSQL reports it in JSON."""
    from django.db import connection

    statements: list[tuple[str, Any]] = []

    def remember(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:  # noqa: FBT001
        statements.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(remember):
        search(query)
    sql, params = statements[0]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", params)
        plan = cursor.fetchone()[0]
    return (json.loads(plan) if isinstance(plan, str) else plan)[0]


def _plan_lines(node: dict[str, Any], *, depth: int = 0) -> list[str]:
    """A plan as indented lines: what each step is, how many rows came out, when it was done, what it read."""
    table = f" on {node['Relation Name']}" if "Relation Name" in node else ""
    index = f" using {node['Index Name']}" if "Index Name" in node else ""
    line = (
        f"{'  ' * depth}{node['Node Type']}{index}{table}: {node['Actual Rows']:g} rows, "
        f"{node['Actual Total Time']:.2f} ms, {node['Shared Hit Blocks'] + node['Shared Read Blocks']} pages"
    )
    return [line, *(each for child in node.get("Plans", []) for each in _plan_lines(child, depth=depth + 1))]


def _measure_references(report: Report, *, vectors: np.ndarray, queries: np.ndarray) -> None:
    """The same rows in this process: one product of float32, and the time that reading them as halfvec must take."""
    milliseconds = [seconds_of(partial(np.matmul, vectors, query)) * 1e3 for query in queries]
    bandwidth = memory_bandwidth()
    limit = len(vectors) * DIMENSION * 2 / bandwidth * 1e3
    report.add("reference: numpy float32 matrix-vector product, median", median(milliseconds), unit="ms")
    report.add("reference: reading the half vectors once at the memory's speed", limit, unit="ms")
    report.add("  memory bandwidth, one thread copying", bandwidth / 1e9, unit="GB/s")
    report.add("  half vectors", len(vectors) * DIMENSION * 2 / 1e6, unit="MB")
    by_name = {figure.name: figure.value for figure in report.figures}
    spent = by_name["  of it in the database, all rows, median"]
    report.add("database time / matrix-vector product", spent / median(milliseconds), unit="times")
    report.note("The numpy product keeps its rows in the cache; both use one processor.")


if __name__ == "__main__":
    main()
