"""Large reference sets: FAISS proposes candidates in float32, float64 differences decide, and recall is measured."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray

from mace_jax import _random, _validate
from mace_jax._optional import require
from mace_jax._types import FloatArray, IntArray, pytree, static_field
from mace_jax.neighbors._base import AbstractNeighborBackend, Neighbors, make_neighbors
from mace_jax.neighbors._blocks import Rows, checked_records, nearest_in_blocks
from mace_jax.neighbors._direct import direct_nearest
from mace_jax.neighbors._exact import ExactBackend
from mace_jax.neighbors._faiss_build import first_breadth, new_handle, padded_width
from mace_jax.neighbors._faiss_frame import Frame
from mace_jax.neighbors._faiss_store import crc32_of, description_of, sha256_of
from mace_jax.neighbors._pairs import nearest_of, row_chunks

__all__ = ["ApproximateNeighbors", "FaissBackend", "FaissIndex"]

_KINDS = ("flat", "ivf", "hnsw", "ivfpq")
_REFINE = {"flat": 2, "ivf": 2, "hnsw": 2, "ivfpq": 8}
_EXTRA = 8
_CHUNK_BYTES = 32 << 20
_BLOCK_BYTES = 64 << 20
_DIRECT_WORK = 1 << 30
_FORMAT = 1


@pytree
class ApproximateNeighbors(Neighbors):
    """Neighbors whose distances are exact but whose lists may miss some of the nearest rows.

    Attributes:
        recall: Measured share of true nearest rows found, on queries answered exactly as well (1 where all were).
        recall_asked: The recall that was asked for, or None.
        probes: Number of queries behind ``recall``.
    """

    recall: float = static_field()
    recall_asked: float | None = static_field()
    probes: int = static_field()

    @property
    def recall_met(self) -> bool:
        """Whether the measured recall reaches what was asked for."""
        return self.recall_asked is None or self.recall >= self.recall_asked

    def __repr__(self) -> str:
        asked = "" if self.recall_asked is None else f", recall_asked={self.recall_asked}"
        return (
            f"ApproximateNeighbors(shape={np.shape(self.indices)}, backend={self.backend!r}, status={self.status}, "
            f"recall={self.recall:.4f}{asked})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, ready for JSON."""
        more = {"recall": self.recall, "recall_asked": self.recall_asked, "probes": self.probes}
        return {**Neighbors.to_dict(self), **more}


@dataclasses.dataclass(frozen=True)
class _Measured:
    """Recall found with one number of neighbors."""

    k: int
    recall: float
    probes: int


