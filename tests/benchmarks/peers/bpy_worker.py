"""Blender's Cycles in its own environment, 4 samples a pixel: see pyrender_worker.py for what it reads and answers.

``{"open": FILE}`` is answered with what Blender finds in the file.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from contextlib import contextmanager

import bpy
from mathutils import Matrix, Vector
from mathutils.bvhtree import BVHTree


@contextmanager
def quiet():
    """Blender reports every render on standard output, which is ours to answer on."""
    own, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    try:
        yield
    finally:
        os.dup2(own, 1)
        os.close(own)
        os.close(null)


def build(glb: str) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=glb)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device, scene.cycles.samples, scene.cycles.use_denoising = "CPU", 4, False
    scene.cycles.use_adaptive_sampling = False
    scene.render.use_persistent_data = True
    scene.render.film_transparent = True
    scene.render.threads_mode, scene.render.threads = "FIXED", len(os.sched_getaffinity(0))
    layer = bpy.context.view_layer
    layer.use_pass_z = layer.use_pass_normal = True
    world = bpy.data.worlds.new("world")
    scene.world = world
    lens = bpy.data.cameras.new("camera")
    scene.camera = bpy.data.objects.new("camera", lens)
    scene.collection.objects.link(scene.camera)
    lamp = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    scene.collection.objects.link(lamp)


def crossings(mesh: bpy.types.Mesh) -> int:
    """Pairs of faces that cut each other and share no corner (corners in one place are one)."""
    places: dict[tuple[float, ...], int] = {}
    corner = [places.setdefault(tuple(v.co), len(places)) for v in mesh.vertices]
    faces = [tuple(corner[i] for i in p.vertices) for p in mesh.polygons]
    tree = BVHTree.FromPolygons([Vector(p) for p in places], faces)
    return sum(i < j and not set(faces[i]) & set(faces[j]) for i, j in tree.overlap(tree))


def looked_at(glb: str) -> dict:
    """What Blender finds in a file: faces, materials with a picture, the box's sides in metres, faces that cross."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=glb)
    meshes = [o for o in bpy.context.scene.objects if o.type == "MESH"]
    corners = [o.matrix_world @ Vector(c) for o in meshes for c in o.bound_box]
    materials = {s.material for o in meshes for s in o.material_slots if s.material}
    return {
        "faces": sum(len(o.data.polygons) for o in meshes),
        "materials": len(materials),
        "pictures": sum(
            any(n.type == "TEX_IMAGE" and n.image and n.image.size[0] for n in m.node_tree.nodes)
            for m in materials
        ),
        "crossings": sum(crossings(o.data) for o in meshes),
        "sides": [max(c[i] for c in corners) - min(c[i] for c in corners) for i in range(3)],
    }


def main() -> None:
    shown = ""
    for line in sys.stdin:
        ask = json.loads(line)
        if "open" in ask:
            with quiet():
                found = looked_at(ask["open"])
            print(json.dumps(found), flush=True)
            continue
        with quiet():
            if ask["glb"] != shown:
                build(ask["glb"])
                shown = ask["glb"]
            scene = bpy.context.scene
            scene.render.resolution_x = scene.render.resolution_y = ask["size"]
            start = time.perf_counter()
            for camera in ask["cameras"]:
                values = camera["camera_to_world"]
                scene.camera.matrix_world = Matrix([values[i : i + 4] for i in (0, 4, 8, 12)])
                scene.camera.data.angle = math.radians(camera["fov_deg"])
                bpy.ops.render.render(write_still=False)
            seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
