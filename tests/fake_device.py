"""A device that is none: its tensors lie in the CPU's memory, and refuse to mix with the CPU's tensors.

It shows without a GPU which code moves its inputs and results, as CONTRIBUTING's rule for devices asks.
Within `FakeDevice()` all that PyTorch does is watched. What is moved to the device, or computed from what is
there, lies there too, says so by its `device`, and mixes with the CPU's tensors only as a CUDA tensor does.
The `meta` device would not do: its tensors hold no numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

NAME = "maia"  # a kind of device that PyTorch has a name and autocast for, and no driver here

aten = torch.ops.aten
# These may mix: they copy, or only ask.
BETWEEN_DEVICES = {aten.copy_.default, aten._to_copy.default, aten._has_compatible_shallow_copy_type.default}
READS_MEMORY = {Tensor.numpy, Tensor.__array__, Tensor.data_ptr}  # only the CPU's can be read directly


class FakeDevice:
    """Within it there is the device NAME."""

    def __init__(self) -> None:
        # By the address of a tensor's memory. The weak reference keeps the address from being used again.
        self.memory: dict[int, StorageWeakRef] = {}

    def __enter__(self) -> FakeDevice:
        with contextlib.ExitStack() as stack:
            stack.enter_context(_Operations(self))
            stack.enter_context(_Calls(self))
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.__exit__(*error)

    def holds(self, tensor: Tensor) -> bool:
        """True if a tensor lies on the device."""
        return tensor.layout is torch.strided and tensor.untyped_storage()._cdata in self.memory

    def take(self, result: object) -> object:
        """Let all tensors of a result lie on the device; returns it."""
        for tensor in tensors_in(result):
            storage = tensor.untyped_storage()
            self.memory.setdefault(storage._cdata, StorageWeakRef(storage))
        return result


def tensors_in(tree: object) -> Iterator[Tensor]:
    """The tensors in nested lists, tuples and dicts."""
    return (leaf for leaf in tree_iter(tree) if isinstance(leaf, Tensor))


def names_it(value: object) -> bool:
    """True if an argument names the device."""
    return isinstance(value, str | torch.device) and str(value).partition(":")[0] == NAME


class _Operations(TorchDispatchMode):
    """Sees every operation, in the backward pass too: refuses to mix, and places the results."""

    def __init__(self, device: FakeDevice) -> None:
        super().__init__()
        self.fake = device

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        tensors = list(tensors_in((args, kwargs)))
        held = [self.fake.holds(tensor) for tensor in tensors]
        if function not in BETWEEN_DEVICES and any(held):
            # As on a GPU, single numbers of the CPU may be used, and its indices.
            indexing = function in (aten.index.Tensor, aten.index_put_.default) and held[0]
            others = [t for t, there in zip(tensors, held, strict=True) if not there and t.ndim]
            if others and not (indexing and all(t.dtype in (torch.int64, torch.bool) for t in others)):
                raise RuntimeError(
                    f"Expected all tensors to be on the same device, but found at least two devices, {NAME} "
                    f"and cpu! (in {function})"
                )
        result = function(*args, **(kwargs or {}))
        if not any(held) or function is aten.copy_.default:
            return result
        return self.fake.take(result)


class _Calls(TorchFunctionMode):
    """Sees every call from Python: those that name a device are made on the CPU, and the results placed."""

    def __init__(self, device: FakeDevice) -> None:
        super().__init__()
        self.fake = device

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function == Tensor.device.__get__ and self.fake.holds(args[0]):
            return torch.device(NAME)
        if function in READS_MEMORY and self.fake.holds(args[0]):
            raise TypeError(f"can't convert {NAME} device type tensor to numpy. Use Tensor.cpu() first.")
        if function is Tensor.__deepcopy__ and self.fake.holds(
            args[0]
        ):  # copies memory, without an operation
            return self.fake.take(function(*args, **kwargs))
        if function is Tensor.cpu:
            function, args, kwargs = Tensor.to, (*args[:1], "cpu"), kwargs
        if function is Tensor.to:
            return self.move(*args, **kwargs)
        if any(names_it(value) for value in kwargs.values()):
            kwargs = {name: "cpu" if names_it(value) else value for name, value in kwargs.items()}
            return self.fake.take(function(*args, **kwargs))
        return function(*args, **kwargs)

    def move(self, tensor: Tensor, *args: object, **kwargs: object) -> Tensor:
        """`Tensor.to`, with an answer on the device that it names, if it names one."""
        was_there = self.fake.holds(tensor)
        named = [v for v in (*args, *kwargs.values()) if isinstance(v, str | torch.device)]
        others = [v for v in args if isinstance(v, Tensor)]
        goes_there = names_it(named[0]) if named else self.fake.holds(others[0]) if others else was_there
        if was_there != goes_there:
            kwargs["copy"] = True
        args, kwargs = tree_map(lambda v: "cpu" if names_it(v) else v, (args, kwargs))
        moved = tensor.to(*args, **kwargs)
        if goes_there:
            return self.fake.take(moved)
        if was_there:
            self.fake.memory.pop(moved.untyped_storage()._cdata)
        return moved