@final
@dataclasses.dataclass(frozen=True)
class FaissBackend(AbstractNeighborBackend):
    """FAISS as a source of candidates (Johnson, Douze and Jegou 2021); every returned distance is exact.

    ``"flat"`` is exact: a row that float32 rounding leaves unproven is searched again. The others are approximate:
    ``"ivf"`` visits the nearest of ``n_lists`` cells (Sivic and Zisserman 2003), ``"hnsw"`` walks a graph (Malkov and
    Yashunin 2018; built in parallel, so not the same twice), ``"ivfpq"`` keeps codes of about ``d / 2`` bytes instead
    of rows (Jegou, Douze and Schmid 2011). Their results are ``ApproximateNeighbors``: they carry the recall measured
    on probe queries, and no row is certified. Up to ``2 * probes`` queries are answered exactly. They pay for a built
    index that is searched often and for records with structure; on uniform noise in many columns nearly all cells must
    be visited and the exact search is faster.

    Args:
        index: ``"flat"``, ``"ivf"``, ``"hnsw"`` or ``"ivfpq"``.
        recall: Smallest acceptable recall in (0, 1). ``n_probe`` (and for codes ``refine``) is raised until one probe
            set shows it with two standard errors to spare, then checked on separate probe queries. If it cannot be
            met, a warning says so and the result's ``recall_met`` is False.
        n_lists: Cells; by default about the square root of the rows.
        n_probe: Cells visited per query; for ``"hnsw"`` the length of the queue (efSearch). Not with ``recall``.
        threads: FAISS threads, by default all processors this process may use; the earlier setting is restored.
        train_rows: Rows of the random sample that cells and codes are trained on, at most.
        seed: Of sampling and training.
        refine: Candidates measured exactly per neighbor asked for; by default 2, with codes 8.
        probes: Queries in one probe set.

    Peak memory beyond inputs and result, in bytes: flat ``4 n d + 24 n (2k + 16)`` plus 256 MiB; others the index
    (ivf ``4 m d + 8 m``, hnsw ``4 m d + 280 m``, ivfpq ``m (d / 4 + 8)``), twice ``4 d train_rows`` while training, and
    256 MiB of blocks. The reference may be a memory map: it is read in blocks.

    Example:
        >>> FaissBackend(index="ivf", recall=0.99).name
        'faiss-ivf'
    """

    reads_maps: ClassVar[bool] = True

    index: str = "flat"
    recall: float | None = None
    n_lists: int | None = None
    n_probe: int | None = None
    threads: int | None = None
    train_rows: int = 100_000
    seed: int = 0
    refine: int | None = None
    probes: int = 256

    def __post_init__(self) -> None:
        if self.index not in _KINDS:
            raise ValueError(f"index={self.index!r} is unknown; use one of {', '.join(map(repr, _KINDS))}.")
        for name in ("n_lists", "n_probe", "threads", "refine"):
            if getattr(self, name) is not None:
                _validate.positive_int(**{name: getattr(self, name)})
        for name in ("train_rows", "probes"):
            _validate.positive_int(**{name: getattr(self, name)})
        if self.recall is not None:
            _validate.in_open_unit(recall=self.recall)
            if self.n_probe is not None:
                raise ValueError("recall and n_probe both set how far to search; pass one of them.")

    @property
    def name(self) -> str:
        """Word recorded in results."""
        return f"faiss-{self.index}"

    def search(
        self, queries: FloatArray, reference: FloatArray, k: int, *, exclude_ids: IntArray | None = None
    ) -> Neighbors:
        """The ``k`` nearest rows per query; exact for flat, else with the recall measured on these queries."""
        if self.index == "flat" or len(queries) <= 2 * self.probes:
            rows = Rows(reference)
            frame = Frame.of(rows)
            squared, ids = _exact(queries, rows, frame, k, exclude_ids, _by_blocks(rows, frame, self.threads))
            found = make_neighbors(squared, ids, self.name)
            return found if self.index == "flat" else _with_recall(found, self, _Measured(k, 1.0, len(queries)))
        return self.build(reference).tune(k, queries, exclude_ids=exclude_ids).search(queries, k, exclude_ids)

    def count_within(self, queries: FloatArray, reference: FloatArray, radius: FloatArray) -> IntArray:
        """Closed-ball counts by the exact kernel: FAISS radius searches are open and rounded to float32."""
        return ExactBackend().count_within(queries, reference, radius)

    def build(self, reference: Any) -> FaissIndex:
        """Train on a random sample and add ``reference``, an array or memory map, block by block.

        Raises:
            TypeError: ``reference`` is not numeric.
            ValueError: it is empty or not finite.
        """
        rows = Rows.of("reference", reference)
        frame = Frame.of(rows, padded_width(self, rows.shape[1]), check=True)
        faiss = require("faiss")
        with _threads(self.threads):
            handle = new_handle(faiss, self, len(rows), frame.width)
            if not handle.is_trained:
                size = min(len(rows), self.train_rows)
                sample = _random.generator(self.seed, "faiss", "train").choice(len(rows), size, replace=False)
                handle.train(frame.image(rows, chosen=np.sort(sample)))
            step = rows.step(2 * _BLOCK_BYTES)
            for start in range(0, len(rows), step):
                handle.add(frame.image(rows, start, min(start + step, len(rows))))
        breadth = first_breadth(self, handle)
        return FaissIndex(self, handle, frame, rows, breadth, self.refine or _REFINE[self.index], None)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class FaissIndex:
    """A built index with the reference it stands for; make one with ``FaissBackend(...).build(reference)``.

    Attributes:
        settings: The backend that built it.
        breadth: Cells visited per query, or the length of the queue of a graph search.
        refine: Candidates measured exactly per neighbor.

    Example:
        >>> index = FaissBackend(index="ivf", n_lists=1, n_probe=1).build(np.arange(100.0)[:, None])
        >>> index.search([[7.2]], 2).indices.tolist()
        [[7, 8]]
    """

    settings: FaissBackend
    handle: Any
    frame: Frame
    rows: Rows
    breadth: int
    refine: int
    measured: _Measured | None

    def __repr__(self) -> str:
        return f"FaissIndex({self.settings.index!r}, shape={self.rows.shape}, breadth={self.breadth})"

    @property
    def recall(self) -> float | None:
        """Recall measured by ``tune``, or None before; 1 for a flat index."""
        return 1.0 if self.settings.index == "flat" else self.measured and self.measured.recall

    def search(self, queries: Any, k: int, exclude_ids: IntArray | None = None) -> Neighbors:
        """The ``k`` nearest rows of each query, distances exact in float64, missing neighbors -1 at infinity.

        The recall in the result is the one ``tune`` measured for this ``k``; without it, reference rows are probed
        first. It speaks for queries like the probes only.

        Args:
            queries: ``(n, d)`` finite numbers.
            k: Number of neighbors, at most the rows of the reference.
            exclude_ids: ``(n,)`` row to leave out for each query, or -1.

        Raises:
            ValueError: queries are empty, not finite or of another width, or ``k`` does not fit.
        """
        x = self._checked(queries, k, exclude_ids)
        backend = self.settings
        if backend.index == "flat":
            found = _exact(x, self.rows, self.frame, k, exclude_ids, self._propose)
            return make_neighbors(*found, backend.name)
        tuned = self if self.measured is not None and self.measured.k == k else self.tune(k)
        squared, ids = tuned._nearest(x, k, exclude_ids)
        found = make_neighbors(squared, ids, backend.name, certified=np.zeros(len(x), dtype=bool))
        assert tuned.measured is not None
        return _with_recall(found, backend, tuned.measured)

    def tune(self, k: int, queries: Any = None, *, exclude_ids: IntArray | None = None) -> FaissIndex:
        """Measure the recall of ``k`` neighbors on probe queries, after widening the search to what was asked for.

        Args:
            k: Number of neighbors.
            queries: Rows like those to be searched, from which probes are drawn; by default reference rows, each left
                out of its own list.
            exclude_ids: ``(n,)`` row to leave out for each query, or -1.

        Returns:
            The index with its recall, sharing all memory with this one.

        Warns:
            UserWarning: the recall asked for was not reached.
        """
        backend = self.settings
        if backend.index == "flat":
            return self
        draw = _random.generator(backend.seed, "faiss", "probe")
        if queries is None:
            chosen = np.sort(draw.choice(len(self.rows), min(len(self.rows), 12 * backend.probes), replace=False))
            queries = self.rows[chosen]
            exclude_ids = chosen if len(self.rows) > k else None
        x = self._checked(queries, k, exclude_ids)
        order, size = draw.permutation(len(x)), max(1, min(backend.probes, len(x) // 2))
        parts = [order[start : start + size] for start in range(0, max(1, len(x) - size + 1), size)]
        sets = self._probes(x, k, exclude_ids, parts)
        first = next(sets)
        if backend.recall is None:
            return dataclasses.replace(self, measured=_Measured(k, float(self._recalls(first).mean()), size))
        tuned = self._widened(first, backend.recall)
        check = first
        while True:
            check = next(sets, check)
            recall = float(tuned._recalls(check).mean())
            if recall >= backend.recall or tuned.breadth >= self._most:
                break
            refine = tuned.refine * (2 if backend.index == "ivfpq" else 1)
            tuned = dataclasses.replace(tuned, breadth=min(2 * tuned.breadth, self._most), refine=refine)
        if recall < backend.recall:
            warnings.warn(
                f"recall={backend.recall} was asked for, but {recall:.4f} was measured on {size} probe queries with "
                f"index={backend.index!r} searched as widely as it can be; use a larger refine, or index='flat'.",
                stacklevel=2,
            )
        return dataclasses.replace(tuned, measured=_Measured(k, recall, size))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to ``path`` and what it stands for to ``path`` + ``.json``; the reference is not stored."""
        faiss, path = require("faiss"), Path(path)
        fresh = path.with_name(path.name + ".part")
        faiss.write_index(self.handle, str(fresh))
        os.replace(fresh, path)
        settings = self.settings
        description = {
            "format": _FORMAT,
            "rows": len(self.rows),
            "width": self.rows.shape[1],
            "seed": settings.seed,
            "settings": dataclasses.asdict(settings),
            "breadth": self.breadth,
            "refine": self.refine,
            "measured": None if self.measured is None else dataclasses.asdict(self.measured),
            "center": self.frame.center.tolist(),
            "scale": self.frame.scale,
            "versions": {"faiss": faiss.__version__, "numpy": np.__version__},
            "sha256": sha256_of(path),
            "referencecrc32_of": crc32_of(self.rows),
        }
        description_of(path).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str], reference: Any, *, threads: int | None = None) -> Self:
        """Read an index back for the same ``reference``; both are checked against what ``save`` wrote.

        Read only files you trust: FAISS parses the index.

        Raises:
            FileNotFoundError: the index or its description is missing.
            ValueError: the file was changed, or the reference is not the one it was built from.
        """
        faiss, path = require("faiss"), Path(path)
        for file in (path, description_of(path)):
            if not file.is_file():
                raise FileNotFoundError(f"{file} does not exist; save an index writes both it and its description.")
        stored = json.loads(description_of(path).read_text(encoding="utf-8"))
        if stored.get("format") != _FORMAT:
            raise ValueError(f"{path} has format {stored.get('format')!r}, not {_FORMAT}; build and save it again.")
        if sha256_of(path) != stored["sha256"]:
            raise ValueError(f"{path} is not the file that was saved (its checksum differs); build and save it again.")
        rows = Rows.of("reference", reference)
        if rows.shape != (stored["rows"], stored["width"]) or crc32_of(rows) != stored["referencecrc32_of"]:
            raise ValueError(
                f"reference of shape {rows.shape} is not the one that {path} was built from, of shape "
                f"({stored['rows']}, {stored['width']}); pass the same rows in the same order."
            )
        settings = FaissBackend(**{**stored["settings"], "threads": threads})
        frame = Frame(np.asarray(stored["center"]), stored["scale"], padded_width(settings, rows.shape[1]))
        measured = stored["measured"] and _Measured(**stored["measured"])
        handle = faiss.read_index(str(path))
        return cls(settings, handle, frame, rows, stored["breadth"], stored["refine"], measured)

    @property
    def _most(self) -> int:
        """The widest search: all cells, or a queue of 4096."""
        return min(4096, len(self.rows)) if self.settings.index == "hnsw" else int(self.handle.nlist)

    def _checked(self, queries: Any, k: int, exclude_ids: IntArray | None) -> FloatArray:
        x = checked_records("queries", queries)
        if x.shape[1] != self.rows.shape[1]:
            raise ValueError(f"queries has {x.shape[1]} columns but the index has {self.rows.shape[1]}.")
        available = len(self.rows) - (exclude_ids is not None)
        if _validate.positive_int(k=k) > available:
            raise ValueError(f"k={k} is more than the {available} reference rows to choose from; pass a smaller k.")
        return x

    def _propose(self, queries: FloatArray, candidates: int) -> tuple[NDArray[np.float32], IntArray]:
        """Float32 squared distances and ids of the index's own nearest rows; -1 where it has no more."""
        faiss, kind = require("faiss"), self.settings.index
        parameters = None
        if kind == "hnsw":
            parameters = faiss.SearchParametersHNSW(efSearch=max(self.breadth, candidates))
        elif kind != "flat":
            parameters = faiss.SearchParametersIVF(nprobe=self.breadth)
        with _threads(self.settings.threads):
            return self.handle.search(self.frame.image(Rows(queries)), candidates, params=parameters)

    def _nearest(self, queries: FloatArray, k: int, exclude_ids: IntArray | None) -> tuple[FloatArray, IntArray]:
        """The ``k`` nearest of the proposed candidates by exact distance."""
        wanted = k if exclude_ids is None else k + 1
        candidates = min(len(self.rows), self.refine * wanted + _EXTRA)
        squared, nearest = np.empty((len(queries), k)), np.empty((len(queries), k), dtype=np.int64)
        for part in row_chunks(len(queries), 4 * self.frame.width + 40 * candidates, _CHUNK_BYTES):
            _, ids = self._propose(queries[part], candidates)
            if exclude_ids is not None:
                ids[ids == exclude_ids[part][:, None]] = -1
            squared[part], nearest[part] = nearest_of(queries[part], self.rows, ids, k)  # type: ignore[arg-type]
        return squared, nearest

    def _probes(
        self, queries: FloatArray, k: int, exclude_ids: IntArray | None, parts: list[IntArray]
    ) -> Iterator[_Probe]:
        """Sets of queries with the exact distance of their k-th neighbor, two sets per pass over the reference."""
        propose = _by_blocks(self.rows, self.frame, self.settings.threads)
        for start in range(0, len(parts), 2):
            both = np.concatenate(parts[start : start + 2])
            own = None if exclude_ids is None else exclude_ids[both]
            squared, _ = _exact(queries[both], self.rows, self.frame, k, own, propose)
            for part in np.split(np.arange(len(both)), np.cumsum([len(part) for part in parts[start : start + 1]])):
                if len(part):
                    yield _Probe(queries[both[part]], squared[part, -1], k, None if own is None else own[part])

    def _recalls(self, probe: _Probe) -> FloatArray:
        """Share of each probe's list that is as near as its true k-th neighbor."""
        squared, _ = self._nearest(probe.queries, probe.k, probe.exclude_ids)
        return (squared <= probe.last[:, None]).mean(axis=1)

    def _widened(self, probe: _Probe, asked: float) -> FaissIndex:
        """The narrowest search found that shows the recall asked for with two standard errors to spare."""
        best, most = self, self._most
        for refine in (self.refine, 4 * self.refine, 16 * self.refine):
            breadth, failed, before = 1, 0, -1.0
            while True:
                trial = dataclasses.replace(self, breadth=breadth, refine=refine)
                shares = trial._recalls(probe)
                if shares.mean() - 2 * shares.std() / np.sqrt(len(shares)) >= asked:
                    return _narrowed(trial, failed, probe, asked)
                best, failed = trial, breadth
                # Cells farther away add nothing: what is missing was lost to rounding of codes.
                if breadth >= most or (refine < 16 * self.refine and shares.mean() < before + 1e-3 and breadth >= 32):
                    break
                breadth, before = min(2 * breadth, most), float(shares.mean())
            if self.settings.index != "ivfpq":
                break
        return best


def _narrowed(good: FaissIndex, failed: int, probe: _Probe, asked: float) -> FaissIndex:
    """Bisection between a breadth that failed and one that did not, to about an eighth."""
    while good.breadth - failed > max(1, failed // 8):
        trial = dataclasses.replace(good, breadth=(good.breadth + failed) // 2)
        shares = trial._recalls(probe)
        if shares.mean() - 2 * shares.std() / np.sqrt(len(shares)) >= asked:
            good = trial
        else:
            failed = trial.breadth
    return good


@dataclasses.dataclass(frozen=True, eq=False)
class _Probe:
    """Queries with known answers."""

    queries: FloatArray
    last: FloatArray
    k: int
    exclude_ids: IntArray | None


Propose = Callable[[FloatArray, int], tuple[NDArray[np.float32], IntArray]]


def _exact(
    queries: FloatArray, rows: Rows, frame: Frame, k: int, exclude_ids: IntArray | None, propose: Propose
) -> tuple[FloatArray, IntArray]:
    """The true lists: candidates of a flat search measured and proven; rows not proven are searched again."""
    wanted = k + (exclude_ids is not None)
    candidates = min(len(rows), wanted + max(16, wanted))
    rough, ids = propose(queries, candidates)
    last, every = rough[:, -1].copy(), (ids >= 0).sum(axis=1) == len(rows)
    if exclude_ids is not None:
        ids[ids == exclude_ids[:, None]] = -1
    squared, nearest = np.empty((len(queries), k)), np.empty((len(queries), k), dtype=np.int64)
    for part in row_chunks(len(queries), 40 * candidates, _CHUNK_BYTES):
        squared[part], nearest[part] = nearest_of(queries[part], rows, ids[part], k)  # type: ignore[arg-type]
    again = np.flatnonzero(~(every | frame.proves(queries, last, squared[:, -1])))
    if len(again):
        own = None if exclude_ids is None else exclude_ids[again]
        blocks = rows.blocks(len(rows) if rows.in_memory else None)
        found, _, _ = nearest_in_blocks(queries[again], blocks, k, _again, own)
        squared[again], nearest[again] = found.squared, found.ids
    return squared, nearest


def _again(queries: FloatArray, block: FloatArray, k: int, own: IntArray | None) -> Any:
    """Exact lists without FAISS."""
    if len(queries) * block.size <= _DIRECT_WORK:
        return *direct_nearest(queries, block, k, own), np.ones(len(queries), dtype=bool)
    found = ExactBackend().search(queries, block, k, exclude_ids=own)
    return found.squared_distances, found.indices, found.certified


def _by_blocks(rows: Rows, frame: Frame, threads: int | None) -> Propose:
    """Candidates by brute force over blocks of the reference, without an index."""

    def propose(queries: FloatArray, candidates: int) -> tuple[NDArray[np.float32], IntArray]:
        faiss = require("faiss")
        image = frame.image(Rows(queries))
        rough = np.full((len(queries), candidates), np.inf, np.float32)
        ids = np.full((len(queries), candidates), -1, dtype=np.int64)
        step = max(1, _BLOCK_BYTES // (4 * frame.width))
        for start in range(0, len(rows), step):
            block = frame.image(rows, start, min(start + step, len(rows)))
            with _threads(threads):
                near, places = faiss.knn(image, block, min(candidates, len(block)))
            near[places < 0] = np.inf
            for part in row_chunks(len(queries), 40 * candidates, _CHUNK_BYTES):
                both = np.concatenate([rough[part], near[part]], axis=1)
                names = np.concatenate([ids[part], np.where(places[part] >= 0, places[part] + start, -1)], axis=1)
                order = np.argsort(both, axis=1, kind="stable")[:, :candidates]
                rough[part] = np.take_along_axis(both, order, axis=1)
                ids[part] = np.take_along_axis(names, order, axis=1)
        return rough, ids

    return propose


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """FAISS threads for the length of a block of code."""
    faiss = require("faiss")
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count or _processors())
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _with_recall(found: Neighbors, settings: FaissBackend, measured: _Measured) -> ApproximateNeighbors:
    fields = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    return ApproximateNeighbors(**fields, recall=measured.recall, recall_asked=settings.recall, probes=measured.probes)
