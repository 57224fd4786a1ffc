"""Which assets are variants of one thing; what they are called; and which are held out.

Variants are found by their names (wall, wall_half, wallCracked; chair_1, chair_3) and by their shapes; a
subject is a set of assets linked by either, and lies on one side of the split.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

# What says how a thing is, not what it is. Words that name things (corner, end, round) need care: they only
# count at a name's end, after something else.
_VARIANT_WORDS = """
    small large big huge tiny mini short long tall low high wide narrow thin thick half quarter full double
    single triple left right top bottom middle center centre front back side inner outer corner end edge
    broken cracked damaged destroyed ruined worn old new clean dirty rusty mossy snow snowy open closed
    opened empty filled hidden straight curved round square red green blue yellow orange purple pink brown
    black white grey gray gold golden silver bronze dark light wood wooden stone metal alt alternative
    variant variation version ver modular modern vintage decorated plain basic simple detailed lit unlit
"""
_NOISE_WORDS = """
    sm sk mesh model models geo geometry obj glb gltf fbx lod lowpoly poly final export exported copy asset
    prop static textured untextured rig rigged anim animated default
"""
_EMPTY_WORDS = "scene model mesh untitled object source asset output export test"
_EMPTY_FOLDERS = frozenset(
    ("source", "model", "models", "gltf", "glb", "obj")
)  # Sketchfab: chair/source/model.obj
_VARIANTS, _NOISE, _EMPTY_NAMES = (frozenset(w.split()) for w in (_VARIANT_WORDS, _NOISE_WORDS, _EMPTY_WORDS))
MOST = 0.25
_HASH = re.compile(r"(?=.*\d)[0-9a-f]{12,}|[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)


def words_of(name: str) -> list[str]:
    """A file's stem as lower-case words: camelCase, digits and punctuation separate; digits stay words."""
    spaced = re.sub(r"([a-z])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3 \2\4", name)
    return re.findall(r"[^\W\d_]+|\d+", spaced.lower())


def name_of(file: str) -> str:
    """What an asset is called: its stem, or where that says nothing (scene.gltf) the nearest folder that says more."""
    path = PurePosixPath(file)
    if path.stem.lower() not in _EMPTY_NAMES:
        return path.stem
    folders = [parent.name for parent in path.parents if parent.name]
    return next((name for name in folders if name.lower() not in _EMPTY_FOLDERS), path.stem)


def caption_of(name: str, prefix: Sequence[str] = ()) -> str:
    """A name as plain words: no digits, no prefix of the whole pack, no exporters' words; may be empty."""
    if _HASH.fullmatch(name):
        return ""
    words = words_of(name)
    if list(prefix) == words[: len(prefix)]:
        words = words[len(prefix) :]
    kept = [w for w in words if not w.isdigit() and w not in _NOISE and not re.fullmatch(r"v|lod", w)]
    return " ".join(kept)


def common_prefix(names: Iterable[str]) -> tuple[str, ...]:
    """Words that at least four of five names begin with (a pack's mark), if all have more to say."""
    lists = [[w for w in words_of(n) if not w.isdigit()] for n in names]
    prefix: tuple[str, ...] = ()
    while len(lists) >= 5:
        heads = Counter(tuple(words[: len(prefix) + 1]) for words in lists if len(words) > len(prefix))
        head, count = max(heads.items(), key=lambda item: (item[1], item[0]), default=((), 0))
        inside = [words for words in lists if tuple(words[: len(head)]) == head]
        # A pack of chairs is not marked "chair": something must differ after the mark.
        tails = {w[len(head)] for w in inside if len(w) > len(head)}
        if count < 0.8 * len(lists) or any(len(w) <= len(head) for w in inside) or len(tails) < count / 3:
            break
        prefix = head
    return prefix


def stem_of(name: str, prefix: Sequence[str] = ()) -> tuple[str, ...]:
    """The words that say what a thing is: chair_3 → chair, coinGold → coin, blockSnowHalf → block.

    A name without such words is its own stem.
    """
    if _HASH.fullmatch(name):
        return (name.lower(),)
    words = words_of(name)
    if list(prefix) == words[: len(prefix)]:
        words = words[len(prefix) :]
    kept = [_singular(w) for w in words if not w.isdigit() and w not in _NOISE]
    core = kept[:1] + [w for w in kept[1:] if w not in _VARIANTS and len(w) > 1]
    while len(core) > 1 and core[0] in _VARIANTS:
        core = core[1:]
    return tuple(core) if core else (name.lower(),)


def _singular(word: str) -> str:
    return (
        word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word
    )


