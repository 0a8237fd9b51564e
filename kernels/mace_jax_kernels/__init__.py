"""Compute kernels: array in, array out, no meaning attached.

Each operation is a folder: ``from mace_jax_kernels.knn import knn``. The contract stands in ``kernels/README.md``.
"""
