"""The Embedder computes what the network computes, alone and in batches, and refuses single images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from retrieval.network import execution
from retrieval.network.embedder import NOTHING_TO_COMPARE, Embedder
from retrieval.network.errors import DegenerateEmbedding
from retrieval.network.execution import ModuleRunner, PackedBlocks, PackedRunner, best_dtype
from retrieval.network.preprocessing import CAFFE, TORCHVISION, load_image, prepare
from retrieval.network.projection import Projection, l2_normalised
from retrieval.network.version_file import save_version
from retrieval.network.vgg import VGG
from retrieval.network.weights import initial_weights
from tests.network.conftest import batch_of
from tests.pictures import drawn_pixels, png


def embedder_of(network: VGG, *, projection: Projection, precision: str = "float32") -> Embedder:
    return Embedder(network, preprocessing=TORCHVISION, projection=projection, device="cpu", precision=precision)


def cosine_distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return 1 - np.einsum("ij,ij->i", l2_normalised(left).astype(np.float64), l2_normalised(right))


def test_features_and_embeddings_are_those_of_the_network(narrow: VGG, projection: Projection) -> None:
    batch = batch_of(5)
    with torch.inference_mode():
        raw = narrow.image_features(prepare(batch, preprocessing=TORCHVISION)).numpy()
    # Dense and local ones, equally long.
    expected = np.concatenate([l2_normalised(raw[:, :512]), l2_normalised(raw[:, 512:])], axis=1)
    embedder = embedder_of(narrow, projection=projection)
    np.testing.assert_allclose(embedder.features(batch), l2_normalised(expected), atol=1e-5)
    np.testing.assert_allclose(embedder.embed(batch), projection.project(expected), atol=1e-5)


def test_a_version_of_before_local_features_embeds_as_it_did(
    tmp_path: Path, narrow: VGG, dense_projection: Projection
) -> None:
    path, batch = tmp_path / "version.safetensors", batch_of(5)
    save_version(path, network=narrow, preprocessing=TORCHVISION, projection=dense_projection, classes=[])
    with torch.inference_mode():
        dense = narrow.dense_features(prepare(batch, preprocessing=TORCHVISION)).numpy()
    embedder = Embedder.load(path, device="cpu", precision="float32")
    np.testing.assert_allclose(embedder.features(batch), l2_normalised(dense), atol=1e-5)
    np.testing.assert_allclose(embedder.embed(batch), dense_projection.project(dense), atol=1e-5)
    assert embedder.normalised_features([png(drawn_pixels(1))]).shape == (1, 512)


def test_embeddings_have_length_one(embedder: Embedder) -> None:
    for vectors, width in ((embedder.embed(batch_of(7)), 512), (embedder.features(batch_of(7)), 640)):
        assert vectors.shape == (7, width)
        assert vectors.dtype == np.float32
        assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-6), ("bfloat16", 1e-4)])
def test_an_image_has_the_same_vector_alone_and_in_a_batch(
    narrow: VGG, projection: Projection, precision: str, tolerance: float
) -> None:
    embedder, batch = embedder_of(narrow, projection=projection, precision=precision), batch_of(9)
    alone = np.concatenate([embedder.embed(batch[row : row + 1]) for row in range(9)])
    assert cosine_distances(embedder.embed(batch), alone).max() < tolerance
    assert np.array_equal(embedder.embed(batch), embedder.embed(batch))


def test_bfloat16_is_close_to_float32(narrow: VGG, projection: Projection) -> None:
    exact, quick = (embedder_of(narrow, projection=projection, precision=each) for each in ("float32", "bfloat16"))
    distances = cosine_distances(quick.embed(batch_of(6)), exact.embed(batch_of(6)))
    assert 0 < distances.max() < 1e-3


def test_without_packed_kernels_the_modules_give_the_same(
    narrow: VGG, projection: Projection, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = embedder_of(narrow, projection=projection)
    monkeypatch.setattr(execution, "_has_packed_kernels", lambda _: False)
    plain = embedder_of(narrow, projection=projection)
    assert isinstance(packed._run, PackedRunner)
    assert isinstance(plain._run, ModuleRunner)
    assert cosine_distances(packed.embed(batch_of(3)), plain.embed(batch_of(3))).max() < 1e-6


@pytest.mark.parametrize(("place", "changed", "layers"), [(2, None, 2), (2, "weight", 3), (2, "bias", 3), (0, None, 3)])
def test_a_convolution_that_changes_nothing_is_not_computed(place: int, changed: str | None, layers: int) -> None:
    blocks = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
    blocks.append(nn.MaxPool2d(2))
    identity = blocks[place]
    nn.init.dirac_(identity.weight)
    nn.init.zeros_(identity.bias)
    if changed:
        getattr(identity, changed).data.flatten()[0] += 0.01
    images = torch.randn(3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        packed = PackedBlocks(blocks, dtype=torch.float32, side=16)
        # A first convolution gets what may be negative: its ReLU changes that.
        torch.testing.assert_close(packed(images), blocks(images), atol=1e-6, rtol=0)
    assert len(packed._layers) == layers


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_network_is_not_changed_and_not_needed_afterwards(
    narrow: VGG, projection: Projection, precision: str
) -> None:
    narrow.train()
    with torch.no_grad():
        for name, parameter in narrow.named_parameters():
            if name.endswith("bias"):
                parameter.fill_(0.1)
    embedder = embedder_of(narrow, projection=projection, precision=precision)
    before = embedder.embed(batch_of(2))
    assert narrow.training
    assert narrow.features[0].weight.dtype == torch.float32
    with torch.no_grad():
        for parameter in narrow.parameters():
            parameter.zero_()
    assert np.array_equal(embedder.embed(batch_of(2)), before)


def test_an_empty_batch_has_no_embeddings(embedder: Embedder) -> None:
    empty = np.zeros((0, 224, 224, 3), np.uint8)
    assert embedder.embed(empty).shape == (0, 512)
    assert embedder.features(empty).shape == (0, 640)


def test_previews_are_embedded_in_order_as_one_by_one(embedder: Embedder, tmp_path: Path) -> None:
    previews: list[bytes | Path] = [png(drawn_pixels(seed)) for seed in range(10)]
    (tmp_path / "preview.png").write_bytes(previews[4])
    previews[4] = tmp_path / "preview.png"
    batches = list(embedder.embed_images(iter(previews), batch_size=4))
    assert [len(batch.vectors) for batch in batches] == [4, 4, 2]
    assert not any(batch.refusals for batch in batches)
    alone = np.concatenate([embedder.embed(load_image(preview)[None]) for preview in previews])
    assert cosine_distances(np.concatenate([batch.vectors for batch in batches]), alone).max() < 1e-4
    assert list(embedder.embed_images([])) == []


@pytest.mark.parametrize("size", [1, 2, 16])
def test_a_bad_preview_is_refused_alone(embedder: Embedder, tmp_path: Path, size: int) -> None:
    sound = [png(drawn_pixels(seed)) for seed in range(3)]
    previews = [sound[0], b"no image", sound[1], tmp_path / "absent.png", sound[2]]
    batches = list(embedder.embed_images(previews, batch_size=size))
    vectors = np.concatenate([batch.vectors for batch in batches])
    refused = {row + size * number for number, batch in enumerate(batches) for row in batch.refusals}
    assert refused == {1, 3}
    assert not vectors[[1, 3]].any()
    (alone,) = embedder.embed_images(sound)
    assert cosine_distances(vectors[[0, 2, 4]], alone.vectors).max() < 1e-4


def test_a_sample_of_features_leaves_out_what_is_refused(narrow: VGG) -> None:
    """An embedder without a projection yet: what a new version's projection is fitted on."""
    embedder = Embedder(narrow, preprocessing=TORCHVISION, projection=None, device="cpu")
    sound = [png(drawn_pixels(seed)) for seed in range(3)]
    features = embedder.normalised_features([sound[0], b"no image", sound[1], sound[2]], batch_size=2)
    expected = embedder.features(np.stack([load_image(each) for each in sound]))
    assert cosine_distances(features, expected).max() < 1e-4
    assert embedder.normalised_features([]).shape == (0, 640)
    with pytest.raises(ValueError, match="no projection"):
        embedder.embed(batch_of(1))


