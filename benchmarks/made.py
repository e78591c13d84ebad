"""What is made before anything is measured: pools with their image files, features in a store."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks import llava_like
from visift.engine.blocks import BLOCK_ITEMS
from visift.engine.items import Items
from visift.engine.measured import StoredItems
from visift.engine.store import Keys, Store, item_keys
from visift.models.ref import BUILTIN_TINY, ModelRef
from visift.pool.pool import Pool
from visift.signals.features import VisualFeatures
from visift.signals.signal import Values, identity

#: Names a folder's images are drawn from where records share them; COCO has as many.
SHARED_IMAGES = 118_000
#: The model the features are filed under; it is never opened, and the width need not be its own.
MODEL = BUILTIN_TINY
COLUMN = VisualFeatures.columns[0]
SPREAD, CLUSTERS = 0.5, 8


class _Shown(msgspec.Struct):
    """The one field of a record that says which files must be there."""

    image: str | list[str] = []


def pool_with_images(folder: Path, records: int, *, shared: bool = True) -> Path:
    """Return a pool file like LLaVA-665K whose images are files of one byte, made once.

    Args:
        folder: of everything that is generated.
        records: how many.
        shared: whether records share images, as they do in LLaVA-665K, or have each their own.
    """
    home = folder / f"llava-{'shared' if shared else 'own'}-{records}"
    path = home / "pool.json"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        beside = home / "pool.part"
        images = max(1, SHARED_IMAGES * records // llava_like.RECORDS) if shared else None
        llava_like.write(beside, records, images=images)
        _touch_images(beside, home)
        beside.replace(path)
    return path


def _touch_images(path: Path, home: Path) -> None:
    """Make a file of one byte for every image that the pool names."""
    names = set()
    for record in msgspec.json.decode(path.read_bytes(), type=list[_Shown]):
        names.update([record.image] if isinstance(record.image, str) else record.image)
    for folder in {(home / name).parent for name in names}:
        folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (home / name).write_bytes(b"x")


def draw(seed: int, group: NDArray[np.int64], width: int) -> NDArray[np.float16]:
    """Return (n, width) features: clusters around a mean for each group, around a common mean.

    Args:
        seed: of these rows; means and clusters are the same for all seeds.
        group: (n,) group of each row, below the number of sources.
        width: d.
    """
    fixed = np.random.default_rng(1)
    means = fixed.standard_normal(width) + SPREAD * fixed.standard_normal(
        (len(llava_like.SOURCES), width)
    )
    clusters = SPREAD * fixed.standard_normal((CLUSTERS, width))
    rng = np.random.default_rng(seed)
    # Squared, so that some clusters are rarer than others.
    which = (CLUSTERS * rng.random(len(group)) ** 2).astype(int)
    noise = rng.standard_normal((len(group), width), dtype=np.float32)
    return (means[group] + clusters[which] + SPREAD * noise).astype(np.float16)


def must_fit(size: int, folder: Path) -> None:
    """End the program where a folder has no room for so many bytes."""
    if size > 0.9 * shutil.disk_usage(folder).free:
        raise SystemExit(f"{size / 1e9:.1f} GB of free disk are needed in {folder}")


def store_features(path: Path, cache: Path, width: int) -> Store:
    """Return the store with a feature of every image of a pool; writes what is not there yet.

    The files are what measuring PRISM's features with `MODEL` would leave: the same names, blocks
    and order, so that a run finds nothing to measure.

    Args:
        path: the pool.
        cache: folder of the store.
        width: d.
    """
    pool, store, items, keys = _asked(path, cache)
    must_fit(int((store.find(keys)[:, 0] < 0).sum()) * width * 2, path.parent)
    folders = [pool.images.refs[i].path.partition("/")[0] for i in items.ids]
    group = np.unique(folders, return_inverse=True)[1].astype(np.int64)
    for start in range(0, len(keys), BLOCK_ITEMS):
        here = slice(start, start + BLOCK_ITEMS)
        if (store.find(keys[here])[:, 0] < 0).any():
            features = draw(start, group[here], width)
            store.commit(keys[here], Values({COLUMN.name: features}, [None] * len(features)))
    store.refresh()
    return store


def write_signals(path: Path, cache: Path, file: Path) -> None:
    """Write the stored features of a pool's images as a file for `--signals`, if it is not there.

    Args:
        path: the pool.
        cache: folder of the store.
        file: parquet, with the columns `image` and `visual_feature`.
    """
    if file.exists():
        return
    pool, store, items, keys = _asked(path, cache)
    stored = StoredItems.of((COLUMN,), store.parts, store.find(keys), {})
    width = stored.gather(COLUMN.name, np.arange(1)).shape[1]
    must_fit(len(keys) * width * 2, file.parent)
    kind = pa.list_(pa.float16(), width)
    beside = file.with_suffix(".part")
    schema = pa.schema({"image": pa.string(), COLUMN.name: kind})
    with pq.ParquetWriter(beside, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, len(keys), BLOCK_ITEMS):
            here = np.arange(start, min(start + BLOCK_ITEMS, len(keys)))
            names = [pool.images.refs[i].path for i in items.ids[here]]
            flat = pa.array(stored.gather(COLUMN.name, here).reshape(-1))
            features = pa.FixedSizeListArray.from_arrays(flat, width)
            writer.write_batch(pa.record_batch([pa.array(names), features], schema=schema))
    beside.replace(file)


def _asked(path: Path, cache: Path) -> tuple[Pool, Store, Items, Keys]:
    """Return a pool, the store of PRISM's features, and what PRISM asks of it."""
    pool = Pool.open(path)
    items = Items.of(pool, "image", pool.rows("candidate"))
    store = Store.open(cache, identity(VisualFeatures(ModelRef(MODEL))), (COLUMN,))
    return pool, store, items, item_keys(items.keys())
