"""The page: one file without a network, every string as text, every model whole and drawn."""

import base64
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora3d.data_prep.artist_kit import to_mesh
from lora3d.data_prep.artist_models import buoy_cone, lantern_tall
from lora3d.mesh import Material, Mesh, load_glb_bytes, normalise
from lora3d.page import Item, Model, portrait, turntable, write_page

HOSTILE = '</script></pre><img src=x onerror=alert(1)>"\' onload="x {0} {title} & ünï'


class Elements(HTMLParser):
    """All elements with their attributes, and all text by element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append((self.elements[-1][0] if self.elements else "", data))


def textured_box() -> Mesh:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32) * 0.28
    quads = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    faces = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))], np.int32)
    texture = np.random.default_rng(0).integers(0, 256, (16, 16, 4), dtype=np.uint8)
    uv = np.random.default_rng(1).random((len(faces), 3, 2)).astype(np.float32)
    return Mesh(corners, faces, np.zeros(len(faces), np.int32), (Material(texture=texture),), corner_uv=uv)


def page(out: Path, word: str = "word") -> str:
    lantern, buoy = (normalise(to_mesh(build())) for build in (lantern_tall, buoy_cone))
    before, after = f"{word} before", f"{word} after"
    models = [Model(before, textured_box(), word), Model(after, lantern, word), Model(word, buoy)]
    numbers = {"psnr": 12.345, "chamfer": None, "own": 2, "assets": [word], "ssim": float("nan")}
    write_page(
        out,
        title=word,
        intro=[word, word],
        items=[Item(word, portrait(lantern), models, word), Item(word, None, models)],
        summary={word: numbers, f"{word} 2": {"psnr": 17, word: 1.0}},
        compare=(before, after),
        training=[(word, portrait(buoy, size=64))],
        commands=[(word, word)],
        frames=3,
    )
    return out.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(tmp_path_factory.mktemp("page") / "deep" / "index.html")


def test_nothing_is_loaded_from_anywhere(html: str) -> None:
    for tag, attributes in Elements(html).elements:
        for name in ("src", "href", "srcset", "data", "action", "poster", "background"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value)
        assert tag not in ("iframe", "object", "embed", "base", "form")
    assert "default-src 'none'" in html
    for word in ("http:", "https:", "url(", "@import", "fetch(", "XMLHttpRequest", "WebSocket", "import("):
        assert word not in html


def test_every_string_is_text(html: str, tmp_path: Path) -> None:
    """A hostile string changes no element and no attribute's name; it arrives as it was written."""
    plain, hostile = Elements(html), Elements(page(tmp_path / "hostile.html", HOSTILE))
    shape = [(tag, tuple(attributes)) for tag, attributes in plain.elements]
    assert shape == [(tag, tuple(attributes)) for tag, attributes in hostile.elements]
    for tag in ("title", "h1", "h3", "pre", "p", "b", "th", "td", "figcaption"):
        text = "".join(data for where, data in hostile.texts if where == tag)
        assert HOSTILE in text, tag
    assert any(a.get("alt") == HOSTILE for _, a in hostile.elements)


def test_each_model_is_embedded_once_and_whole(html: str) -> None:
    scripts = re.findall(r'<script type="model/gltf-binary" id="([^"]+)">([^<]*)</script>', html)
    assert len(scripts) == 3
    names = {name for name, _ in scripts}
    shown = [a["data-model"] for _, a in Elements(html).elements if "data-model" in a]
    assert set(shown) == names
    meshes = [load_glb_bytes(base64.b64decode(data)) for _, data in scripts]
    wanted = [textured_box(), *(normalise(to_mesh(build())) for build in (lantern_tall, buoy_cone))]
    for mesh, want in zip(meshes, wanted, strict=True):
        assert len(mesh.faces) == len(want.faces)
        assert np.allclose(np.ptp(mesh.vertices, axis=0), np.ptp(want.vertices, axis=0), atol=1e-6)
    assert meshes[0].materials[0].texture is not None
    assert np.array_equal(meshes[0].materials[0].texture, wanted[0].materials[0].texture)


def test_numbers_are_tabled_and_gaps_are_shown(html: str) -> None:
    cells = [data for tag, data in Elements(html).texts if tag == "td"]
    assert "12.35" in cells or "12.34" in cells
    assert "17.00" in cells and "2.000" in cells and "–" in cells
    heads = [data for tag, data in Elements(html).texts if tag == "th"]
    assert "PSNR" in heads and "Chamfer" not in heads and "SSIM" not in heads and "assets" not in heads


def test_a_page_without_extras_has_no_empty_sections(tmp_path: Path) -> None:
    text = write_page(tmp_path / "a.html", title="t", intro="i", items=[]).read_text(encoding="utf-8")
    assert [tag for tag, _ in Elements(text).elements].count("h2") == 0


def test_turntables_move_on_a_transparent_ground_and_repeat() -> None:
    mesh = normalise(to_mesh(lantern_tall()))
    data = turntable(mesh, frames=4, size=48)
    assert data == turntable(mesh, frames=4, size=48)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 4 and image.size == (48, 48)
        frames = []
        for i in range(4):
            image.seek(i)
            frames.append(np.asarray(image.convert("RGBA"), dtype=float))
    assert all(frame[0, 0, 3] == 0 and frame[..., 3].max() == 255 for frame in frames)
    assert np.abs(frames[0] - frames[2]).mean() > 1


def test_the_pages_files_are_installed_with_the_package() -> None:
    pyproject = Path(__file__).resolve().parents[1] / "pyproject.toml"
    if not pyproject.is_file():
        pytest.skip("not run from a checkout")
    import tomllib

    data = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    assert {"page.css", "page.js"} <= set(data.get("lora3d", []))


@pytest.mark.slow
def test_a_browser_draws_the_models(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here to draw the page")
    page(tmp_path / "index.html")
    command = [browser, "--headless", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"]
    command += ["--enable-unsafe-swiftshader", "--disable-background-networking", "--window-size=1200,2400"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{tmp_path}/index.html"]
    drawn = 0
    for budget_ms in (4_000, 20_000, 80_000):  # of the browser's clock, which outruns a busy machine
        done = subprocess.run(
            [*command, f"--virtual-time-budget={budget_ms}"], capture_output=True, timeout=120
        )
        classes = [a.get("class") for tag, a in Elements(done.stdout.decode()).elements if tag == "figure"]
        drawn = classes.count("viewer live")
        if drawn:
            break
    assert drawn > 0
