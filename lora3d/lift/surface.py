"""A signed field to one closed triangle mesh of a given size: marching cubes, then decimation.

Every edge of the result has exactly two faces, which run along it in opposite directions, outward.
"""

from __future__ import annotations

import math

import fast_simplification
import manifold3d
import numpy as np
import trimesh
from scipy import ndimage, sparse
from skimage.measure import marching_cubes
from trimesh.smoothing import filter_taubin

from lora3d.camera import Array
from lora3d.errors import InputError

NO_SOLID = "the views leave no solid: each contradicts the others everywhere; generate the grid again"

CREASE_DEG = 45.0
"""Faces that meet at a smaller angle are shaded as one surface."""

LEAST_PART = 5e-4
"""The least share of the volume that a loose part has."""


def clear(field: Array, crumb: float) -> Array:
    """The field (n, n, n) without loose crumbs and without bubbles.

    Parts under the share `crumb` of the solid are removed, and air that is shut in is filled.
    Raises InputError where nothing solid is left.
    """
    parts, count = ndimage.label(field < 0, np.ones((3, 3, 3)))
    if not count:
        raise InputError(NO_SOLID)
    volume = np.bincount(parts.ravel())
    volume[0] = 0
    loose = (volume < crumb * volume.sum()) & (volume < volume.max())
    loose[0] = False
    field = np.where(loose[parts], np.abs(field) + 1e-3, field)
    air, _ = ndimage.label(field >= 0)
    faces = [np.take(air, i, axis) for axis in range(3) for i in (0, -1)]
    open_air = np.unique(np.concatenate([f.ravel() for f in faces]))
    return np.where((air > 0) & ~np.isin(air, open_air), -np.abs(field) - 1e-3, field)


def is_closed(faces: Array) -> bool:
    """Whether each edge of triangles (f, 3) has exactly two faces that run along it in opposite directions."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    size = int(faces.max()) + 1
    forward = np.unique(edges[:, 0] * size + edges[:, 1])
    backward = np.unique(edges[:, 1] * size + edges[:, 0])
    return len(forward) == len(edges) and np.array_equal(forward, backward)


def volume(vertices: Array, faces: Array) -> float:
    """The signed volume inside; positive where faces are counter-clockwise seen from outside."""
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def creased_normals(vertices: Array, faces: Array) -> Array:
    """Unit normals of the corners of triangles (f, 3), (f, 3, 3) float32: smooth, but for edges over CREASE_DEG.

    At each corner the mean of the faces about its vertex, weighted by area, whose normals are within that angle of its
    own face's; of all of them where its own face has no area.
    """
    corners = vertices.astype(np.float64)[faces]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    unit = area / np.maximum(np.linalg.norm(area, axis=1, keepdims=True), 1e-20)
    count, ones = len(faces), np.ones(faces.size)
    about = sparse.csr_array((ones, (faces.ravel(), np.repeat(np.arange(count), 3))), (len(vertices), count))
    corner, other = about[faces.ravel()].nonzero()
    own = unit[corner // 3]
    near = (own * unit[other]).sum(axis=1) >= math.cos(math.radians(CREASE_DEG))
    near |= ~own.any(axis=1)
    shared = sparse.csr_array((np.ones(near.sum()), (corner[near], other[near])), (faces.size, count))
    total = shared @ area
    total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)
    return total.reshape(count, 3, 3).astype(np.float32)


def extract(field: Array, half: float, faces: int, rounds: int = 0) -> tuple[Array, Array]:
    """The closed surface of a field (n, n, n) over [−half, half]³ as vertices and at most `faces` triangles.

    Returns vertices (v, 3) float32 and triangles (f, 3) int32. Marching cubes of Lewiner et al. 2003;
    decimation by quadrics (Garland and Heckbert 1997), by Manifold where that tears the surface; so many rounds of
    λ|μ smoothing, which takes no volume (Taubin 1995). Raises InputError where no closed solid is left.
    """
    step = 2 * half / (field.shape[0] - 1)
    # A value of 0 would make triangles without area; a shell of air closes what touches the border.
    field = np.where(np.abs(field) < 0.01 * step, np.where(field < 0, -0.01, 0.01) * step, field)
    field = np.pad(field, 1, constant_values=float(np.abs(field).max()))
    points, triangles, _, _ = marching_cubes(field, 0.0)
    points = (points - 1) * step - half
    if volume(points, triangles) < 0:
        triangles = triangles[:, ::-1]
    solid = _manifold(points, triangles)
    if len(triangles) > faces:
        fewer = _manifold(*fast_simplification.simplify(points, triangles, target_count=faces, agg=3.0))
        # Manifold mends edges that decimation left with four faces; it reports what it cannot mend.
        if fewer.status() == manifold3d.Error.NoError and fewer.volume() > 0.9 * solid.volume():
            solid = fewer
    tolerance = 0.2 * step
    solid = solid.simplify(tolerance)
    while solid.num_tri() > faces and tolerance < half:
        tolerance *= 1.5
        solid = solid.simplify(tolerance)
    whole = solid.volume()
    parts = [part for part in solid.decompose() if part.volume() > LEAST_PART * whole]
    if not parts:
        raise InputError(NO_SOLID)
    mesh = manifold3d.Manifold.compose(parts).to_mesh()
    # Copies: a view would keep the solid for as long as the mesh is remembered, beyond the end of its library.
    vertices, triangles = np.array(mesh.vert_properties[:, :3]), np.array(mesh.tri_verts, np.int32)
    if rounds:
        rough = trimesh.Trimesh(vertices, triangles, process=False)
        # A round shrinks once and swells once.
        vertices = filter_taubin(rough, lamb=0.5, nu=0.53, iterations=2 * rounds).vertices
    return _separate(np.asarray(vertices, np.float32), triangles), triangles


def _separate(points: Array, faces: Array) -> Array:
    """The points (v, 3) with those of equal position drawn a hundredth toward their own neighbours.

    Where a solid touches itself in a point or an edge, its vertices are distinct, but a reader that joins
    vertices by position would find edges of four faces.
    """
    _, which, count = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    double = np.flatnonzero(count[which.ravel()] > 1)
    points = points.copy()
    for vertex in double:
        around = faces[(faces == vertex).any(axis=1)]
        points[vertex] += 0.01 * (points[around[around != vertex]].mean(axis=0) - points[vertex])
    return points


def _manifold(points: Array, triangles: Array) -> manifold3d.Manifold:
    return manifold3d.Manifold(
        manifold3d.Mesh(points.astype(np.float32), np.ascontiguousarray(triangles, dtype=np.uint32))
    )
