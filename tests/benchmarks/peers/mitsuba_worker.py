"""Mitsuba in its own environment: what rays meet, for every .npz named on a line of standard input.

In: vertices (v, 3), faces (f, 3), normals (v, 3) or none, origins and directions (n, 3), float32. Out, beside it as
NAME.out.npz: distance (n,), inf for a miss; geometric and shading normals (n, 3). A line "done" answers each.
"""

from __future__ import annotations

import sys

import mitsuba as mi
import numpy as np

mi.set_variant("llvm_ad_mono")


def build(data) -> mi.Scene:
    smooth = len(data["normals"]) > 0
    mesh = mi.Mesh("mesh", len(data["vertices"]), len(data["faces"]), has_vertex_normals=smooth)
    fields = mi.traverse(mesh)
    fields["vertex_positions"] = data["vertices"].astype(np.float32).ravel()
    fields["faces"] = data["faces"].astype(np.uint32).ravel()
    if smooth:
        fields["vertex_normals"] = data["normals"].astype(np.float32).ravel()
    fields.update()
    return mi.load_dict({"type": "scene", "mesh": mesh})


def main() -> None:
    for line in sys.stdin:
        path = line.strip()
        data = np.load(path)
        scene = build(data)
        columns = [mi.Float(np.ascontiguousarray(a)) for k in ("origins", "directions") for a in data[k].T]
        hit = scene.ray_intersect(mi.Ray3f(mi.Point3f(*columns[:3]), mi.Vector3f(*columns[3:])))
        met = np.array(hit.is_valid())
        np.savez(
            path.removesuffix(".npz") + ".out.npz",
            distance=np.where(met, np.array(hit.t), np.inf),
            geometric=np.array(hit.n).reshape(3, -1).T,
            shading=np.array(hit.sh_frame.n).reshape(3, -1).T,
        )
        print("done", flush=True)


if __name__ == "__main__":
    main()
