"""prep on a Ray cluster: the same bytes as by processes of this machine; skipped without the extra ``ray``."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import make_box
from test_prep import GRID, files_of

from lora3d.data_prep import on_ray
from lora3d.data_prep.folder import prep
from lora3d.data_prep.workers import Failure
from lora3d.errors import InputError
from lora3d.mesh import glb_bytes


def make_models(folder: Path) -> Path:
    folder.mkdir()
    for i in range(3):
        (folder / f"box{i}.glb").write_bytes(glb_bytes(make_box((1 + i, 1, 1), (0.3 * i, 0.5, 0.2))))
    (folder / "broken.glb").write_bytes(b"glTF")
    return folder


def test_without_ray_it_says_what_to_install(tmp_path: Path) -> None:
    try:
        import ray  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match=r"pip install 'lora3d\[ray\]'"):
            prep(make_models(tmp_path / "src"), tmp_path / "out", grid=GRID, license="MIT", ray="local")
    else:
        pytest.skip("Ray is installed")


@pytest.mark.extra
@pytest.mark.slow
def test_a_cluster_writes_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    src = make_models(tmp_path / "src")
    there = prep(src, tmp_path / "there", grid=GRID, license="MIT", ray="local")
    here = prep(src, tmp_path / "here", grid=GRID, license="MIT", workers=1)
    assert there.content_hash == here.content_hash and there.files == 4 and sum(there.rejected.values()) == 1
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")


@pytest.mark.extra
@pytest.mark.slow
def test_what_hangs_or_loses_its_machine_costs_no_more_than_its_chunk(monkeypatch) -> None:
    """The machine: the process of Ray's that a chunk runs under."""
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setattr(on_ray, "CHUNK", 1)
    monkeypatch.setattr(on_ray, "RETRIES", 1)
    lost = "__import__('os').kill(__import__('os').getppid(), 9)"
    tasks = ["'A'", "__import__('time').sleep(60)", lost, "'B'"]
    results = dict(on_ray.run_on_ray(eval, tasks, address="local", time_limit_s=1, memory_mb=4096))
    assert results == {
        0: "A",
        1: Failure("it took longer than 1 seconds"),
        2: Failure("its machine failed, each time that it was tried"),
        3: "B",
    }
