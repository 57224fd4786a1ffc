"""One-sided sheets (leaves, paper, cloth) drawn from both sides, so that opposite views tell of one object.

Engines cull back faces. A leaf that only the front view shows is denied by the five other views, and what
most views deny no lift can keep. Closed parts stay as they are: there a culled face means something, as in
the inverted hulls that draw an outline.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lora3d.camera import Array
from lora3d.mesh import Mesh


def show_sheets(mesh: Mesh) -> Mesh:
    """The mesh with two-sided materials on its open parts, and a note where that changed anything."""
    one_sided = np.array([not m.double_sided for m in mesh.materials])
    turned = one_sided[mesh.face_material] & open_parts(mesh)
    if not turned.any():
        return mesh
    n = len(mesh.materials)
    return replace(
        mesh,
        materials=(*mesh.materials, *(replace(m, double_sided=True) for m in mesh.materials)),
        face_material=np.where(turned, mesh.face_material + n, mesh.face_material).astype(np.int32),
        notes=(*mesh.notes, "one-sided sheets are drawn from both sides"),
    )


def open_parts(mesh: Mesh) -> Array:
    """Which faces (f,) bool belong to a part with a border: a connected surface that encloses nothing.

    Vertices at one place are one. A border is an edge of an odd number of faces.
    """
    _, place = np.unique(mesh.vertices, axis=0, return_inverse=True)
    corners = place.reshape(-1)[mesh.faces]
    edges = np.sort(np.stack([corners, np.roll(corners, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    _, edge, count = np.unique(edges, axis=0, return_inverse=True, return_counts=True)
    edge = edge.reshape(-1, 3)
    border = (count[edge] % 2 == 1).any(axis=1)
    if not border.any():
        return border
    from scipy.sparse import coo_array  # a sixth of a second, which closed models need not wait for
    from scipy.sparse.csgraph import connected_components

    faces = np.repeat(np.arange(len(edge)), 3)
    shared = coo_array((np.ones(len(faces), bool), (faces, edge.reshape(-1))), (len(edge), len(count)))
    _, part = connected_components(shared @ shared.T, directed=False)
    return np.bincount(part, weights=border, minlength=part.max() + 1)[part] > 0
