"""Other renderers, each in an environment of its own that is made on first use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# pyrender 0.1.45 asks for PyOpenGL 3.1.0, which does not run on current Pythons: it is installed beside a newer one.
PACKAGES: dict[str, list[list[str]]] = {
    "pyrender": [
        [
            "numpy<2",
            "PyOpenGL==3.1.7",
            "freetype-py",
            "imageio",
            "networkx",
            "pyglet<2",
            "scipy",
            "six",
            "trimesh",
            "pillow",
        ],
        ["--no-deps", "pyrender==0.1.45"],
    ],
    "mitsuba": [["mitsuba", "numpy"]],
    "bpy": [["bpy"]],
}
NEEDS = {
    "pyrender": "Debian's libegl1 and libgl1-mesa-dri",
    "mitsuba": "Debian's libllvm15 (DRJIT_LIBLLVM_PATH names another)",
    "bpy": "the Python that its wheels are made for, and Debian's libx11-6, libxi6, libxxf86vm1, libsm6",
}


def start(name: str, home: Path) -> subprocess.Popen[str]:
    """Starts a peer's worker; makes its environment in ``home`` first. It answers each line with a line."""
    python = home / name / "bin" / "python"
    if not (home / name / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(home / name)], check=True)
        for packages in PACKAGES[name]:
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        (home / name / "ready").touch()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    libraries = [p for n in range(15, 25) for p in Path("/usr/lib").glob(f"*/libLLVM-{n}.so*")]
    if name == "mitsuba" and libraries:
        environment.setdefault("DRJIT_LIBLLVM_PATH", str(libraries[0]))
    return subprocess.Popen(
        [str(python), str(HERE / f"{name}_worker.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def ask(worker: subprocess.Popen[str], line: str) -> str:
    """One line there, one line back. Raises RuntimeError where the peer has died."""
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(line + "\n")
    worker.stdin.flush()
    while answer := worker.stdout.readline():
        # Some libraries print notices of their own.
        if answer.startswith(("done", "{")):
            return answer.strip()
    name = Path(str(worker.args[1])).stem.removesuffix("_worker")  # type: ignore[index]
    raise RuntimeError(f"{name} ended without an answer; it needs {NEEDS.get(name, 'more')}")
