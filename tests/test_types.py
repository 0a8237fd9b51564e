"""House rules on classes and names: abstract or final, nothing overridden, everything public documented."""

from __future__ import annotations

import abc
import dataclasses
import importlib
import inspect

import pytest

from tests._support import PACKAGES, modules_of

MODULES = sorted(
    name
    for package, folder in PACKAGES.items()
    for name, path in modules_of(folder, package)
    if not name.endswith("__main__")
)


def strategies() -> list[type]:
    """Every class that is, or derives from, a house class named ``Abstract...``."""
    found: dict[str, type] = {}
    for name in MODULES:
        for value in vars(importlib.import_module(name)).values():
            if inspect.isclass(value) and any(base.__name__.startswith("Abstract") for base in house_bases(value)):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return list(found.values())


def house_bases(cls: type) -> list[type]:
    """The class and its bases that live in this project."""
    return [base for base in cls.__mro__ if base.__module__.split(".")[0] in PACKAGES]


def class_faults(cls: type) -> list[str]:
    """What breaks the rule "abstract without fields, or final; no concrete method is overridden"."""
    faults = []
    parents = house_bases(cls)[1:]
    if cls.__name__.startswith("Abstract"):
        if not isinstance(cls, abc.ABCMeta) or not cls.__abstractmethods__:
            faults.append("is named Abstract but has no abstract method")
        if dataclasses.is_dataclass(cls) and dataclasses.fields(cls):
            faults.append("is abstract but has fields")
    else:
        if inspect.isabstract(cls):
            faults.append("has abstract methods but is not named Abstract...")
        faults += [f"derives from the concrete {p.__name__}" for p in parents if not p.__name__.startswith("Abstract")]
    for name, value in vars(cls).items():
        if name.startswith("__") or not (inspect.isfunction(value) or isinstance(value, property)):
            continue
        for parent in parents:
            inherited = vars(parent).get(name)
            if inherited is not None and not getattr(inherited, "__isabstractmethod__", False):
                faults.append(f"overrides the concrete {parent.__name__}.{name}")
    return faults


def test_strategies_are_abstract_or_final():
    found = strategies()
    assert len(found) >= 6
    assert {f"{cls.__module__}.{cls.__qualname__}": class_faults(cls) for cls in found if class_faults(cls)} == {}


def test_the_rule_catches_what_it_forbids():
    class AbstractThing(abc.ABC):
        @abc.abstractmethod
        def run(self): ...

        def helper(self):
            return 1

    class Thing(AbstractThing):
        def run(self): ...

    class Overrides(AbstractThing):
        def run(self): ...

        def helper(self): ...

    class Child(Thing):
        def run(self): ...

    for cls in (AbstractThing, Thing, Overrides, Child):
        cls.__module__ = "mace_jax.made_up"
    assert class_faults(AbstractThing) == class_faults(Thing) == []
    assert class_faults(Overrides) == ["overrides the concrete AbstractThing.helper"]
    assert class_faults(Child) == ["derives from the concrete Thing", "overrides the concrete Thing.run"]


@pytest.mark.parametrize("name", MODULES)
def test_public_names_exist_and_are_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    for public in getattr(module, "__all__", ()):
        value = getattr(module, public)
        if inspect.isfunction(value):
            assert value.__doc__, f"{name}.{public} has no docstring"
        elif inspect.isclass(value):
            generated = f"{value.__name__}("
            assert value.__doc__ and not value.__doc__.startswith(generated), f"{name}.{public} has no docstring"
