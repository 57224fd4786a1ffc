"""How fast `prep` is, what it needs, and whether it survives.

    python tests/benchmarks/prep_speed.py art     [--art ../shared/art] [--workers 1 2] [--only all]
    python tests/benchmarks/prep_speed.py corpus  [--shared ../shared]
    python tests/benchmarks/prep_speed.py memory  [--counts 250 1000 4000]
    python tests/benchmarks/prep_speed.py kill    [--art ../shared/art] [--times 20]

art: every pack whole, then all as one folder, 7 pictures of 256 px a row (six views and the drawing, and depths),
load to write. corpus: the
odd and broken files, each kept or explained. memory: procedural models in growing numbers, the greatest resident set
of the process that gathers. kill: SIGKILL at random moments, resumed, compared byte by byte.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import multiprocessing
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from lora3d.data_prep.folder import prep
from lora3d.data_prep.sources import find_assets
from lora3d.dataset import read_dataset
from lora3d.errors import InputError
from lora3d.grid import PRESETS
from lora3d.mesh import glb_bytes


def join_packs(packs: list[Path], to: Path) -> Path:
    """Packs as one artist's folder: a copy of each, and a metadata.csv that states what theirs do."""
    lines = []
    for pack in packs:
        shutil.copytree(pack, to / pack.name)
        (to / pack.name / "metadata.csv").unlink(missing_ok=True)
        for asset in find_assets(pack).assets:
            drawings = ";".join(f"{pack.name}/{drawing.file}" for drawing in asset.drawings)
            lines.append(
                (
                    f"{pack.name}/{asset.file}",
                    asset.caption,
                    asset.license,
                    asset.artist,
                    asset.source,
                    drawings,
                )
            )
    with (to / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "caption", "license", "artist", "source", "drawing"), *lines])
    return to


def run_art(args: argparse.Namespace) -> None:
    packs = [p for p in sorted(args.art.iterdir()) if p.is_dir() and any(p.rglob("*.gl*"))]
    with tempfile.TemporaryDirectory() as folder:
        sources = [*packs, join_packs(packs, Path(folder) / "all")]
        for source in (s for s in sources if not args.only or s.name in args.only):
            seconds: list[float] = []
            for workers in args.workers:
                marks: list[float] = []
                start = time.perf_counter()
                report = prep(
                    source,
                    Path(folder) / f"{source.name}-{workers}",
                    grid=PRESETS["box6"].with_tile(256),
                    allow_unlicensed=True,
                    workers=workers,
                    progress=lambda done, of, marks=marks: marks.append(time.perf_counter()),
                )
                taken, files = time.perf_counter() - start, len(marks)
                seconds.append(taken)
                steady = (files - 1) / (marks[-1] - marks[0])
                print(
                    f"{source.name:20} {workers} workers, {files:3} models, {report.rows:3} rows in {taken:5.1f} s: "
                    f"{files / taken:.2f} models/s, {steady:.2f} once started, {seconds[0] / taken:.2f} x",
                    flush=True,
                )


def run_corpus(args: argparse.Namespace) -> None:
    start = time.perf_counter()
    for name in ("robust", "art/awkward"):
        src = args.shared / name
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "set"
            report = prep(src, out, allow_unlicensed=True)
            rejected = {}
            for line in (out / "rejected.jsonl").read_text(encoding="utf-8").splitlines():
                fields = json.loads(line)
                rejected[fields["file"]] = fields["reason"]
            assert report.files == report.assets + len(rejected)
            for row in read_dataset(out).rows():
                depths = row.tiles[list(PRESETS["box6"].indices("depth"))]
                assert (depths > 0).any(), f"{row.file} is blank"
        with (src / "expected.csv").open(newline="", encoding="utf-8") as file:
            usable = [r["file"].removeprefix("awkward/") for r in csv.DictReader(file) if r["usable"] == "y"]
        gone = {f: rejected[f] for f in usable if f in rejected and "duplicate" not in rejected[f]}
        print(f"{name}: {report.files} files, {report.assets} kept, {len(rejected)} explained")
        print(f"  {len(usable)} usable; refused of them: {json.dumps(gone, indent=2)}")
    print(f"{time.perf_counter() - start:.1f} s in all")


def make_models(src: Path, count: int) -> None:
    """Procedural models, named ones and assemblies, as GLB."""
    from lora3d.data_prep.procedural import make_shape

    src.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        mesh = make_shape(i, "named" if rng.random() < 0.5 else "assembly").mesh
        (src / f"shape{i}.glb").write_bytes(glb_bytes(mesh))


def run_memory(args: argparse.Namespace) -> None:
    """Each count in a process of its own: a greatest resident set only grows."""
    if len(args.counts) > 1:
        for count in args.counts:
            subprocess.run([sys.executable, __file__, "memory", "--counts", str(count)], check=True)
        return
    count = args.counts[0]
    with tempfile.TemporaryDirectory() as folder:
        src = Path(folder) / "models"
        # In a process of its own: what making them needs is not what gathering them does.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as maker:
            maker.submit(make_models, src, count).result()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        start = time.perf_counter()
        report = prep(src, Path(folder) / "set", grid=PRESETS["box6"].with_tile(32), license="CC0-1.0")
        taken = time.perf_counter() - start
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(
            f"{count} models ({report.assets} kept): {own:.0f} MiB ({before:.0f} before), the largest worker "
            f"{worker:.0f} MiB, {count / taken:.1f} models/s",
            flush=True,
        )


def run_kill(args: argparse.Namespace) -> None:
    def command(out: Path, workers: int) -> list[str]:
        call = ["prep", str(args.art / "quaternius_space"), "--out", str(out), "--tile", "64"]
        return [sys.executable, "-m", "lora3d", *call, "--json", "--workers", str(workers)]

    def files(folder: Path) -> dict[str, str]:
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}

    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        start = time.perf_counter()
        subprocess.run(command(root / "whole", 2), check=True, stdout=subprocess.DEVNULL)
        taken = time.perf_counter() - start
        wanted = files(root / "whole")
        for k in range(args.times):
            out = root / f"killed{k}"
            process = subprocess.Popen(command(out, 2), stdout=subprocess.DEVNULL)
            moment = rng.uniform(0.2, taken)
            time.sleep(moment)
            process.send_signal(signal.SIGKILL)
            process.wait()
            parts = len(list(root.glob(f".{out.name}.parts/*.parquet")))
            try:
                subprocess.run(command(out, 1 + k % 2), check=True, capture_output=True)
            except subprocess.CalledProcessError as error:
                if not out.exists() or b"is a dataset already" not in error.stderr:
                    raise
            assert files(out) == wanted, f"killed after {moment:.1f} s: the bytes differ"
            left = [p.name for p in root.iterdir() if p.name.startswith(".")]
            assert not left, f"left behind: {left}"
            print(
                f"killed after {moment:.1f} of {taken:.1f} s with {parts} models done: the same bytes",
                flush=True,
            )
            shutil.rmtree(out)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("art", "corpus", "memory", "kill"))
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--art", type=Path, default=Path("../shared/art"))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", help="packs of art, by name, or all: the folder of them all")
    parser.add_argument("--counts", type=int, nargs="+", default=[250, 1000, 4000])
    parser.add_argument("--times", type=int, default=20)
    args = parser.parse_args()
    if args.what == "art":
        # Not above: prep's workers import this script anew, and prep itself needs no torch.
        from lora3d.device import measure_gflops

        print(f"{measure_gflops():.0f} GFLOP/s fp32", flush=True)
    try:
        {"art": run_art, "corpus": run_corpus, "memory": run_memory, "kill": run_kill}[args.what](args)
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