def dead_for_black(network: VGG) -> VGG:
    """A network whose features of a black image are all zero: it passes brightness on, and nothing else."""
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                layer.weight.abs_()
                layer.bias.zero_()
        network.features[0].bias.fill_(float(network.features[0].weight[0].sum() * -1e3))
        network.features[0].weight.fill_(1e3)
    return network


def test_an_image_without_features_is_refused_alone(narrow: VGG, projection: Projection) -> None:
    embedder, batch = embedder_of(dead_for_black(narrow), projection=projection), batch_of(4) | 128
    batch[2] = 0
    with pytest.raises(DegenerateEmbedding) as raised:
        embedder.embed(batch)
    assert raised.value.rows == (2,)
    (found,) = embedder.embed_images([png(image) for image in batch], batch_size=4)
    assert found.refusals == {2: NOTHING_TO_COMPARE}
    assert np.abs(np.linalg.norm(found.vectors, axis=1) - [1, 1, 0, 1]).max() < 1e-5


def test_the_precision_follows_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for flags, expected in (
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({}, torch.float32),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda flags=flags: flags)
        assert best_dtype(cpu) == expected
        assert best_dtype(cpu, precision="float32") == torch.float32


def test_the_first_query_is_as_quick_as_the_next(version_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """load() has run the network once already."""
    calls: list[int] = []
    monkeypatch.setattr(PackedRunner, "__call__", lambda _self, images: calls.append(len(images)) or torch.ones(1, 640))
    Embedder.load(version_path, device="cpu")
    assert calls == [1]


@pytest.mark.real
@pytest.mark.skipif(best_dtype(torch.device("cpu")) == torch.float32, reason="it has no bfloat16: minutes an image")
def test_real_images_of_the_published_network(real_data: Path, published: VGG) -> None:
    """bfloat16 keeps what tells real images apart, and an image finds itself when its pixels were stored again."""
    import copy

    from PIL import Image

    from retrieval.network.projection import fit_projection

    network = copy.deepcopy(published)
    initial_weights(network, source=real_data / "weights" / "vgg16_conv1-3.safetensors")
    folders = sorted(path for path in (real_data / "archive18").iterdir() if path.is_dir())[::3]
    files = [path for folder in folders for path in sorted(folder.iterdir())[:2]]
    batch = np.stack([load_image(png(np.asarray(Image.open(path).convert("RGB")))) for path in files])
    projection = fit_projection(np.zeros((0, published.architecture.width), np.float32))
    vectors = {}
    for precision in ("float32", "bfloat16"):
        embedder = Embedder(network, preprocessing=CAFFE, projection=projection, device="cpu", precision=precision)
        vectors[precision] = embedder.embed(batch)
    similarities = vectors["bfloat16"] @ vectors["float32"].T
    assert (similarities.argmax(axis=1) == np.arange(len(files))).all()
    assert cosine_distances(vectors["bfloat16"], vectors["float32"]).max() < 1e-3
