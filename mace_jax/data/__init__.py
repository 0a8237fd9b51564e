"""Records and samples: reading files, splitting, and exact duplicates."""

from mace_jax.data._duplicates import count_shared_rows, duplicated_share
from mace_jax.data._load import Records, common_columns, load_records
from mace_jax.data._sample import MembershipSample
from mace_jax.data._split import split_records, stratified_folds

__all__ = [
    "MembershipSample",
    "Records",
    "common_columns",
    "count_shared_rows",
    "duplicated_share",
    "load_records",
    "split_records",
    "stratified_folds",
]
