"""Data sets prepared by TensorFlow Datasets, read and written without TensorFlow and without a network.

The only user of tensorflow_datasets. Copies are written as array_record, the one format that needs no TensorFlow.
"""

from mace_jax.datasets._tfds._read import read_prepared
from mace_jax.datasets._tfds._write import download_prepared, write_prepared

__all__ = ["download_prepared", "read_prepared", "write_prepared"]
