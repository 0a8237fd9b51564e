"""Records and samples: reading files, encoding tables, splitting, and exact duplicates."""

from mace_jax.data._duplicates import count_shared_rows, duplicated_share, first_equal_row
from mace_jax.data._encoder import TableEncoder
from mace_jax.data._load import Records, common_columns, load_records
from mace_jax.data._parts import Split, fingerprint, split_dataset
from mace_jax.data._sample import MembershipSample
from mace_jax.data._split import split_records, stratified_folds

__all__ = [
    "MembershipSample",
    "Records",
    "Split",
    "TableEncoder",
    "common_columns",
    "count_shared_rows",
    "duplicated_share",
    "fingerprint",
    "first_equal_row",
    "load_records",
    "split_dataset",
    "split_records",
    "stratified_folds",
]