def group_subjects(
    names: Mapping[str, str], alike: Iterable[tuple[str, str]], stated: Mapping[str, str]
) -> dict[str, str]:
    """The subject of every asset.

    Args:
        names: what each asset (a file) is called, prefix removed or not: see `stem_of`.
        alike: pairs of files of nearly the same shape.
        stated: subjects that the artist stated; joined with what is alike, not with what is named alike.

    Two names belong together when one's stem begins with the other's (wall, wall_torch), or when they begin
    with the same word (bed_king, bed_bunk), unless that word marks more than MOST of the assets: better one
    subject too few than a variant on both sides. Returns one subject a file, named by the words its group
    has in common; groups of the same name are told apart by a number.
    """
    prefix = common_prefix(names.values())
    stems = {file: stem_of(name, prefix) for file, name in names.items()}
    parent = {file: file for file in names}

    def find(file: str) -> str:
        while parent[file] != file:
            parent[file] = parent[parent[file]]
            file = parent[file]
        return file

    def join(a: str, b: str) -> None:
        a, b = sorted((find(a), find(b)))
        parent[b] = a

    heads = Counter(stem[0] for stem in stems.values())
    first: dict[tuple[str, ...], str] = {}
    for file in sorted(names):
        key = ("stated", stated[file]) if stated.get(file) else ("stem", *stems[file])
        join(file, first.setdefault(key, file))
    for key, file in sorted(first.items()):
        if key[0] == "stem" and len(key[1]) > 2 and heads[key[1]] <= max(MOST * len(names), 2):
            join(file, first.setdefault(("head", key[1]), file))
        for length in range(2, len(key) if key[0] == "stem" else 0):
            if key[:length] in first and len(key[1]) > 2:
                join(file, first[key[:length]])
    for a, b in alike:
        join(a, b)

    groups: dict[str, list[str]] = {}
    for file in sorted(names):
        groups.setdefault(find(file), []).append(file)
    taken: Counter[str] = Counter()
    subjects: dict[str, str] = {}
    for members in groups.values():
        own = sorted({stated[f] for f in members if stated.get(f)})
        label = own[0] if own else _label([stems[f] for f in members])
        taken[label] += 1
        title = label if taken[label] == 1 else f"{label} ({taken[label]})"
        subjects.update(dict.fromkeys(members, title))
    return subjects


def _label(stems: list[tuple[str, ...]]) -> str:
    """The words that all stems begin with, or else the shortest stem."""
    shortest = min(stems, key=lambda stem: (len(stem), stem))
    common = [
        word for i, word in enumerate(shortest) if all(stem[: i + 1] == shortest[: i + 1] for stem in stems)
    ]
    return " ".join(common or shortest)


@dataclass(frozen=True)
class Split:
    """test: the subjects held out; warnings: for a person."""

    test: frozenset[str]
    warnings: tuple[str, ...]


def split_subjects(sizes: Mapping[str, int], *, share: float, least: int, seed: int) -> Split:
    """Chooses subjects to hold out: ``share`` of all assets, at least ``least``, at most half.

    Args:
        sizes: how many assets each subject has.

    Subjects are taken in the order of the hash of seed and name, whatever the order they come in; one that
    would take too much is passed over. A subject larger than what may be held out is trained on.
    """
    total = sum(sizes.values())
    wanted = min(max(math.ceil(share * total - 1e-9), least), total // 2) if share > 0 else 0
    order = sorted(sizes, key=lambda s: hashlib.sha256(f"{seed}\n{s}".encode()).digest())
    test: list[str] = []
    count = 0
    most = min(math.ceil(1.25 * wanted), total // 2)
    for subject in order:
        if count < wanted and count + sizes[subject] <= most:
            test.append(subject)
            count += sizes[subject]
    left = [s for s in order if s not in test and count + sizes[s] <= total // 2]
    while count < wanted and left:
        smallest = min(left, key=lambda s: sizes[s])
        test.append(smallest)
        count += sizes[smallest]
        left = [s for s in left if s != smallest and count + sizes[s] <= total // 2]
    warnings = []
    if 0 < count < min(least, wanted) or (count == 0 and wanted):
        warnings.append(
            f"{count} of {total} assets are held out, {max(wanted, least)} were wanted: "
            f"the largest of {len(sizes)} subjects has {max(sizes.values())}; add other things"
        )
    elif share > 0 and count < least:
        warnings.append(
            f"{count} of {total} assets are held out, fewer than {least}: scores will be uncertain"
        )
    return Split(frozenset(test), tuple(warnings))
