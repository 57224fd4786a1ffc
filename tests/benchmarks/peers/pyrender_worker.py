"""pyrender in its own environment: renders what its standard input asks for and answers with seconds.

In: one JSON line {"glb", "cameras", "size", "shading"}; out: one JSON line {"seconds"}, and, where "save" names
a file, the pictures as .npz. RGBA and depth come from one pass, normals (8 bit) from a second.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ["PYOPENGL_PLATFORM"] = "egl"

import numpy as np
import pyrender
import trimesh
from pyrender.shader_program import ShaderProgramCache

HERE = Path(__file__).resolve().parent
# World (Z up) to GLB (Y up), as homogeneous columns: (x, y, z) -> (x, z, -y).
TO_Y_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


class NormalShaders(ShaderProgramCache):
    """Every material is drawn by the two shaders beside this file."""

    def get_program(self, vertex_shader, fragment_shader, geometry_shader=None, defines=None):
        return super().get_program("normals.vert", "normals.frag", None, defines)


def build(glb: str, cameras: list[dict], shading: str):
    loaded = trimesh.load(glb, force="scene")
    scene = pyrender.Scene.from_trimesh_scene(loaded, bg_color=(0, 0, 0, 0), ambient_light=(0.3, 0.3, 0.3))
    if shading == "studio":
        scene.add(pyrender.DirectionalLight(intensity=3.0), pose=TO_Y_UP @ np.eye(4))
    nodes = []
    for camera in cameras:
        pose = TO_Y_UP @ np.array(camera["camera_to_world"]).reshape(4, 4)
        if "fov_deg" in camera:
            lens = pyrender.PerspectiveCamera(
                np.radians(camera["fov_deg"]), znear=0.05, zfar=10.0, aspectRatio=1.0
            )
        else:
            half = camera["ortho_scale"] / 2
            lens = pyrender.OrthographicCamera(half, half, znear=0.05, zfar=10.0)
        nodes.append((lens, pose))
    return scene, nodes


def main() -> None:
    renderers: dict[int, pyrender.OffscreenRenderer] = {}
    scenes: dict[str, tuple] = {}
    for line in sys.stdin:
        ask = json.loads(line)
        size, key = ask["size"], json.dumps([ask["glb"], ask["cameras"], ask["shading"]])
        if key not in scenes:
            scenes[key] = build(ask["glb"], ask["cameras"], ask["shading"])
        for other in [s for s in renderers if s != size]:
            renderers.pop(other).delete()
        if size not in renderers:
            renderers[size] = pyrender.OffscreenRenderer(size, size)
        renderer = renderers[size]
        scene, nodes = scenes[key]
        own = renderer._renderer._program_cache
        normals = getattr(renderer, "normal_shaders", None) or NormalShaders(HERE)
        renderer.normal_shaders = normals
        flat = pyrender.RenderFlags.FLAT if ask["shading"] == "unlit" else pyrender.RenderFlags.NONE
        made = {"rgba": [], "depth": [], "normal": []}
        start = time.perf_counter()
        for lens, pose in nodes:
            node = scene.add(lens, pose=pose)
            scene.main_camera_node = node
            rgba, depth = renderer.render(scene, flags=flat | pyrender.RenderFlags.RGBA)
            renderer._renderer._program_cache = normals
            normal, _ = renderer.render(scene, flags=pyrender.RenderFlags.FLAT)
            renderer._renderer._program_cache = own
            scene.remove_node(node)
            for name, picture in (("rgba", rgba), ("depth", depth), ("normal", normal)):
                made[name].append(picture)
        seconds = time.perf_counter() - start
        if ask.get("save"):
            np.savez(ask["save"], **{k: np.stack(v) for k, v in made.items()})
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
